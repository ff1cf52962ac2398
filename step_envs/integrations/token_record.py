"""The tokens of an episode as one sequence, of which exactly those are trained that the model wrote in their context.

A trainer computes the probability of each token in the sequence that it is given, so the sequence must be what the model
saw. The prompt of each reply is made anew from the conversation, as a server would make it, and compared with the sequence
so far:

- If the end of the last reply is not in the new prompt (it went on to invent an observation, which is cut off, or its text
  has other tokens when it is read again), the tokens from there on leave the sequence: they were sampled, but nothing that
  follows was seen with them. A template that takes thoughts out of earlier replies leaves nothing of them; then only the
  last reply of an episode is trained.
- If the prompt differs before the last reply, the sequence begins anew with this prompt: the replies so far stay in the
  context and out of the loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class TokenRecord:
    """The tokens of an episode as the model saw and wrote them.

    Attributes:
        prompt_ids: The first prompt.
        completion_ids: Everything after it.
        env_mask: 1 for each token of the completion that the model sampled and that follows what it saw; else 0.
        turns: Start and end of each reply in the completion; both 0 if it is not trained.
        begun_anew: How often the prompt was not what the sequence was before, so that earlier replies are not trained.
    """

    prompt_ids: tuple[int, ...] = ()
    completion_ids: tuple[int, ...] = ()
    env_mask: tuple[int, ...] = ()
    turns: tuple[tuple[int, int], ...] = ()
    begun_anew: int = 0

    @property
    def ids(self) -> tuple[int, ...]:
        """Prompt and completion."""
        return self.prompt_ids + self.completion_ids

    def read(self, prompt: Sequence[int]) -> "TokenRecord":
        """Add what the model sees before its next reply."""
        known, prompt = self.ids, tuple(prompt)
        kept = _common(known, prompt) - len(self.prompt_ids)
        if not known or kept < (self.turns[-1][0] if self.turns else 0):
            return TokenRecord(prompt, turns=((0, 0),) * len(self.turns), begun_anew=self.begun_anew + bool(known))
        completion = prompt[len(self.prompt_ids) :]
        mask = self.env_mask[:kept] + (0,) * (len(completion) - kept)
        turns = tuple((start, min(end, kept)) for start, end in self.turns)
        return replace(self, completion_ids=completion, env_mask=mask, turns=turns)

    def until_last_reply(self) -> "TokenRecord":
        """Take out what follows the last reply."""
        end = self.turns[-1][1]
        return replace(self, completion_ids=self.completion_ids[:end], env_mask=self.env_mask[:end])

    def without_turn(self, number: int) -> "TokenRecord":
        """Take a reply out of the loss; it stays in the context."""
        start, end = self.turns[number]
        mask = self.env_mask[:start] + (0,) * (end - start) + self.env_mask[end:]
        return replace(self, env_mask=mask)

    def write(self, reply: Sequence[int]) -> "TokenRecord":
        """Add the tokens of a reply, with the one that ended it."""
        start = len(self.completion_ids)
        return replace(
            self,
            completion_ids=self.completion_ids + tuple(reply),
            env_mask=self.env_mask + (1,) * len(reply),
            turns=(*self.turns, (start, start + len(reply))),
        )


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many tokens two sequences begin with alike."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))
