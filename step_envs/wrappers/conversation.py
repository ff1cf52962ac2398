"""The conversation of one episode, turn by turn, as it will be trained on."""

from typing import Any

from step_envs.trajectory import Kind, Turn


class Conversation:
    """The turns so far; the wrappers that share it are the only ones to write in it."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []

    def add(self, turn: Turn) -> None:
        """Append a turn."""
        self.turns.append(turn)

    def change(self, index: int, **changes: Any) -> None:
        """Replace fields of a turn, checked like a new one."""
        turn = self.turns[index]
        self.turns[index] = Turn(**{name: getattr(turn, name) for name in Turn.model_fields} | changes)

    def last(self, role: str) -> int:
        """Give the index of the latest turn of a role."""
        return max(i for i, turn in enumerate(self.turns) if turn.role == role)

    def count(self, kind: Kind) -> int:
        """Count the turns of a kind."""
        return sum(turn.kind == kind for turn in self.turns)

    def messages(self) -> list[dict[str, str]]:
        """Give ``role`` and ``content`` of every turn: what the agent sees next."""
        return [{"role": turn.role, "content": turn.content} for turn in self.turns]
