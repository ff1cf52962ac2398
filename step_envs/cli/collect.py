"""``step-envs collect``: play many episodes and keep their masked trajectories."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from step_envs.collection.config import CollectConfig
    from step_envs.endpoint import EndpointConfig
    from step_envs.trajectory import Usage

INTERRUPTED = 130
"""Exit code after Ctrl-C; the run can be resumed."""
STOPPED = 3
"""Exit code when the budget is spent or an endpoint or cluster cannot be used any more; the run can be resumed."""
SOME_FAILED = 1
"""Exit code when some episodes gave no trajectory; they are played again on resume."""

_ENGINES = ("threads", "ray")


def collect(
    out: Annotated[Path, typer.Option(help="Folder of the run.", show_default=False)],
    env: Annotated[str, typer.Option(help="Environment id.")] = "STeP-SciWorld-v0",
    split: Annotated[str | None, typer.Option(help="Split to play; the environment's default if not given.")] = None,
    task_type: Annotated[list[str] | None, typer.Option(help="Only tasks of this type; may be given again.")] = None,
    tasks: Annotated[
        Path | None,
        typer.Option(help="File with the ids of the tasks to play, one a line, in place of those of --split."),
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="How many episodes.")] = 10,
    agent: Annotated[
        str,
        typer.Option(
            help="Who acts: novice, oracle, random, or a model: chat:model=NAME,base_url=URL,temperature=1; "
            "options as in novice:error_rate=0.3; or one of your own by its place: my_module.MyAgent."
        ),
    ] = ("novice"),
    teacher: Annotated[
        str,
        typer.Option(
            help="Who judges: oracle; openai:model=NAME,base_url=URL (any endpoint); hybrid:model=... (the oracle judges, "
            "the model finds the words); self (the agent's own model); my_module.MyTeacher; none to record the agent alone."
        ),
    ] = "oracle",
    intervene: Annotated[
        str, typer.Option(help="after: a wrong action runs, then is corrected; before: it never runs.")
    ] = ("after"),
    max_errors: Annotated[int | None, typer.Option(min=0, help="Errors corrected; one more ends the episode.")] = None,
    on_unknown: Annotated[str, typer.Option(help="Without a verdict: continue, or discard the episode.")] = "continue",
    style: Annotated[
        str, typer.Option(help="Where the world's manual goes: eto (first user turn), system, or plain (nowhere).")
    ] = "eto",
    env_option: Annotated[
        list[str] | None, typer.Option(help="Further option of the environment, as name=value.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Episodes in flight at once.")] = 2,
    seed: Annotated[int, typer.Option(help="Decides the order of tasks and all chance.")] = 0,
    budget: Annotated[
        str | None, typer.Option(help="Most the run may spend, all sessions together: 5 (dollars) or 2000000tokens.")
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option(help='JSON file, dollars per million tokens: {"NAME": {"input": 0.5, "output": 1.5}}.'),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Response cache shared by several runs; OUT/responses.sqlite if not given.")
    ] = None,
    requests_per_minute: Annotated[float | None, typer.Option(help="Most requests to an endpoint in a minute.")] = None,
    engine: Annotated[
        str, typer.Option(help="Where episodes are played: threads (of this process), or ray (workers on a cluster).")
    ] = "threads",
    episode_seconds: Annotated[
        float | None, typer.Option(help="Give an episode up after so long; it is played again on resume.")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="A running Ray cluster; RAY_ADDRESS, else one on this machine, if not given.")
    ] = None,
    worker_episodes: Annotated[int, typer.Option(min=1, help="Episodes in flight in each Ray worker.")] = 8,
    worker_cpus: Annotated[float, typer.Option(min=0, help="Processors that a Ray worker needs.")] = 1.0,
    worker_memory: Annotated[int, typer.Option(min=1, help="MiB of memory that a Ray worker needs.")] = 1024,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Play ten sampled episodes and say what the whole run would cost.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in OUT.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Let an agent play, have a teacher judge each step, keep the masked trajectories.

    OUT gets config.json, trajectories.jsonl (one line an episode), failures.jsonl and summary.json. After a kill or Ctrl-C,
    the same command with --resume goes on: no task is lost, none comes twice. Ctrl-C lets the episodes under way end;
    again, and they are dropped whole; a third time ends at once.

    Models behind endpoints are asked through a response cache, so that a resumed run pays for nothing twice. A key comes
    from the environment variable OPENAI_API_KEY, or the one that api_key_env= names, and is written nowhere.

    Exit codes: 0 all episodes kept, 1 some failed, 2 wrong input, 3 stopped (budget spent, endpoint down, no
    cluster), 130 interrupted.

    Example: step-envs collect --task-type boil --episodes 20 --agent novice:error_rate=0.3 --out runs/boil
    """
    from step_envs.cli.dashboard import Dashboard
    from step_envs.cli.inputs import tasks_in, world
    from step_envs.cli.render import summary_table, visible
    from step_envs.collection.collector import collect as run
    from step_envs.collection.config import CollectConfig
    from step_envs.endpoint import Budget, EndpointConfig, read_prices
    from step_envs.errors import BudgetSpentError, ClusterError, EndpointError, unknown_name
    from step_envs.specs import read_option

    world(env)  # raises where there is no such environment
    options: dict[str, Any] = dict(read_option(pair, "--env-option") for pair in env_option or ())
    if task_type:
        options["task_types"] = task_type
    config = CollectConfig.model_validate(
        {
            "env": env,
            "env_options": options,
            "split": split,
            "tasks": None if tasks is None else tasks_in(tasks),
            "episodes": episodes,
            "agent": agent,
            "teacher": None if teacher == "none" else teacher,
            "intervene": intervene,
            "max_errors": max_errors,
            "on_unknown": on_unknown,
            "style": style,
            "seed": seed,
        }
    )
    access = EndpointConfig(
        cache=cache,
        budget=None if budget is None else Budget.parse(budget),
        prices={} if prices is None else read_prices(prices),
        requests_per_minute=requests_per_minute,
    )
    if engine not in _ENGINES:
        raise unknown_name("engine", engine, _ENGINES)
    cluster = None
    if engine == "ray":
        from step_envs.collection.ray_executor import Cluster

        cluster = Cluster(
            address=ray_address,
            episodes_per_worker=worker_episodes,
            cpus=worker_cpus,
            memory=worker_memory * 2**20,
        )
    console = Console(stderr=as_json)
    if dry_run:
        _dry_run(config, out, access, concurrency, console, as_json)
        return
    with Dashboard(console, f"{out}: {env}, {agent}, teacher {teacher}") as dashboard:
        try:
            figures = run(
                config,
                out,
                resume=resume,
                concurrency=concurrency,
                access=access,
                episode_seconds=episode_seconds,
                cluster=cluster,
                on_start=dashboard.begin,
                on_progress=dashboard.note,
            )
        except (BudgetSpentError, EndpointError, ClusterError) as error:
            dashboard.close()
            Console(stderr=True, soft_wrap=True).print(
                f"{visible(str(error))}\nStopped; what was collected is kept. Add --resume to go on with {out}.",
                markup=False,
            )
            raise typer.Exit(STOPPED) from None
        except KeyboardInterrupt:
            dashboard.close()
            console.print(f"Stopped. Add --resume to the same command to go on with {out}.", markup=False)
            raise typer.Exit(INTERRUPTED) from None
    summary = figures.summary()
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        console.print(summary_table(summary))
        console.print(_filtered(out), markup=False, highlight=False)
        if figures.paid is not None:
            console.print(f"Paid: {_price(figures.paid)}, {figures.paid.requests} requests", markup=False)
        console.print(f"Trajectories: {out / 'trajectories.jsonl'}   Look at them: step-envs view {out}")
    if figures.failed:
        raise typer.Exit(SOME_FAILED)


def _price(usage: "Usage") -> str:
    tokens = usage.prompt_tokens + usage.completion_tokens
    return f"{tokens:,} tokens" + ("" if usage.cost is None else f", ${usage.cost:.2f}")


def _filtered(out: Path) -> str:
    """Say what the paper's filter would keep to train on, and what each of its rules throws away."""
    from step_envs.store import read_trajectories
    from step_envs.training.filters import select

    chosen = select(read_trajectories(out))
    text = f"The paper's filter keeps {len(chosen.kept)} of {len(chosen.kept) + chosen.dropped.total()}"
    dropped = "; ".join(f"{count} dropped for {rule}" for rule, count in sorted(chosen.dropped.items()))
    return f"{text}: {dropped}." if dropped else f"{text}."


def _dry_run(
    config: "CollectConfig", out: Path, access: "EndpointConfig", concurrency: int, console: Console, as_json: bool
) -> None:
    from step_envs.cli.render import visible
    from step_envs.collection.estimates import estimate
    from step_envs.errors import BudgetSpentError, EndpointError

    try:
        found = estimate(config, out, access=access, concurrency=concurrency)
    except (BudgetSpentError, EndpointError) as error:
        Console(stderr=True, soft_wrap=True).print(visible(str(error)), markup=False)
        raise typer.Exit(STOPPED) from None
    if as_json:
        typer.echo(json.dumps(found.to_dict()))
        return
    cost = "not known (no --prices for this model)" if found.cost is None else f"${found.cost:.2f}"
    paid = "" if found.paid is None else f" It cost ${found.paid:.2f}, which the run need not pay again."
    console.print(
        f"Estimate for {found.episodes} episodes, from {found.sampled} that were played "
        f"({found.successes} succeeded, {found.unknown_verdicts} steps without verdict):\n"
        f"  cost      {cost}\n"
        f"  tokens    {found.prompt_tokens:,} read, {found.completion_tokens:,} written\n"
        f"  requests  {found.requests:,}\n"
        f"  time      about {found.seconds / 60:.1f} minutes with {concurrency} in flight\n"
        f"The sample's answers are in the cache.{paid}",
        markup=False,
        highlight=False,
    )
