"""What single steps were worth: the advantage of each turn, from the values of the states around it.

A state's own value does not say whether a step was good: a wasted step leaves it as it was. But values are discounted, so
the right step raises the value by exactly the factor that one step costs. The advantage is 0 for such a step and negative
for every worse one, whether it wasted time, lost ground or closed the way.
"""

from step_envs.trajectory import Trajectory, Turn

TOLERANCE = 1e-9
"""Advantages are differences of products: a smaller one is 0."""


def step_advantages(trajectory: Trajectory) -> list[float | None]:
    """Compute the advantage of every turn: ``discount * value after it - value before it``.

    Args:
        trajectory: An episode with values, as ``annotate`` writes it.

    Returns:
        One number for each turn, from -1 to 1: 0 or more for a step that is worth its time. None where one of the two
        values is not known, and for replies that took no step: thoughts, and actions that were stopped before they ran. A
        correction that ran from the state before the error is compared with that state.
    """
    params = {} if trajectory.valued_by is None else trajectory.valued_by.params
    discount = float(params.get("discount", 1.0))
    advantages: list[float | None] = []
    before: float | None = None
    undone: float | None = None
    for turn in trajectory.turns:
        start = undone if undone is not None and turn.kind == "correction" else before
        advantage = None
        if turn.value is not None and start is not None and _took_a_step(turn):
            advantage = discount * turn.value - start
        advantages.append(advantage)
        if turn.value is not None or _is_reply(turn):
            undone = start if turn.verdict is not None and turn.verdict.undo else None
            before = turn.value
    return advantages


def _is_reply(turn: Turn) -> bool:
    return turn.role == "assistant" and turn.kind != "instruction"


def _took_a_step(turn: Turn) -> bool:
    """Return True if the world was asked; its score is recorded then."""
    return _is_reply(turn) and (turn.score is not None or turn.valid_action is not None)
