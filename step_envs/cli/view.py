"""``step-envs view``: show runs in the terminal and as an HTML file."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from step_envs.cli.options import MaxErrors

if TYPE_CHECKING:
    from collections.abc import Collection

    from rich.console import RenderableType
    from rich.table import Table

    from step_envs.cli.view_page import PageWriter
    from step_envs.collection.failures import FailedEpisode
    from step_envs.trajectory import Trajectory


_WITH_WATCH = {"runs", "watch", "host", "port", "as_json"}
_WITH_TERMINAL = {"runs", "terminal", "plain"}
"""Parameters that go together with --watch, and with --terminal."""


class _Choice(NamedTuple):
    """Which episodes to show.

    Attributes:
        wanted: Whether an episode is shown.
        by_filter: The paper's filter is part of it, so what that drops is said.
        max_errors: The most errors that the filter keeps; None is the environment's own number.
    """

    wanted: "Callable[[Trajectory], bool]"
    by_filter: bool
    max_errors: int | None


def view(
    ctx: typer.Context,
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Run folders or trajectory files.", show_default=False)
    ],
    task: Annotated[str | None, typer.Option(help="Show the trajectories of this task.")] = None,
    episode: Annotated[int | None, typer.Option(help="Show the trajectory of this episode.")] = None,
    outcome: Annotated[
        list[str] | None,
        typer.Option(
            help="Only episodes that ended so: success, unsuccessful, recovered, failure, max_steps, max_errors, ...; or "
            "kept or dropped by the paper's filter; repeatable."
        ),
    ] = None,
    max_errors: MaxErrors = None,
    corrected: Annotated[
        bool, typer.Option("--corrected", help="Show one trajectory in which an error was corrected, if there is one.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            help="The HTML file to write, with the episodes that the other options select.",
            show_default="RUN/view.html",
        ),
    ] = None,
    no_html: Annotated[bool, typer.Option("--no-html", help="Write no HTML file.")] = False,
    tokens: Annotated[
        str | None,
        typer.Option(
            help="Folder or name of a tokenizer: shows the tokens of each trajectory and which are trained on, here "
            "with --task, --episode or --corrected, and in the HTML file (about 1 kB a trajectory; up to two million "
            "tokens)."
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Show long turns and the manual in full.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="The most episodes to list; 0 lists all.")] = 40,
    plain: Annotated[bool, typer.Option("--plain", help="No colour.")] = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Serve a page that follows the run while it is written, until Ctrl-C; see below."),
    ] = False,
    host: Annotated[
        str, typer.Option(help="--watch: address to listen on; the default reaches this machine alone.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="--watch: port to listen on; 0 takes a free one.")] = 0,
    terminal: Annotated[
        bool, typer.Option("--terminal", help="Browse the episodes here with keys; ? lists them, q quits.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and write HTML only with --html.")] = False,
) -> None:
    """Show runs in the terminal and as one HTML file that opens from disk.

    The figures and episodes of a run are listed here and written to RUN/view.html. This file needs no server and no
    network; it can be searched, filtered and read in a browser, and sent to others. With two runs, it shows them side
    by side on the same tasks. With --task, --episode or --corrected, trajectories are shown here turn by turn, and
    written only with --html.

    In a trajectory, turns that are trained on are green with a bar at the left, wrong turns are struck through in red,
    corrections are marked, and everything else is dim. Next to each reply are the teacher's verdict, the score after the
    step, and the weight of its tokens in the training loss.

    With --watch, the same page is served to your browser and follows the run: new episodes appear, and what you have
    open, chosen and filtered stays. The run need not have begun; it may end, and be resumed. --terminal browses the
    episodes in the terminal, also while they are written.

    Exit codes: 0 done, 2 wrong input.

    Example: step-envs view runs/boil

    Example: step-envs view runs/boil --episode 3

    Example: step-envs view runs/boil --outcome recovered --html recovered.html

    Example: step-envs view runs/boil --outcome kept --max-errors 1

    Example: step-envs view runs/before runs/after

    Example: step-envs view runs/boil --watch

    Example: step-envs view runs/boil --terminal
    """
    from rich.console import Console

    from step_envs.cli.config_file import was_given
    from step_envs.cli.inputs import selector
    from step_envs.cli.view_page import PageWriter

    if watch or terminal:
        _refuse_others(ctx, "--watch" if watch else "--terminal", _WITH_WATCH if watch else _WITH_TERMINAL)
        if watch:
            from step_envs.cli.view_watch import watch as serve

            serve(runs, host=host, port=port, as_json=as_json)
        else:
            from step_envs.cli.episode_browser import browse

            browse(runs, plain=plain)
        return
    for given in ("host", "port"):
        if was_given(ctx, given):
            raise ValueError(f"--{given} says where --watch listens: add --watch, or leave it out.")
    wanted = selector(outcome, max_errors=max_errors)
    choice = _Choice(wanted, by_filter=bool({"kept", "dropped"} & set(outcome or ())), max_errors=max_errors)
    console = (
        Console(emoji=False, color_system=None, highlight=False) if plain else Console(emoji=False, highlight=False)
    )
    some = task is not None or episode is not None or corrected
    page = PageWriter(
        runs,
        html,
        tokens=None if some and html is None else tokens,
        offered=not (some or outcome or as_json or no_html),
    )
    if some:
        found = _find(runs, task, episode, wanted)
        found = _clearest(found) if corrected else found
        for run, one in found:
            page.add(run, one)
        _show_some(console, [one for _, one in found], tokens=tokens, full=full, as_json=as_json)
    else:
        _show_all(console, runs, choice, page, limit=limit, as_json=as_json)
    page.finish(console, quiet=as_json)


def _refuse_others(ctx: typer.Context, option: str, known: set[str]) -> None:
    """Refuse options that would have no effect.

    Raises:
        ValueError: One was given.
    """
    from step_envs.cli.config_file import was_given

    for parameter in ctx.command.params:
        if parameter.name not in known and was_given(ctx, str(parameter.name)):
            raise ValueError(f"{option} shows whole runs: leave {parameter.opts[0]} out.")


def _show_some(
    console: Any, trajectories: Sequence["Trajectory"], *, tokens: str | None, full: bool, as_json: bool
) -> None:
    if as_json:
        typer.echo(json.dumps([json.loads(trajectory.to_json()) for trajectory in trajectories]))
        return
    from step_envs.cli.render import print_unclipped

    draw = _drawing_function(tokens, full=full)
    for trajectory in trajectories:
        print_unclipped(console, draw(trajectory), least=44)
    if not trajectories:
        console.print("No such trajectory.")


def _drawing_function(tokens: str | None, *, full: bool) -> "Callable[[Trajectory], RenderableType]":
    """Return a function that draws a trajectory: turn by turn, or token by token if a tokenizer is named."""
    if tokens is None:
        from step_envs.cli.render import trajectory_panel

        return lambda trajectory: trajectory_panel(trajectory, full=full)
    from step_envs.agents.local.checkpoint import load_tokenizer
    from step_envs.cli.mask import mask_text
    from step_envs.training.tokens import encoder_for

    encoder = encoder_for(load_tokenizer(tokens))
    return lambda trajectory: mask_text(trajectory, encoder)


def _clearest(found: list[tuple[Path, "Trajectory"]]) -> list[tuple[Path, "Trajectory"]]:
    """Pick the trajectory that shows a correction best: the shortest of those that led to success."""
    corrected = (pair for pair in found if any(turn.kind == "correction" for turn in pair[1].turns))
    best = min(corrected, key=lambda pair: (not pair[1].success, len(pair[1].turns)), default=None)
    return [] if best is None else [best]


def _find(runs: Sequence[Path], task: str | None, episode: int | None, wanted: Any) -> list[tuple[Path, "Trajectory"]]:
    """Find what was asked for in any of the runs; if none has it, raise the error of the first."""
    found: list[tuple[Path, Trajectory]] = []
    missing: list[ValueError] = []
    for run in runs:
        try:
            found += [(run, one) for one in _find_in_run(run, task, episode, wanted)]
        except ValueError as error:
            missing.append(error)
    if missing and not found:
        raise missing[0]
    return found


def _find_in_run(run: Path, task: str | None, episode: int | None, wanted: Any) -> Iterator["Trajectory"]:
    from step_envs.errors import unknown_name
    from step_envs.store import read_trajectories

    tasks: dict[str, None] = {}
    episodes: dict[str, None] = {}
    found = otherwise = 0
    for trajectory in read_trajectories(run):
        tasks[trajectory.task_id] = episodes[str(trajectory.episode)] = None
        if task not in (None, trajectory.task_id) or episode not in (None, trajectory.episode):
            continue
        if wanted(trajectory):
            found += 1
            yield trajectory
        else:
            otherwise += 1
    if found or (task is None and episode is None):
        return
    if task is not None and task not in tasks:
        raise unknown_name("task", task, tasks)
    if episode is not None and str(episode) not in episodes:
        if episodes.keys() == {"None"}:
            raise ValueError(f"The episodes of {run} have no number: name one with --task ID.")
        raise unknown_name("episode", episode, sorted(episodes, key=lambda name: (len(name), name)))
    if otherwise:
        raise ValueError(f"What was asked for is in {run}, but did not end in that outcome: leave --outcome away.")
    raise ValueError(f"Episode {episode} of {run} is not of task {task!r}: name one of the two.")


def _show_all(
    console: Any, runs: Sequence[Path], choice: _Choice, page: "PageWriter", *, limit: int, as_json: bool
) -> None:
    answers = [_show_run(console, run, choice, page, limit=limit, as_json=as_json) for run in runs]
    if as_json:
        typer.echo(json.dumps(answers[0] if len(answers) == 1 else {"runs": answers}))
    elif page.kept:
        console.print("One of them, turn by turn: add --episode N or --task ID.", style="dim", soft_wrap=True)


def _show_run(
    console: Any, run: Path, choice: _Choice, page: "PageWriter", *, limit: int, as_json: bool
) -> dict[str, Any]:
    from step_envs.cli.render import failure_lines, filter_sentence, print_unclipped, summary_table
    from step_envs.collection.failures import FailureGroups
    from step_envs.collection.progress import Progress
    from step_envs.store import read_trajectories
    from step_envs.training.filters import broken_rule

    progress, table, listed = Progress(planned=0), _episode_table(), 0
    rows: list[dict[str, Any]] = []
    played: set[int | None] = set()
    read = 0
    rules: Counter[str | None] = Counter()
    for trajectory in read_trajectories(run):
        read += 1
        played.add(trajectory.episode)
        if choice.by_filter:
            rules[broken_rule(trajectory, max_errors=choice.max_errors)] += 1
        if not choice.wanted(trajectory):
            continue
        progress.add(trajectory)
        page.add(run, trajectory)
        if as_json:
            rows.append(_row(trajectory))
        elif not limit or listed < limit:
            _add_row(table, trajectory)
            listed += 1
    left_out = read - progress.kept
    progress.planned = _planned(run, read, progress.kept)
    answer = {"run": str(run), "summary": progress.summary(), "trajectories": rows, "left_out": left_out}
    if choice.by_filter:
        dropped = {rule: number for rule, number in rules.items() if rule is not None}
        answer["paper_filter"] = {"kept": rules[None], "dropped": dropped}
    failures = _failures(run, played)
    page.add_failures(run, failures)
    if failures:
        answer["failures"] = dict(Counter(failed.reason for failed in failures))
    if as_json:
        return answer
    for line in failure_lines(FailureGroups(failures)):
        console.print(line, style="yellow", markup=False, soft_wrap=True)
    if choice.by_filter and read:
        console.print(filter_sentence(rules.elements()), markup=False, soft_wrap=True)
    if not progress.kept:
        console.print(
            f"{read} trajectories, none that ended so." if read else "No trajectory yet.", markup=False, soft_wrap=True
        )
        return answer
    print_unclipped(console, summary_table(progress.summary(), title=str(run)), least=48)
    console.print()
    print_unclipped(console, table, least=64)
    if progress.kept > listed:
        console.print(f"... and {progress.kept - listed} more: --limit 0 lists all.")
    if left_out:
        console.print(
            f"{left_out:,} of {read:,} are left out: they did not end in the outcome asked for.", soft_wrap=True
        )
    return answer


def _failures(run: Path, played: "Collection[int | None]") -> "list[FailedEpisode]":
    """Read why episodes have no trajectory; a damaged list of them does not keep the run from being shown."""
    from step_envs.cli.render import visible
    from step_envs.collection.failures import read_failures
    from step_envs.errors import StoreError

    try:
        return read_failures(run, played=played)
    except StoreError as error:
        typer.echo(visible(f"{error} So why episodes failed is not shown."), err=True)
        return []


def _planned(run: Path, read: int, kept: int) -> int:
    """Find how many episodes were asked for, so that missing ones are reported; only if the whole run is shown."""
    from step_envs.cli.render import visible
    from step_envs.collection.config import CollectConfig
    from step_envs.errors import StoreError

    config = run / "config.json"
    if kept != read or not config.is_file():
        return kept
    try:
        return CollectConfig.read(config).episodes
    except StoreError as error:
        if _is_annotation(config):
            return kept
        # Its episodes can still be read.
        text = f"{str(error).splitlines()[0]}; so how many episodes were asked for is not known."
        typer.echo(visible(text), err=True)
        return kept


def _is_annotation(config: Path) -> bool:
    from step_envs.credit import AnnotateConfig
    from step_envs.errors import StoreError
    from step_envs.run_folder import read_model

    try:
        read_model(config, AnnotateConfig, "the configuration of an annotation")
    except StoreError:
        return False
    return True


def _episode_table() -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("Episode", justify="right", no_wrap=True)
    # Only this column shrinks in a narrow terminal. It is wrapped and not cut, because --task needs the whole id.
    table.add_column("Task", overflow="fold")
    table.add_column("Ended by", no_wrap=True)
    for name in ("Score", "Steps", "Corrected"):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _add_row(table: "Table", trajectory: "Trajectory") -> None:
    from rich.text import Text

    from step_envs.cli.render import outcome_text, visible

    row = _row(trajectory)
    table.add_row(
        "-" if trajectory.episode is None else str(trajectory.episode),
        Text(visible(trajectory.task_id)),
        outcome_text(trajectory),
        f"{trajectory.score:.2f}",
        str(trajectory.steps),
        Text(
            f"{row['corrections']} of {trajectory.errors}" if trajectory.errors else "-",
            style="green" if row["corrections"] else "red" if trajectory.errors else "dim",
        ),
    )


def _row(trajectory: "Trajectory") -> dict[str, Any]:
    return {
        "episode": trajectory.episode,
        "task_id": trajectory.task_id,
        "task_type": trajectory.task_type,
        "stop_reason": trajectory.stop_reason,
        "success": trajectory.success,
        "score": trajectory.score,
        "steps": trajectory.steps,
        "errors": trajectory.errors,
        "corrections": sum(turn.kind == "correction" for turn in trajectory.turns),
        "unknown_verdicts": trajectory.unknown_verdicts,
        "trained_turns": sum(turn.loss > 0 for turn in trajectory.turns),
    }
