"""Turn episodes into the rows that a progress estimator is trained on: one row an episode, whatever its outcome."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from step_envs.credit.episode_tokens import EpisodeEncoder, acting_replies
from step_envs.errors import DataError, missing_package
from step_envs.trajectory import Trajectory


class EpisodeRows(BaseModel):
    """What became of the episodes.

    Attributes:
        episodes: Number of episodes.
        rows: Rows, one an episode.
        without_replies: Episodes without a reply; they are left out.
        too_long: Episodes that do not fit into ``max_length``, even with their old observations shortened; left out.
        samples: Samples of all rows: one an episode, or one a reply if the template rewrites the history.
        tokens: Tokens of all samples.
        longest: Tokens of the longest sample.
        mean_outcome: Mean of the final scores; None without rows.
    """

    model_config = ConfigDict(extra="forbid")

    episodes: int = 0
    rows: int = 0
    without_replies: int = 0
    too_long: int = 0
    samples: int = 0
    tokens: int = 0
    longest: int = 0
    mean_outcome: float | None = None


def encode_episodes(trajectories: Iterable[Trajectory], encoder: EpisodeEncoder) -> tuple[Any, EpisodeRows]:
    """Make the rows for an estimator.

    Args:
        trajectories: The episodes, successes and failures.
        encoder: Turns episodes into samples.

    Returns:
        A ``datasets.Dataset`` with the columns ``input_ids`` and ``places`` (one list for each sample), ``outcome`` (the
        final score, at least 0) and ``task``; and the report.

    Raises:
        TemplateError: The chat template cannot be used with these episodes.
        gymnasium.error.DependencyNotInstalled: ``datasets`` is missing.
    """
    try:
        import datasets
    except ImportError as error:
        raise missing_package("datasets", "Training an estimator", "train") from error
    report = EpisodeRows()
    rows: list[dict[str, Any]] = []
    for trajectory in trajectories:
        report.episodes += 1
        if not acting_replies(trajectory):
            report.without_replies += 1
            continue
        samples = encoder.encode(trajectory)
        if samples is None:
            report.too_long += 1
            continue
        lengths = [len(sample.ids) for sample in samples]
        report.rows += 1
        report.samples += len(samples)
        report.tokens += sum(lengths)
        report.longest = max(report.longest, *lengths)
        rows.append(
            {
                "input_ids": [sample.ids for sample in samples],
                "places": [sample.places for sample in samples],
                # Values are from 0 to 1; ScienceWorld's scores of failures can be less.
                "outcome": max(0.0, trajectory.score),
                "task": f"{trajectory.env_id} {trajectory.task_id}",
            }
        )
    if not rows:
        raise DataError(
            f"None of the {report.episodes} episodes can be trained on: {report.without_replies} have no reply, "
            f"{report.too_long} are longer than the model reads."
        )
    report.mean_outcome = sum(row["outcome"] for row in rows) / len(rows)
    return datasets.Dataset.from_list(rows), report


def split_by_task(tasks: Sequence[str], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Split rows into those to train on and those that are held out; no task is on both sides.

    Args:
        tasks: The task of every row.
        share: Share of the tasks to hold out; at least one if it is not 0.
        seed: Decides which.

    Returns:
        The numbers of the rows on each side, in order.

    Raises:
        DataError: There is only one task, and a part of it should be held out.
    """
    names = sorted(set(tasks))
    if share and len(names) < 2:
        raise DataError("There is only one task, so that none can be held out: give more tasks, or held_out=0.")
    number = min(len(names) - 1, math.ceil(share * len(names)))
    chosen = {names[place] for place in np.random.default_rng(seed).permutation(len(names))[:number]}
    sides: tuple[list[int], list[int]] = ([], [])
    for row, task in enumerate(tasks):
        sides[task in chosen].append(row)
    return sides
