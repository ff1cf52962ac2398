"""Draw trajectories and their figures in a terminal.

Turns that are trained on stand out, context is dim, and wrong turns are struck through. Colours only repeat what the
words say, so everything can be read without them. The text of a trajectory is data: markup in it is not followed, and
characters that would control the terminal or change the direction of writing are shown as symbols.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from step_envs.text import visible
from step_envs.trajectory import Kind, Trajectory, Turn
from step_envs.wrappers.judged_turns import error_category, is_unjudged

if TYPE_CHECKING:
    from step_envs.collection.failures import FailureGroups

__all__ = [
    "count",
    "failure_lines",
    "filter_sentence",
    "logprobs_sentence",
    "outcome_text",
    "print_unclipped",
    "stop_words",
    "summary_of",
    "summary_table",
    "trajectory_panel",
    "turn_lines",
    "visible",
]

LONG = 700
"""Characters of a turn that are shown, unless all of it is asked for."""
BRIEF = 60
"""The same for the manual, which is equal in all trajectories of a world."""

_LONGEST_WORD = 30

_CONTEXT = "dim"
_TRAINED = "green"
_LABELS: dict[Kind, tuple[str, str]] = {
    "instruction": ("", _CONTEXT),
    "observation": ("  world", _CONTEXT),
    "agent": ("agent", "default"),
    "error": ("✘ error", "bold red"),
    "correction": ("✔ corrected", "bold green"),
    "expert": ("expert", "default"),
}
_VERDICTS = {"ok": ("✔ ok", "green"), "error": ("✘ error", "red"), "unknown": ("? unknown", "yellow")}
_STOPPED = {
    "running": "not ended",
    "success": "success",
    "failure": "failure",
    "max_steps": "out of steps",
    "max_errors": "too many errors",
    "unknown_verdict": "no verdict",
    "agent_stopped": "agent gave up",
}


def print_unclipped(console: Console, what: RenderableType, *, least: int) -> None:
    """Print a table or panel that needs a minimum width; a narrower terminal wraps it, while ``rich`` would drop words.

    Args:
        console: Where to print.
        what: A table or a panel.
        least: The columns that it needs.
    """
    width = console.width
    console.width = max(width, least)
    console.print(what)
    console.width = width


def outcome_text(trajectory: Trajectory) -> Text:
    """Return how an episode ended, in one or two words."""
    return Text(stop_words(trajectory.stop_reason), style="bold green" if trajectory.success else "yellow")


def stop_words(reason: str) -> str:
    """Return why an episode ended, in one or two words."""
    return _STOPPED.get(reason, reason)


def trajectory_panel(trajectory: Trajectory, *, full: bool = False) -> RenderableType:
    """Draw one trajectory, turn by turn.

    Args:
        trajectory: The episode.
        full: Show every turn in full; if False, the manual is left out, and long turns are cut with a note.

    Returns:
        A panel for a ``rich`` console of 80 columns or more.
    """
    # The outcome comes first, because a long task id may be cut off at the edge.
    title = Text.assemble(
        outcome_text(trajectory), f" · score {trajectory.score:.2f} · ", (visible(trajectory.task_id), "bold")
    )
    return Panel(
        Group(turn_lines(trajectory.turns, full=full, taught=trajectory.teacher is not None), Text(), _legend()),
        title=title,
        title_align="left",
        subtitle=Text(_who(trajectory), style="dim"),
        subtitle_align="left",
        box=box.ROUNDED,
        border_style="green" if trajectory.success else "yellow",
        padding=(1, 1),
    )


def turn_lines(turns: Sequence[Turn], *, step: int = 0, full: bool = True, taught: bool = False) -> RenderableType:
    """Draw turns without a frame around them.

    Args:
        turns: The turns, in order.
        step: Number of replies before these turns.
        full: See ``trajectory_panel``.
        taught: A teacher watched, so that a step without verdict is one that it was not asked about.
    """
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=3, justify="right")
    grid.add_column(width=11, no_wrap=True)
    grid.add_column(ratio=1, overflow="fold")
    grid.add_column(width=10, no_wrap=True)
    task = max((index for index, turn in enumerate(turns) if turn.kind == "instruction"), default=-1)
    for index, turn in enumerate(turns):
        manual = index < task
        if manual and turn.role == "assistant" and not full:
            continue
        step += _is_reply(turn)
        label = _label(turn, manual=manual, not_judged=is_unjudged(turn, taught=taught))
        _add_turn(grid, turn, step, label, manual=manual, full=full)
        answered = turn.kind == "observation"
        if answered or index == len(turns) - 1:
            # The teacher's remark follows the observation, which is still part of the step that it is about.
            judged = turns[index - 1] if answered and index else turn
            corrected = index + 1 < len(turns) and turns[index + 1].kind == "correction"
            _add_remark(grid, _remark(judged, corrected=corrected), full=full)
    return grid


class _Barred:
    """A text with a bar along its left edge, or room for one."""

    def __init__(self, text: Text, *, bar: bool) -> None:
        self.text = text
        self.bar = bar

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        edge = Segment("┃ " if self.bar else "  ", console.get_style(_TRAINED))
        for line in console.render_lines(self.text, options.update(width=max(1, options.max_width - 2)), pad=False):
            yield edge
            yield from line
            yield Segment.line()


def _is_reply(turn: Turn) -> bool:
    return turn.role == "assistant" and turn.kind != "instruction"


def _add_turn(grid: Table, turn: Turn, step: int, label: Text, *, manual: bool, full: bool) -> None:
    content = visible(turn.content)
    if turn.kind == "observation":
        content = content.removeprefix("Observation: ")
    if not full:
        content = _cut(content, BRIEF if manual else LONG)
    reply = _is_reply(turn)
    grid.add_row(
        Text(str(step) if reply else "", style=_LABELS[turn.kind][1]),
        label,
        _Barred(Text(content.strip("\n"), style=_style(turn), tab_size=4), bar=turn.loss > 0),
        _margin(turn) if reply else Text(),
    )


def _add_remark(grid: Table, remark: str, *, full: bool) -> None:
    if remark:
        said = visible(remark) if full else _cut(visible(remark), LONG)
        grid.add_row(Text(), Text("  teacher", style="yellow"), _Barred(Text(said, style="yellow"), bar=False), Text())


def _style(turn: Turn) -> str:
    if turn.kind == "error":
        return "red strike"
    if turn.loss:
        return f"bold {_TRAINED}" if turn.kind == "correction" else _TRAINED
    return _CONTEXT


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    head = text[:longest]
    words = head.rsplit(maxsplit=1)
    # Cut at the end of a word, unless the word is very long.
    shown = words[0] if len(words) == 2 and len(words[1]) < _LONGEST_WORD else head
    return f"{shown} ... ({len(text) - len(shown):,} more characters)"


def _label(turn: Turn, *, manual: bool, not_judged: bool) -> Text:
    if turn.kind == "instruction":
        return Text("manual" if manual else "task", style=_CONTEXT)
    name, style = _LABELS[turn.kind]
    label = Text(name, style=style)
    if turn.verdict is not None and turn.kind != "error":
        word, word_style = _VERDICTS[turn.verdict.status]
        label.append(f"\n{word}", word_style)
    category = error_category(turn)
    if category is not None:
        label.append(f"\n{category}", style)
    if not_judged:
        label.append("\nnot judged", _CONTEXT)
    return label


def _margin(turn: Turn) -> Text:
    margin = Text()
    if turn.score is not None:
        margin.append(f"score {turn.score:.2f}\n", "bold" if turn.reward else _CONTEXT)
    margin.append(f"loss {turn.loss:g}", _TRAINED if turn.loss else _CONTEXT)
    return margin


def _remark(turn: Turn, *, corrected: bool) -> str:
    """Return what the teacher said; nothing if the step was right, or if the correction repeats it."""
    verdict = turn.verdict
    if verdict is None or verdict.status == "ok":
        return ""
    if corrected:
        return "took the world back to before this step" if verdict.undo else ""
    return verdict.thought() or "gave no reason"


def _legend() -> Text:
    return Text.assemble(
        ("┃ trained on", _TRAINED),
        ("    ", ""),
        ("✘ wrong, not trained on", "red"),
        ("    no bar: context only", _CONTEXT),
    )


def _who(trajectory: Trajectory) -> str:
    corrections = sum(turn.kind == "correction" for turn in trajectory.turns)
    parts = [trajectory.agent.model or trajectory.agent.name]
    if trajectory.teacher is not None:
        parts.append(f"taught by {trajectory.teacher.model or trajectory.teacher.name}")
    parts.append(count(trajectory.steps, "step"))
    if trajectory.errors:
        parts.append(f"{count(trajectory.errors, 'error')}, {corrections} corrected")
    if trajectory.unknown_verdicts:
        parts.append(f"{trajectory.unknown_verdicts} without verdict")
    return visible(" · ".join(parts))


def count(number: int, noun: str) -> str:
    """Write a number with its noun, in the plural unless the number is 1."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def filter_sentence(rules: Iterable[str | None]) -> str:
    """Say what the paper's filter keeps.

    Args:
        rules: Of each trajectory the rule that it breaks, or None; see ``step_envs.training.filters.broken_rule``.
    """
    counts = Counter(rules)
    total, kept = counts.total(), counts.pop(None, 0)
    text = f"The paper's filter keeps {kept:,} of {total:,}"
    dropped = "; ".join(f"{number:,} dropped for {rule}" for rule, number in sorted(counts.items(), key=str))
    return f"{text}: {dropped}." if dropped else f"{text}."


def logprobs_sentence(replies: int, having: int) -> str:
    """Say how many replies of the agent have logprobs, and why others have none.

    Args:
        replies: Replies of the agent.
        having: Those of them that have logprobs.
    """
    text = f"Logprobs: {having:,} of {count(replies, 'reply') if replies == 1 else f'{replies:,} replies'}"
    if having < replies:
        text += "; the others were changed after they were sampled (cut, thoughts taken out), or the server gave none"
    return f"{text}."


_MOST_REASONS = 5


def failure_lines(failures: "FailureGroups") -> list[str]:
    """Say why episodes ended without a trajectory, the most frequent reason first; no line where none did.

    Of each reason one episode is named, and what to do.
    """
    groups = failures.groups()
    if not groups:
        return []
    failed = sum(group.episodes for group in groups)
    lines = [f"{count(failed, 'episode')} without a trajectory; --resume plays them again:"]
    for group in groups[:_MOST_REASONS]:
        example = group.example
        number = "-" if example.episode is None else example.episode
        named = f"{'for example ' if group.episodes > 1 else ''}episode {number}, {visible(example.task_id)}"
        lines += [f"  {group.episodes:,} x {visible(example.reason)}", f"      {named}. {group.advice}"]
    if len(groups) > _MOST_REASONS:
        lines.append(f"  and {count(len(groups) - _MOST_REASONS, 'other reason')}; see failures.jsonl")
    return lines


def summary_of(trajectories: Iterable[Trajectory]) -> dict[str, Any]:
    """Compute the figures of trajectories, with the keys of a run's ``summary.json``."""
    from step_envs.collection.progress import Progress

    progress = Progress(planned=0)
    for trajectory in trajectories:
        progress.add(trajectory)
    progress.planned = progress.kept
    return progress.summary()


def summary_table(what: Mapping[str, Any] | Iterable[Trajectory], *, title: str = "Trajectories") -> Table:
    """Draw the figures of a run: one row per task type, one for all, and below them what became of the errors.

    Args:
        what: Content of a run's ``summary.json``, or trajectories to compute it from.
        title: Heading.
    """
    summary = what if isinstance(what, Mapping) else summary_of(what)
    episodes = summary["trajectories"]
    table = Table(title=Text(visible(title), style="bold"), box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False)
    table.caption = _caption(summary)
    table.caption_justify = table.title_justify = "left"
    table.add_column("Task type", Text("All", style="bold"), overflow="ellipsis")
    table.add_column("Episodes", str(episodes), justify="right", no_wrap=True)
    table.add_column("Success", _bar(summary["success_rate"]) if episodes else Text("-"), no_wrap=True)
    table.add_column("Reward", f"{summary['average_reward']:.2f}" if episodes else "-", justify="right", no_wrap=True)
    for name, figures in summary["by_task_type"].items():
        table.add_row(
            Text(visible(name)),
            str(figures["episodes"]),
            _bar(figures["success_rate"]),
            f"{figures['average_reward']:.2f}",
        )
    return table


def _bar(rate: float) -> Text:
    filled = round(rate * 10)
    return Text.assemble((f"{rate:4.0%} ", ""), ("█" * filled, "green"), ("░" * (10 - filled), "bright_black"))


def _caption(summary: Mapping[str, Any]) -> Text:
    caption = Text(style="not italic")
    caption.append(f"{count(summary['errors'], 'error')}, ", "red" if summary["errors"] else "")
    caption.append(f"{summary['corrections']} corrected", "green" if summary["corrections"] else "")
    if summary["unknown_verdicts"]:
        caption.append(f", {summary['unknown_verdicts']} without verdict", "yellow")
    # The summaries of earlier versions do not have the next two.
    if summary.get("unjudged_steps"):
        caption.append(f"\n{count(summary['unjudged_steps'], 'step')} not judged", "yellow")
    if summary.get("error_categories"):
        kinds = ", ".join(f"{name} {n}" for name, n in summary["error_categories"].items())
        caption.append(f"\nErrors by category: {kinds}")
    if summary["stop_reasons"]:
        ended = ", ".join(f"{_STOPPED.get(reason, reason)} {n}" for reason, n in summary["stop_reasons"].items())
        caption.append(f"\nEnded by: {ended}")
    missing = summary["episodes_planned"] - summary["trajectories"]
    if missing > 0:
        caption.append(f"\n{count(missing, 'episode')} of {summary['episodes_planned']} without a trajectory", "yellow")
    return caption
