"""GRPO that also compares single turns: beside others that began in the same state, or beside all turns of the task.

GRPO gives all tokens of an episode one advantage, so a good step in an episode that failed is made less likely. But the
episodes of a group play the same task, so several of them are in the same state at some moment, and there they can be
compared: the turn after which more reward followed is better. GiGPO (Feng et al., 2025, arXiv 2505.10978) finds such
moments by equal text. Here the key of a state is the world's own snapshot, so that different states are never treated as
the same.

Where every turn has a reward of its own, as from a progress estimator (SPA-RL, arXiv 2505.20732), turns need not share a
state to be compared: the rewards are set against those of all turns of the task, as in GRPO with process supervision
(DeepSeekMath, arXiv 2402.03300, section 4.1.3).

Source: GiGPO. The advantage of a token is that of its episode and ``step_weight`` times that of its turn.
"""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import Any, Literal

import torch
from trl import GRPOTrainer

_LEAST = 1e-6


def turn_advantages(
    states: Sequence[Sequence[str]], rewards: Sequence[Sequence[float]], discount: float
) -> list[list[float]]:
    """Compare the turns of several episodes that began in the same state.

    Args:
        states: Key of the state before each turn of each episode.
        rewards: Reward of each turn of each episode.
        discount: Weight of a reward one turn later.

    Returns:
        For each turn of each episode: its discounted return, in standard deviations above the mean of all turns from its
        state; 0 where there is no other, or all are alike.
    """
    returns = [_discounted(episode, discount) for episode in rewards]
    by_state: dict[str, list[float]] = defaultdict(list)
    for keys, values in zip(states, returns, strict=True):
        for key, value in zip(keys, values, strict=True):
            by_state[key].append(value)
    means = {key: fmean(values) for key, values in by_state.items()}
    # Where all are alike, the deviation is 0 or a rounding error, and the difference above it as well.
    scales = {key: max(pstdev(values), _LEAST) for key, values in by_state.items()}
    return [
        [(value - means[key]) / scales[key] for key, value in zip(keys, values, strict=True)]
        for keys, values in zip(states, returns, strict=True)
    ]


def process_advantages(
    tasks: Sequence[str], rewards: Sequence[Sequence[float | None]], discount: float
) -> list[list[float]]:
    """Compare the turns of all episodes of a task by their own rewards.

    Args:
        tasks: Task of each episode.
        rewards: Reward of each turn of each episode; None where it is not known.
        discount: Weight of a reward one turn later.

    Returns:
        For each turn of each episode: the discounted sum of the rewards from it on, each in standard deviations above the
        mean of all turns of the task. A reward that is not known is in no mean, and counts as the mean.
    """
    by_task: dict[str, list[float]] = defaultdict(list)
    for task, values in zip(tasks, rewards, strict=True):
        by_task[task] += [value for value in values if value is not None]
    means = {task: fmean(values) if values else 0.0 for task, values in by_task.items()}
    scales = {task: max(pstdev(values), _LEAST) if values else 1.0 for task, values in by_task.items()}
    return [
        _discounted([0.0 if value is None else (value - means[task]) / scales[task] for value in values], discount)
        for task, values in zip(tasks, rewards, strict=True)
    ]


def _discounted(rewards: Sequence[float], discount: float) -> list[float]:
    returns, following = list[float](), 0.0
    for reward in reversed(rewards):
        following = reward + discount * following
        returns.append(following)
    return returns[::-1]


class StepGRPOTrainer(GRPOTrainer):  # type: ignore[misc]  # TRL is not followed by the type checker
    """``GRPOTrainer`` for ``ReActRollouts(tasks, "step")``.

    Turns are compared within a process: let the batch of a process hold whole groups.

    Args:
        *arguments: As ``GRPOTrainer``.
        compare: What a turn is compared with: the turns from the same ``state``, or all turns of the ``task``. The second
            is for rewards that single turns have, ``ReActRollouts(tasks, "step", values=...)``.
        step_weight: Weight of a turn's own advantage beside that of its episode.
        discount: Weight of a reward one turn later, from 0 to 1.
        **named: As ``GRPOTrainer``.

    Raises:
        ValueError: A weight is impossible, or the rollouts do not say in which states their turns began.
    """

    adds_step_advantages = True

    def __init__(
        self,
        *arguments: Any,
        compare: Literal["state", "task"] = "state",
        step_weight: float = 1.0,
        discount: float = 0.95,
        **named: Any,
    ) -> None:
        if compare not in ("state", "task"):
            raise ValueError(f"compare must be 'state' or 'task', got {compare!r}.")
        if step_weight < 0 or not 0 <= discount <= 1:
            raise ValueError(
                f"step_weight must not be negative and discount from 0 to 1, got {step_weight} and {discount}."
            )
        super().__init__(*arguments, **named)
        self._compare, self._step_weight, self._discount = compare, step_weight, discount

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        # TRL has put what the rollout function returned into the rows.
        if any("turn_states" not in row for row in inputs):
            raise ValueError(
                "StepGRPOTrainer compares turns by their states: give it rollout_func=ReActRollouts(tasks, 'step')."
            )
        rewards = [row["turn_rewards"] for row in inputs]
        found = (
            turn_advantages([row["turn_states"] for row in inputs], rewards, self._discount)
            if self._compare == "state"
            else process_advantages([row["task_id"] for row in inputs], rewards, self._discount)
        )
        of_turns = torch.zeros(output["completion_ids"].shape, device=output["advantages"].device)
        for index, row in enumerate(inputs):
            for (start, end), advantage in zip(row["turn_spans"], found[index], strict=True):
                of_turns[index, start:end] = advantage
        output["advantages"] = output["advantages"].unsqueeze(1) + self._step_weight * of_turns
        mode = "train" if self.model.training else "eval"
        self._metrics[mode]["steps/compared"].append(
            fmean(abs(value) > _LEAST for episode in found for value in episode)
        )
        return output
