"""The conversation of one episode, turn by turn, as it will be trained on.

All wrappers of an episode share one ``Conversation``, and only its methods write turns. So what a turn holds and what it
weighs (``step_envs.loss_weights``) is decided in one place, whichever wrapper the reply came through.
"""

from step_envs.loss_weights import turn_weight
from step_envs.outcomes import TurnOutcome
from step_envs.replies import ReadReply, is_think_action
from step_envs.token_logprobs import logprobs_of
from step_envs.trajectory import Kind, Turn, Verdict
from step_envs.wrappers.reply import Reply


def took_no_step(turn: Turn | TurnOutcome) -> bool:
    """Return True if a turn only thought, at no cost; see ``think_actions`` of ``ReActWrapper``."""
    return turn.valid_action is None and is_think_action(turn.action)


class Conversation:
    """The turns of an episode so far."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self._unfinished: set[int] = set()

    def add(self, turn: Turn) -> None:
        """Append a turn."""
        self.turns.append(turn)

    def add_reply(
        self,
        reply: Reply,
        read: ReadReply,
        observation: str,
        *,
        reward: float | None = None,
        score: float | None = None,
        valid_action: bool | None = None,
        ended_in_failure: bool = False,
    ) -> None:
        """Append a reply and the observation that answers it.

        Args:
            reply: The reply as it was given.
            read: The reply as it was read: what is kept of it, and its action.
            observation: What the agent is shown.
            reward: Change in score by its action; None, like the next two, if the action was not carried out.
            score: Score after the action.
            valid_action: The engine understood the action.
            ended_in_failure: The action ended the episode without success.
        """
        if read.unfinished:
            self._unfinished.add(len(self.turns))
        self.add(
            Turn(
                role="assistant",
                content=read.content,
                kind=reply.kind,
                loss=turn_weight(
                    reply.kind,
                    has_teacher=reply.awaits_verdict,
                    ended_in_failure=ended_in_failure,
                    unfinished=read.unfinished,
                ),
                action=read.action,
                reward=reward,
                score=score,
                valid_action=valid_action,
                usage=reply.usage,
                shortened=reply.shortened,
                logprobs=logprobs_of(read.content, reply.logprobs) if reply.kind == "agent" else None,
            )
        )
        self.add(Turn(role="user", content=observation, kind="observation"))

    def add_verdict(self, index: int, verdict: Verdict) -> None:
        """Record what the teacher said of a turn; a wrong one becomes an ``error``.

        Args:
            index: Index of the turn in ``turns``.
            verdict: The teacher's verdict.
        """
        turn = self.turns[index]
        kind: Kind = "error" if verdict.status == "error" else turn.kind
        weight = turn_weight(kind, verdict.status, has_teacher=True, unfinished=index in self._unfinished)
        judged = {"kind": kind, "loss": weight, "verdict": verdict}
        # Built anew, because model_copy() would not validate the changed fields.
        self.turns[index] = Turn(**{name: getattr(turn, name) for name in Turn.model_fields} | judged)

    def count(self, kind: Kind) -> int:
        """Count the turns of a kind."""
        return sum(turn.kind == kind for turn in self.turns)

    def messages(self) -> list[dict[str, str]]:
        """Return ``role`` and ``content`` of every turn: what the agent sees next."""
        return [{"role": turn.role, "content": turn.content} for turn in self.turns]
