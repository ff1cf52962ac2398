"""``step-envs collect``: play many episodes and keep their masked trajectories."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from step_envs.cli.exit_codes import STOPPED
from step_envs.cli.options import (
    AsJson,
    Budget,
    Cache,
    ConfigFile,
    Env,
    EnvOptions,
    EpisodeSeconds,
    Prices,
    PrintConfig,
    ReplyFormat,
    RequestsPerMinute,
    Resume,
    Seed,
    Split,
    Style,
    TaskFile,
    TaskTypes,
    ThinkActions,
    Tolerant,
)

if TYPE_CHECKING:
    from step_envs.collection.config import CollectConfig
    from step_envs.trajectory import Usage


def collect(
    ctx: typer.Context,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.", show_default=False)] = None,
    config: ConfigFile = None,
    print_config: PrintConfig = False,
    env: Env = "STeP-SciWorld-v0",
    split: Split = None,
    task_type: TaskTypes = None,
    tasks: TaskFile = None,
    episodes: Annotated[int, typer.Option(min=1, help="Number of episodes.")] = 10,
    agent: Annotated[
        str,
        typer.Option(
            help="Who acts: novice, oracle, random, or a model: openai:model=NAME,base_url=URL,temperature=1. "
            "Options are added as in novice:error_rate=0.3. Your own agent is named by its place: my_module.MyAgent."
        ),
    ] = "novice",
    teacher: Annotated[
        str,
        typer.Option(
            help="Who judges: oracle; openai:model=NAME,base_url=URL (any endpoint); hybrid:model=... (the oracle judges, "
            "the model finds the words); step_reward (by what the step was worth); self (the agent's own model, also a "
            "local checkpoint); local:model=FOLDER; my_module.MyTeacher; none to record the agent alone."
        ),
    ] = "oracle",
    intervene: Annotated[
        str, typer.Option(help="after: a wrong action runs, then is corrected; before: it never runs.")
    ] = "after",
    max_errors: Annotated[int | None, typer.Option(min=0, help="Errors corrected; one more ends the episode.")] = None,
    on_unknown: Annotated[str, typer.Option(help="Without a verdict: continue, or discard the episode.")] = "continue",
    teach: Annotated[
        str,
        typer.Option(
            help="Which steps the teacher judges: all; share:0.5 (at random, by the seed); every:3; falling:0.9 (less and "
            "less often); first:5; after:5. The others have no verdict and are not trained on."
        ),
    ] = "all",
    style: Style = "eto",
    reply_format: ReplyFormat = "react",
    tolerant: Tolerant = False,
    think_actions: ThinkActions = False,
    logprobs: Annotated[
        bool,
        typer.Option("--logprobs", help="Record the logprobs of the tokens that the agent, a model, has sampled."),
    ] = False,
    env_option: EnvOptions = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Episodes played at once; a local checkpoint answers them as one batch.",
            show_default="2, or three for each processor where world, agent and teacher are plain Python",
        ),
    ] = None,
    seed: Seed = 0,
    budget: Budget = None,
    prices: Prices = None,
    cache: Cache = None,
    requests_per_minute: RequestsPerMinute = None,
    engine: Annotated[
        str,
        typer.Option(
            help="Where episodes are played: threads (of this process), processes (on this machine), ray (processes on a "
            "cluster), or auto: processes for long runs in which world, agent and teacher are plain Python, else threads."
        ),
    ] = "auto",
    episode_seconds: EpisodeSeconds = None,
    ray_address: Annotated[
        str | None,
        typer.Option(help="A running Ray cluster; RAY_ADDRESS, else a new one on this machine, if not given."),
    ] = None,
    worker_episodes: Annotated[int, typer.Option(min=1, help="Episodes played at once in each Ray worker.")] = 8,
    worker_cpus: Annotated[float, typer.Option(min=0, help="Processors that a Ray worker needs.")] = 1.0,
    worker_memory: Annotated[int, typer.Option(min=1, help="MiB of memory that a Ray worker needs.")] = 1024,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Play ten sampled episodes and estimate the cost of the whole run.")
    ] = False,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Let an agent play, have a teacher judge each step, and keep the masked trajectories.

    OUT gets config.json (all settings), trajectories.jsonl (one line per episode), failures.jsonl and summary.json. After a
    kill or Ctrl-C, the same command with --resume continues: no task is lost, and none is played twice. The first Ctrl-C
    lets the episodes in play end, the second leaves them and ends at once; nothing that is written is lost. With more
    --episodes, --resume makes a run longer.

    Models behind endpoints are asked through a response cache, so that a resumed run pays for no answer twice. The key is
    read from the environment variable OPENAI_API_KEY, or the one that api_key_env= names, and is never written to a file.

    Exit codes: 0 all episodes kept, 1 some failed or the teacher gave no verdict at all, 2 wrong input, 3 stopped
    (budget spent, endpoint down, no cluster), 130 interrupted.

    Example: step-envs collect --task-type boil --episodes 20 --agent novice:error_rate=0.3 --out runs/boil

    Example: step-envs collect --config run.toml --out runs/boil
    """
    from step_envs.cli.config_file import env_options, settings
    from step_envs.cli.config_output import print_settings
    from step_envs.cli.dashboard import exit_if_incomplete, watched_run
    from step_envs.cli.inputs import tasks_in, world
    from step_envs.cli.render import failure_lines, logprobs_sentence, summary_table
    from step_envs.collection.collector import collect as run
    from step_envs.collection.config import CollectConfig
    from step_envs.worker_processes import processors

    if out is None and not print_config:
        raise ValueError("Name the folder of the run with --out.")
    chosen = settings(
        ctx,
        CollectConfig,
        config,
        read={"tasks": tasks_in},
        options={"env_options": env_options(env_option, task_type)},
    )
    world(chosen.env)  # raises an error if there is no such environment
    if "concurrency" not in chosen.model_fields_set:
        # Three for each processor: while one is handed over, its process plays another one.
        chosen = chosen.with_changes(concurrency=3 * processors() if chosen.is_plain_python() else 2)
    if print_config:
        print_settings(chosen, "step-envs collect --config FILE --out DIR")
        return
    assert out is not None
    console = Console(emoji=False, stderr=as_json)
    if dry_run:
        _dry_run(chosen, out, console, as_json=as_json)
        return
    title = f"{out}: {chosen.env}, {chosen.agent}, teacher {chosen.teacher or 'none'}"
    with watched_run(console, title, out, done="collected") as dashboard:
        figures = run(chosen, out, resume=resume, on_start=dashboard.begin, on_progress=dashboard.note)
    summary = figures.summary()
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        console.print(summary_table(summary))
        console.print(_filter_summary(out), markup=False, highlight=False)
        if figures.paid is not None:
            console.print(f"Paid: {_price(figures.paid)}, {figures.paid.requests} requests", markup=False)
        if chosen.logprobs:
            console.print(logprobs_sentence(figures.replies, figures.with_logprobs), markup=False, highlight=False)
        for line in failure_lines(figures.failures):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        console.print(f"Trajectories: {out / 'trajectories.jsonl'}   Look at them: step-envs view {out}")
    exit_if_incomplete([figures])


def _price(usage: "Usage") -> str:
    tokens = usage.prompt_tokens + usage.completion_tokens
    return f"{tokens:,} tokens" + ("" if usage.cost is None else f", ${usage.cost:.2f}")


def _filter_summary(out: Path) -> str:
    """Write how many trajectories the paper's filter keeps for training, and how many each of its rules drops."""
    from step_envs.cli.render import filter_sentence
    from step_envs.outcomes import read_outcomes
    from step_envs.training.filters import broken_rule

    return filter_sentence(map(broken_rule, read_outcomes(out)))


def _dry_run(config: "CollectConfig", out: Path, console: Console, *, as_json: bool) -> None:
    from step_envs.cli.render import visible
    from step_envs.collection.estimates import COSTS_NOTHING, estimate
    from step_envs.errors import BudgetSpentError, EndpointError

    if not config.asks_models():
        nothing = json.dumps({"episodes": config.episodes, "cost": 0.0, "requests": 0})
        typer.echo(nothing if as_json else COSTS_NOTHING)
        return
    try:
        found = estimate(config, out)
    except (BudgetSpentError, EndpointError) as error:
        Console(emoji=False, stderr=True, soft_wrap=True).print(visible(str(error)), markup=False)
        raise typer.Exit(STOPPED) from None
    if as_json:
        typer.echo(json.dumps(found.to_dict()))
        return
    cost = "not known (no --prices for this model)" if found.cost is None else f"${found.cost:.2f}"
    kept = "The sample's answers are in the cache." if found.kept else f"Nothing was kept: {out} holds other files."
    again = ", which the run need not pay again" if found.kept else ""
    paid = "" if found.paid is None else f" It cost ${found.paid:.2f}{again}."
    console.print(
        f"Estimate for {found.episodes} episodes, from {found.sampled} that were played "
        f"({found.successes} succeeded, {found.unknown_verdicts} steps without verdict):\n"
        f"  cost      {cost}\n"
        f"  tokens    {found.prompt_tokens:,} read, {found.completion_tokens:,} written\n"
        f"  requests  {found.requests:,}\n"
        f"  time      about {found.seconds / 60:.1f} minutes with {config.concurrency} in flight\n"
        f"{kept}{paid}",
        markup=False,
        highlight=False,
    )
