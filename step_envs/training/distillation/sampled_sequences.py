"""The tokens that a model sampled in an episode, in sequences that are exactly what it saw when it sampled them.

Text that is tokenized again need not have the tokens that were sampled, and a template need not show an earlier reply as it
was written. So nothing is tokenized again: the prompt before each reply is compared with the sequence so far. If it goes on
from there, as with most templates, an episode stays one sequence, and a model reads it once for all replies. If it does
not, another sequence begins with this prompt. So every sampled token is in one sequence as sampled, and in the later ones
at most as context.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple


class SampledSequence(NamedTuple):
    """A part of an episode.

    Attributes:
        prompt: What the student saw before the first token that follows.
        teacher_prompt: The same as the teacher sees it: with its hint, if it has one.
        completion: What follows for both: replies and what was said between them.
        sampled: Of each token of the completion, whether the student sampled it.
    """

    prompt: tuple[int, ...]
    teacher_prompt: tuple[int, ...]
    completion: tuple[int, ...]
    sampled: tuple[bool, ...]


class SequenceRecorder:
    """Records the tokens of one episode."""

    def __init__(self) -> None:
        self._done: list[SampledSequence] = []
        self._prompt: list[int] = []
        self._teacher_prompt: list[int] = []
        self._completion: list[int] = []
        self._sampled: list[bool] = []

    @property
    def length(self) -> int:
        """Tokens of the running sequence, as student or teacher sees it, whichever is longer."""
        return max(len(self._prompt), len(self._teacher_prompt)) + len(self._completion)

    def read(self, prompt: Sequence[int], teacher_prompt: Callable[[], Sequence[int]]) -> None:
        """Add what the student sees before a reply.

        Args:
            prompt: Its prompt, from the first token.
            teacher_prompt: Makes the prompt that the teacher would see here; called where a sequence begins.
        """
        known = [*self._prompt, *self._completion]
        if known and list(prompt[: len(known)]) == known:
            new = prompt[len(known) :]
            self._completion += new
            self._sampled += [False] * len(new)
            return
        self._end()
        self._prompt, self._teacher_prompt = list(prompt), list(teacher_prompt())

    def write(self, reply: Sequence[int]) -> None:
        """Add the tokens that the student sampled, with the one that ended the reply."""
        self._completion += reply
        self._sampled += [True] * len(reply)

    def sequences(self) -> list[SampledSequence]:
        """End the episode, and return its sequences; those in which nothing was sampled are left out."""
        self._end()
        return self._done

    def _end(self) -> None:
        if any(self._sampled):
            # Nothing is learnt from what follows the last sampled token.
            end = len(self._sampled) - self._sampled[::-1].index(True)
            self._done.append(
                SampledSequence(
                    tuple(self._prompt),
                    tuple(self._teacher_prompt),
                    tuple(self._completion[:end]),
                    tuple(self._sampled[:end]),
                )
            )
        self._prompt, self._teacher_prompt, self._completion, self._sampled = [], [], [], []
