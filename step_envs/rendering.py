"""Shows a moment of an episode to a person: task, last action, observation, score.

An observation alone does not say what the agent was asked, what it did, or what that was worth. All worlds show the same
four things, as text (``"ansi"``) or printed as the episode goes (``"human"``). Text of worlds and models may hold
characters that control a terminal, so everything passes ``text.visible``.
"""

from dataclasses import dataclass

from step_envs.text import visible
from step_envs.world_state import WorldState


@dataclass(frozen=True, slots=True)
class Frame:
    """A moment of an episode.

    Attributes:
        task_id: The task.
        instruction: The task in words.
        steps: Steps so far.
        action: The action that led here; None at the start, after ``restore``, and for a reply without an action.
        state: What the world answered.
        truncated: A limit has ended the episode.
    """

    task_id: str
    instruction: str
    steps: int
    action: str | None
    state: WorldState
    truncated: bool


def frame_text(frame: Frame) -> str:
    """Write a moment as plain text.

    Returns:
        Lines ``Task``, ``Action`` (but at the start), the observation, and ``Score``.
    """
    lines = [f"Task {frame.task_id}: {frame.instruction}"]
    if frame.steps:
        lines.append(_action_line(frame))
    return "\n".join(visible(line) for line in (*lines, frame.state.observation, _score_line(frame)))


def print_frame(frame: Frame) -> None:
    """Print a moment to standard output: the task at the start of an episode, then what is new."""
    from rich.console import Console  # imported when it is used: who does not watch need not wait for it
    from rich.text import Text

    console = Console(emoji=False, highlight=False, soft_wrap=True)
    if not frame.steps:
        console.rule(Text(visible(frame.task_id)))
        console.print(Text(visible(frame.instruction), style="bold"))
    else:
        console.print(Text(visible(_action_line(frame)), style="cyan" if frame.state.valid_action else "yellow"))
    console.print(Text(visible(frame.state.observation)))
    console.print(Text(_score_line(frame), style="green" if frame.state.success else "dim"))


def _action_line(frame: Frame) -> str:
    return f"Action {frame.steps}: {'(none)' if frame.action is None else frame.action}"


def _score_line(frame: Frame) -> str:
    ended = "success" if frame.state.success else "the episode ended" if frame.state.done else ""
    ended = ended or ("the step limit is reached" if frame.truncated else "")
    return f"Score: {frame.state.score:.2f}" + (f" ({ended})" if ended else "")
