"""``step-envs eval``: how good is an agent, how well does it recover, and is it better than another?"""

import json
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from step_envs.cli.dashboard import Dashboard
    from step_envs.endpoint import EndpointConfig
    from step_envs.training.evaluation import EvalConfig

INTERRUPTED = 130
STOPPED = 3
SOME_FAILED = 1


def eval(
    out: Annotated[Path | None, typer.Option(help="Folder of the evaluation.", show_default=False)] = None,
    env: Annotated[str, typer.Option(help="Environment id.")] = "STeP-ALFWorld-v0",
    split: Annotated[str | None, typer.Option(help="Split to play; the environment's default if not given.")] = None,
    task_type: Annotated[list[str] | None, typer.Option(help="Only tasks of this type; may be given again.")] = None,
    tasks: Annotated[
        Path | None, typer.Option(help="File with the task ids to play, one a line, of any split; instead of --split.")
    ] = None,
    agent: Annotated[
        str,
        typer.Option(
            help="Who acts: local:model=FOLDER,temperature=0.7 (a checkpoint); chat:model=NAME,base_url=URL; oracle, "
            "novice, random."
        ),
    ] = "oracle",
    episodes: Annotated[
        int | None, typer.Option(min=1, help="Tasks to play, drawn by the seed; all of the split if not given.")
    ] = None,
    per_task: Annotated[int, typer.Option(min=1, help="Episodes of each task, for agents that sample.")] = 1,
    protocol: Annotated[
        str,
        typer.Option(
            help="own: reward and limits of the environment; eto: those of ETO, as STeP and its family report."
        ),
    ] = "own",
    style: Annotated[
        str, typer.Option(help="Where the manual stands: eto (first turn), system, or plain (nowhere).")
    ] = "eto",
    env_option: Annotated[
        list[str] | None, typer.Option(help="Further option of the environment, as name=value.")
    ] = None,
    recovery: Annotated[
        bool, typer.Option("--recovery", help="Start inside an error, and beside it at the same place without one.")
    ] = False,
    after: Annotated[
        int | None, typer.Option(min=0, help="--recovery: steps of the oracle before the error; drawn if not given.")
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A B", help="Compare two evaluations instead, task by task.", show_default=False),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Episodes in flight; a checkpoint plays them as a batch.")
    ] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Decides which tasks, their order, and all chance.")] = 0,
    budget: Annotated[str | None, typer.Option(help="Most to spend: 5 (dollars) or 2000000tokens.")] = None,
    prices: Annotated[
        Path | None,
        typer.Option(help='JSON file, dollars per million tokens: {"NAME": {"input": 0.5, "output": 1.5}}.'),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Response cache shared by several runs; OUT/responses.sqlite if not given.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the evaluation in OUT.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Play tasks without a teacher, and say how often the agent succeeds, how sure that is, and how it behaves.

    OUT is a run like any other (step-envs view OUT), with evaluation.json beside. In brackets stand 95 % intervals:
    Wilson's for shares of tasks, else a bootstrap that draws whole tasks. Two evaluations with the same seed play the same
    tasks, so that they can be compared in pairs.

    --recovery measures what reflection is for: the oracle plays the first steps, then one is wrong, and the agent goes on
    with the error in its conversation; beside it the same without the error. OUT gets two evaluations and recovery.json.

    --compare says of two evaluations which tasks differ and whether that is more than chance: a difference inside its
    interval, or one that McNemar's test finds in chance, is called no difference.

    Exit codes: 0 done, 1 some episodes failed, 2 wrong input, 3 stopped (budget spent, endpoint down), 130 interrupted.

    Example: step-envs eval --agent local:model=checkpoints/step --split valid_unseen --concurrency 64 --out runs/step

    Example: step-envs eval --agent local:model=checkpoints/step --episodes 100 --recovery --out runs/step-recovery

    Example: step-envs eval --compare runs/golden runs/step
    """
    if compare is not None:
        _compare(*compare, as_json=as_json)
        return
    if out is None:
        raise ValueError("Name the folder of the evaluation with --out, or two evaluations with --compare A B.")
    if after is not None and not recovery:
        raise ValueError("--after says where the error of --recovery comes: add --recovery, or leave it out.")
    from step_envs.cli.inputs import tasks_in, world
    from step_envs.endpoint import Budget, EndpointConfig, read_prices
    from step_envs.specs import read_option
    from step_envs.training.evaluation import EvalConfig

    world(env)  # raises where there is no such environment
    options: dict[str, Any] = dict(read_option(pair, "--env-option") for pair in env_option or ())
    if task_type:
        options["task_types"] = task_type
    config = EvalConfig.model_validate(
        {
            "env": env,
            "env_options": options,
            "split": split,
            "tasks": None if tasks is None else tasks_in(tasks),
            "episodes": episodes,
            "per_task": per_task,
            "agent": agent,
            "protocol": protocol,
            "style": style,
            "seed": seed,
        }
    )
    access = EndpointConfig(
        cache=cache,
        budget=None if budget is None else Budget.parse(budget),
        prices={} if prices is None else read_prices(prices),
    )
    if recovery:
        _recover(config, out, after, access, concurrency, resume=resume, as_json=as_json)
    else:
        _evaluate(config, out, access, concurrency, resume=resume, as_json=as_json)


def _evaluate(
    config: "EvalConfig", out: Path, access: "EndpointConfig", concurrency: int, *, resume: bool, as_json: bool
) -> None:
    from step_envs.cli.eval_tables import evaluation_table
    from step_envs.training.evaluation import evaluate

    console = Console(stderr=as_json)
    with _watched(console, f"{out}: {config.env}, {config.agent}", out) as dashboard:
        found = evaluate(
            config,
            out,
            resume=resume,
            concurrency=concurrency,
            access=access,
            on_start=dashboard.begin,
            on_progress=dashboard.note,
        )
    _show(console, found.model_dump_json(by_alias=True), as_json, lambda: evaluation_table(found, str(out)))
    if found.failed:
        console.print(f"{found.failed} episodes failed ({out / 'failures.jsonl'}): add --resume to play them again.")
        raise typer.Exit(SOME_FAILED)


def _recover(
    config: "EvalConfig",
    out: Path,
    after: int | None,
    access: "EndpointConfig",
    concurrency: int,
    *,
    resume: bool,
    as_json: bool,
) -> None:
    from step_envs.cli.eval_tables import recovery_table
    from step_envs.training.recovery import recover

    console = Console(stderr=as_json)
    with _watched(console, f"{out}: recovery, {config.env}, {config.agent}", out) as dashboard:
        found = recover(
            config,
            out,
            after=after,
            resume=resume,
            concurrency=concurrency,
            access=access,
            on_start=dashboard.begin,
            on_progress=dashboard.note,
        )
    _show(console, found.model_dump_json(by_alias=True), as_json, lambda: recovery_table(found, str(out)))
    if found.failed:
        console.print(f"{found.failed} episodes failed (failures.jsonl in {out}): add --resume to play them again.")
        raise typer.Exit(SOME_FAILED)


def _compare(first: Path, second: Path, *, as_json: bool) -> None:
    from step_envs.cli.eval_tables import comparison_table
    from step_envs.training.comparison import compare

    found = compare(first, second)
    _show(Console(stderr=as_json), found.model_dump_json(by_alias=True), as_json, lambda: comparison_table(found))


def _show(console: Console, text: str, as_json: bool, table: Callable[[], Any]) -> None:
    if as_json:
        typer.echo(json.dumps(json.loads(text)))
    else:
        console.print(table(), highlight=False)


@contextmanager
def _watched(console: Console, title: str, out: Path) -> "Iterator[Dashboard]":
    """Show how far it is, and say in a sentence why it stopped."""
    from step_envs.cli.dashboard import Dashboard
    from step_envs.errors import BudgetSpentError, EndpointError
    from step_envs.text import visible

    with Dashboard(console, title) as dashboard:
        try:
            yield dashboard
        except (BudgetSpentError, EndpointError) as error:
            dashboard.close()
            Console(stderr=True, soft_wrap=True).print(
                f"{visible(str(error))}\nStopped; what was played is kept. Add --resume to go on with {out}.",
                markup=False,
            )
            raise typer.Exit(STOPPED) from None
        except KeyboardInterrupt:
            dashboard.close()
            console.print(f"Stopped. Add --resume to the same command to go on with {out}.", markup=False)
            raise typer.Exit(INTERRUPTED) from None
