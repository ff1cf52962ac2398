"""Let a teacher give feedback in the rollouts of reinforcement learning: python examples/feedback_rollouts.py [MODEL].

GRPO compares the episodes of a task. If all of them fail, there is nothing to compare, and a beginner fails nearly always.
With a teacher that steps in (ThinkTuning, arXiv 2508.07616; ProCeedRL, arXiv 2604.02006) an episode goes on from a right
step. The teacher's turns and the errors that it found are context and carry no loss; see docs/trl.md.

Without MODEL, scripted agents show in seconds what feedback changes. With the folder of a checkpoint, TRL's GRPO trains it,
with feedback that becomes rarer; this needs pip install "step-envs[train]".
"""

import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

import step_envs
from step_envs import Trajectory
from step_envs.collection import CollectConfig, collect
from step_envs.integrations.chat_tasks import ChatTasks
from step_envs.store import read_trajectories

ENV, OPTIONS = "STeP-ALFWorld-v0", {"source": "generated", "household": "small", "max_steps": 20}
CORRECTIONS = 6
"""Errors of an episode that the teacher corrects; the next one ends it."""


def figures(played: list[Trajectory]) -> dict[str, float]:
    """Return the shares of successes and of tasks whose episodes differ, and mean numbers of turns in an episode."""
    groups: dict[str, set[bool]] = defaultdict(set)
    for one in played:
        groups[one.task_id].add(one.success)
    return {
        "success": mean(one.success for one in played),
        "compared": mean(len(outcomes) > 1 for outcomes in groups.values()),
        "corrected": mean(sum(turn.kind == "correction" for turn in one.turns) for one in played),
        "own trained": mean(sum(turn.kind == "agent" and turn.loss > 0 for turn in one.turns) for one in played),
    }


def compare(folder: Path, tasks: int = 12, group: int = 8) -> dict[tuple[float, str], dict[str, float]]:
    """Play groups of episodes alone and with feedback, by agents that err at several rates, and print the figures."""
    known = step_envs.list_tasks(ENV, split="train", source="generated", household="small")[:tasks]
    found = {}
    print("errors  feedback  success  compared  corrected  own trained")
    for rate in (0.3, 0.5, 0.7, 0.9):
        for name, teacher in (("none", None), ("teacher", "oracle")):
            config = CollectConfig(
                env=ENV,
                env_options=OPTIONS,
                tasks=known,
                episodes=tasks * group,
                agent=f"novice:error_rate={rate}",
                teacher=teacher,
                max_errors=CORRECTIONS,
            )
            out = folder / f"{name}-{rate}"
            collect(config, out)
            found[rate, name] = values = figures(list(read_trajectories(out)))
            shares = f"{values['success']:7.0%}  {values['compared']:8.0%}"
            print(f"{rate:6.0%}  {name:8}  {shares}  {values['corrected']:9.1f}  {values['own trained']:11.1f}")
    return found


def train(model: str, out: Path, steps: int = 20, fades: int = 10, **settings: Any) -> list[dict[str, float]]:
    """Train a checkpoint with GRPO, with feedback whose probability falls to 0, and return what was logged at each step."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from step_envs.integrations.trl import rows
    from step_envs.integrations.trl_rollouts import ReActRollouts

    def corrected(*, corrected: list[float], **_: Any) -> list[float]:
        return corrected  # logged beside the reward, and without weight in it

    asked: dict[str, Any] = {"split": "train", "episodes": 64, "style": "plain", "env_options": OPTIONS}
    with ChatTasks(ENV, **asked) as tasks, ChatTasks(ENV, **asked, teacher="oracle", max_errors=CORRECTIONS) as guided:
        rollouts = ReActRollouts(
            tasks,
            "score+potential",
            max_tokens=64,
            guided=guided,
            guidance=lambda step: max(0.0, 1 - step / fades),
        )
        usual = {"num_generations": 4, "per_device_train_batch_size": 16, "max_completion_length": 2048}
        trainer = GRPOTrainer(
            model=model,
            args=GRPOConfig(
                str(out), max_steps=steps, logging_steps=1, report_to=[], reward_weights=[1.0, 0.0], **usual | settings
            ),
            train_dataset=Dataset.from_list(rows(tasks)),
            rollout_func=rollouts,
            reward_funcs=[rollouts.reward, corrected],
        )
        trainer.train()
        trainer.save_model(str(out))
    logged = [line for line in trainer.state.log_history if "rewards/corrected/mean" in line]
    for line in logged:
        reward, help_given = line["rewards/score+potential/mean"], line["rewards/corrected/mean"]
        print(f"step {line['step']:3}: reward {reward:.2f}, {help_given:.1f} corrections an episode")
    return logged


def main() -> None:
    """Train the checkpoint from the command line; without one, compare scripted agents."""
    if len(sys.argv) > 1:
        train(sys.argv[1], Path("checkpoints/feedback"))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder))


if __name__ == "__main__":
    main()
