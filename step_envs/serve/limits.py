"""How much a server takes from whom: every limit, its default, and why it has that size.

A server without limits is as strong as the weakest stranger wants it to be. So everything that somebody else can make grow
(sessions, connections, bodies, texts kept, requests that wait, seconds) has a number here. What writes to the disk of the
host has no number: clients cannot ask for it at all, see ``step_envs.serve.worlds``.
"""

from dataclasses import dataclass, fields

from step_envs.spaces import MAX_ACTION_LENGTH

LARGEST_BODY = 128 * 1024
"""Bytes; the longest action that reaches an engine has 4,096 characters, 48 KiB however JSON writes it."""
LARGEST_SNAPSHOT = 1024 * 1024
"""Bytes of a body with a snapshot; after a hundred steps a snapshot of the three worlds has about 2 KiB."""
MOST_VALUES = 32_768
"""Lists, objects and their members in one JSON text: each takes about a hundred bytes, whatever it holds."""
DEEPEST_JSON = 32
"""Levels of lists and objects within one another."""
LARGEST_HEADER = 16 * 1024
"""Bytes of the request line and all headers."""
EPISODE_TEXT = 1024 * 1024
"""Characters of the actions of one episode, which some worlds keep; each action counts ``ACTION_COST`` more."""
ACTION_COST = 64
"""Characters that an action counts beyond its own: the empty one takes memory, too."""
LONGEST_PLAN_QUESTION = 1000
"""Actions to imagine before a plan."""

assert LARGEST_BODY > 12 * MAX_ACTION_LENGTH


@dataclass(frozen=True)
class Limits:
    """What the host of a server may set.

    Args:
        max_sessions: Most sessions at once.
        idle_seconds: Seconds without a request after which a session is closed.
        max_body: Most bytes of a body without a snapshot.
        max_snapshot: Most bytes of a body with a snapshot.
        max_queue: Most requests that wait for one session while another one is carried out.
        header_seconds: Seconds in which the headers of a request must be whole.
        body_seconds: Seconds in which its body must be whole after that.
        max_unauthenticated: Most connections that have not shown the token; one more closes the oldest of them.

    Raises:
        ValueError: One of them is not more than 0.
    """

    max_sessions: int = 64
    idle_seconds: float = 600.0
    max_body: int = LARGEST_BODY
    max_snapshot: int = LARGEST_SNAPSHOT
    max_queue: int = 16
    header_seconds: float = 5.0
    body_seconds: float = 10.0
    max_unauthenticated: int = 2048

    def __post_init__(self) -> None:
        """Check that each is possible."""
        wrong = [
            f"{field.name}={getattr(self, field.name)}" for field in fields(self) if not getattr(self, field.name) > 0
        ]
        if wrong:
            raise ValueError(f"The limits of a server must be more than 0, got {', '.join(wrong)}.")

    @property
    def max_connections(self) -> int:
        """Most connections that have shown the token: one a session is enough, some clients use several."""
        return 4 * self.max_sessions + 64
