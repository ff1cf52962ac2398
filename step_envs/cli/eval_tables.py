"""Draw evaluations, recovery tests and comparisons as tables in a terminal."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from step_envs.report.tables import written
from step_envs.statistics import Interval
from step_envs.text import visible
from step_envs.training.comparison import Comparison, Difference
from step_envs.training.evaluation import Evaluation, Figures
from step_envs.training.recovery import Recovery

_MOST_TASKS = 10


def evaluation_table(found: Evaluation, title: str) -> RenderableType:
    """Draw the figures of an evaluation: one row per task type, one for all, and below them the agent's behaviour."""
    table = _table(title, "Task type", "Episodes", "Success", "Reward", "Steps")
    rows = [*found.by_task_type.items(), ("All", found.overall)]
    for number, (name, figures) in enumerate(rows):
        last = number == len(rows) - 1
        table.add_row(
            Text(visible(name)), *_cells(figures), style="bold" if last else "", end_section=number == len(rows) - 2
        )
    how = found.behaviour
    lines = [
        ("actions not understood", how.invalid, ""),
        ("replies without an action", how.without_action, ""),
        ("repeats of the step before", how.repeated, ""),
        ("episodes with a loop", how.looped, ""),
        ("success after an action not understood", how.overcame_invalid, ""),
        ("reflections with a right action", how.reflections_right, f"   {how.judged} of {how.reflections} judged"),
    ]
    grid = Table.grid(padding=(0, 2))
    for words, share, more in lines:
        if share.value is not None:
            grid.add_row(Text(words, style="dim"), Text(percent(share)), Text(more, style="dim"))
    ended = ", ".join(f"{reason} {number}" for reason, number in found.stop_reasons.items())
    return Group(table, grid, Text(f"Ended by: {ended}. Protocol: {found.config.protocol}.", style="dim"))


def recovery_table(found: Recovery, title: str) -> RenderableType:
    """Draw a recovery test: success with the error and without it, and the difference."""
    table = _table(title, "Begun", "Episodes", "Success", "Reward", "Steps")
    table.add_row("after an error", *_cells(found.with_error))
    table.add_row("without it", *_cells(found.without_error))
    lines = [
        f"The error costs {points(found.lost.difference)}: {_in_words(found.lost, 'without it', 'after the error')}.",
        f"Of {found.solved} episodes that succeeded without the error, {found.recovered_of_solved} did with it.",
    ]
    if found.left_out:
        lines.append(f"{found.left_out} pairs left out, which were over before the agent's turn.")
    return Group(table, Text("\n".join(lines)))


def comparison_table(found: Comparison) -> RenderableType:
    """Draw a comparison: the figures of both agents, their difference, and the tasks that differ."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", min_width=12, overflow="ellipsis")
    for name in ("First", "Second", "Difference", "p", "Better"):
        table.add_column(name, justify="left" if name == "Better" else "right", no_wrap=True)
    table.add_row("success", *_both(found.success, percents=True))
    table.add_row("reward", *_both(found.reward, percents=False), end_section=True)
    for name, difference in found.by_task_type.items() if len(found.by_task_type) > 1 else ():
        table.add_row(Text(visible(name)), *_both(difference, percents=True))
    lines = [
        f"First: {visible(found.first)}\nSecond: {visible(found.second)}",
        f"{found.episodes} pairs of {found.tasks} tasks"
        + (f"; {found.unpaired} episodes without a partner left out" if found.unpaired else ""),
        f"Succeeded only the first: {found.only_first}{_named(found.tasks_only_first)}",
        f"Succeeded only the second: {found.only_second}{_named(found.tasks_only_second)}",
    ]
    if len(found.by_task_type) > 1:
        lines.append("Success by type: of many types, one in twenty differs by chance alone.")
    return Group(table, Text("\n".join(lines)))


def percent(share: Interval) -> str:
    """Write a share with its interval."""
    if share.value is None or share.low is None or share.high is None:
        return "-"
    return f"{100 * share.value:.1f} % [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def points(difference: Interval) -> str:
    """Write a difference of shares, in points, with its interval."""
    if difference.value is None or difference.low is None or difference.high is None:
        return "-"
    return f"{100 * difference.value:+.1f} points [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=Text(visible(title), style="bold"), box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left", no_wrap=number > 0, overflow="ellipsis")
    return table


def _cells(figures: Figures) -> Sequence[str]:
    reward = figures.reward
    text = "-"
    if reward.value is not None:
        text = f"{reward.value:.2f} [{reward.low:.2f}, {reward.high:.2f}]"
    episodes = str(figures.episodes)
    if figures.tasks != figures.episodes:
        episodes += f" of {figures.tasks} tasks"
    return episodes, percent(figures.success), text, "-" if figures.steps is None else f"{figures.steps:.1f}"


def _both(difference: Difference, *, percents: bool) -> Iterable[str | Text]:
    for value in (difference.first, difference.second):
        yield "-" if value is None else f"{100 * value:.1f} %" if percents else f"{value:.2f}"
    gap = difference.difference
    if percents or gap.value is None:
        yield points(gap).replace(" points", "")
    else:
        yield f"{gap.value:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]"
    yield written(difference.p, "p")
    same = difference.verdict == "no difference"
    yield Text(difference.verdict.removesuffix(" is better"), style="dim" if same else "bold")


def _in_words(difference: Difference, first: str, second: str) -> str:
    if difference.verdict == "no difference":
        return "no difference that can be told"
    better = first if difference.verdict == "first is better" else second
    p = written(difference.p, "p")
    return f"better {better} (p {p if p.startswith('<') else f'= {p}'})"


def _named(tasks: Sequence[str]) -> str:
    if not tasks:
        return ""
    shown = ", ".join(map(visible, tasks[:_MOST_TASKS]))
    return f" ({shown}{', ...' if len(tasks) > _MOST_TASKS else ''})"
