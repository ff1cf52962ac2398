"""What an experiment has to know about a world: which tasks it can draw, with which options, and which words are names."""

import random
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from step_envs.errors import DataError

Purpose = Literal["golden", "held_out", "play", "samples"]
"""What tasks are drawn for: golden trajectories (U1 and U2), evaluation, random play, and texts of the tokenizer."""


_WORD = re.compile(r"[a-z]{3,}")
_COPIED = 200


class ExperimentWorld(ABC):
    """A world in which experiments are run.

    Attributes:
        env: Id of the environment.
        held_out_split: The split that the held-out tasks come from; all others come from ``train``.
        tiny_options: Options of the environment for models made from nothing.
        model_options: Options of the environment for pretrained models.
    """

    env: ClassVar[str]
    held_out_split: ClassVar[str]
    tiny_options: ClassVar[Mapping[str, Any]]
    model_options: ClassVar[Mapping[str, Any]]

    @abstractmethod
    def draw_tasks(self, options: Mapping[str, Any], purpose: Purpose, count: int, draw: int) -> tuple[str, ...]:
        """Draw tasks.

        Args:
            options: Options of the environment.
            purpose: What for. Tasks of ``golden`` and of ``held_out`` are never the same.
            count: How many. For ``play`` and ``samples`` there may be fewer; they are then played several times.
            draw: Number of the draw: another number gives other tasks.

        Raises:
            DataError: There are not so many.
        """

    def options_of(self, options: Mapping[str, Any], draw: int) -> dict[str, Any]:
        """Return the options of the environment in which the tasks of a draw are played."""
        del draw
        return dict(options)

    def names(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Return the names of things and places, which become single tokens of a tiny model.

        Args:
            texts: Texts of episodes, for names that only they hold.
        """
        del texts
        return ()

    def copied_names(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Return the words that copying sequences are made of: the names of the world, or its most frequent words.

        Args:
            texts: Texts of episodes.
        """
        counts = Counter(word for text in texts for word in _WORD.findall(text.lower()))
        return self.names(()) or tuple(sorted(word for word, _ in counts.most_common(_COPIED)))


def draw_listed(
    world: ExperimentWorld, tasks: Iterable[str], purpose: Purpose, count: int, draw: int
) -> tuple[str, ...]:
    """Draw from a list of tasks; for worlds whose tasks cannot be made at will.

    Args:
        world: The world.
        tasks: All tasks of the split.
        purpose: See ``ExperimentWorld.draw_tasks``.
        count: See ``ExperimentWorld.draw_tasks``.
        draw: See ``ExperimentWorld.draw_tasks``.

    Raises:
        DataError: There are not so many.
    """
    shuffled = sorted(tasks)
    random.Random(f"{purpose == 'held_out'} {draw}").shuffle(shuffled)
    if purpose in ("play", "samples"):
        # From the other end, so that golden tasks come last. These episodes teach no solution.
        return tuple(reversed(shuffled))[:count]
    if count > len(shuffled):
        name = "held_out" if purpose == "held_out" else "tasks"
        raise DataError(
            f"{world.env} has {len(shuffled):,} tasks for {name} with these options, not {count:,}: set {name} to at "
            f"most {len(shuffled)}, or other env_options."
        )
    return tuple(shuffled[:count])
