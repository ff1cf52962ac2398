"""Measure whether GRPO learns in our worlds: python benchmarks/grpo.py --out FOLDER.

The model is made from nothing: the base agent of ``step-envs reproduce --preset cpu``, 0.4 million parameters, trained on
golden trajectories of generated households until it succeeds in half of the tasks that it has not seen. TRL's
``GRPOTrainer`` then trains it through ``ReActRollouts`` on other tasks, once for each seed and reward, with the same number
of steps and episodes. The base agent and every trained model play the same held-out tasks, greedily.

What is done is kept under ``--out``, and a second call goes on. Two models are trained at once, in a process and a thread
each. ``results.json`` holds the figures: success of each seed, and the difference from the base agent with a t interval
over seeds.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from step_envs.file_reading import read_json
from step_envs.run_folder import write_json

ENV = "STeP-ALFWorld-v0"
BASE_STEPS = ("tasks", "samples", "play", "original", "pretrain", "golden:0", "golden:1", "base")
BASE = "seed-0/base"
"""Folder of the base agent in that of the experiment."""
FIRST_SEED = 700_000
"""Of the households for GRPO; the preset's own begin at 0, 500,000 and 900,000."""


def main() -> None:
    """Make the base agent, train, evaluate, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--rewards", nargs="+", default=["score", "score+potential"])
    parser.add_argument("--steps", type=int, default=60, help="optimizer steps, each on one batch of episodes")
    parser.add_argument("--tasks", type=int, default=8, help="tasks of a batch")
    parser.add_argument("--generations", type=int, default=8, help="episodes of each task")
    parser.add_argument("--learning-rate", type=float, default=4e-4, help="its peak; it falls to 0")
    parser.add_argument("--train-tasks", type=int, default=2400, help="different tasks to train on")
    parser.add_argument("--temperature", type=float, default=0.5, help="of sampling in training; evaluation is greedy")
    parser.add_argument("--held-out", type=int, default=300)
    parser.add_argument("--arm", nargs=2, metavar=("REWARD", "SEED"), help="only train and evaluate this one")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.arm:
        train(options, options.arm[0], int(options.arm[1]))
        return
    make_base(options.out.absolute())
    evaluate_model(options, options.out / BASE, "base")
    waiting = [(reward, seed) for seed in options.seeds for reward in options.rewards]
    running: list[subprocess.Popen[bytes]] = []
    while waiting or running:
        while waiting and len(running) < 2:
            reward, seed = waiting.pop(0)
            command = [sys.executable, *sys.argv, "--arm", reward, str(seed)]
            running.append(subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}))
        done = running.pop(0)
        if done.wait():
            raise SystemExit("A training failed; what is done is kept.")
    summarize(options)


def make_base(out: Path) -> None:
    """Make the base agent of the preset ``cpu``."""
    from step_envs.training.experiments.presets import preset
    from step_envs.training.experiments.stages import run_step

    for step in BASE_STEPS:
        if not (out / f"{step}.done").exists():
            run_step(preset("cpu"), out, f"{step}@seed-0")
            (out / f"{step}.done").touch()


def chat_tasks(number: int) -> Any:
    """The tasks that GRPO trains on: households that the base agent was not trained on."""
    from step_envs.alfworld.games.goal import TASK_TYPES
    from step_envs.alfworld.generation.task_ids import make_task_id
    from step_envs.integrations.chat_tasks import ChatTasks
    from step_envs.training.experiments.presets import preset

    chosen = preset("cpu")
    kinds = len(TASK_TYPES)
    ids = [
        make_task_id(TASK_TYPES[i % kinds], FIRST_SEED + i // kinds, chosen.env_options["household"])
        for i in range(number)
    ]
    return ChatTasks(ENV, tasks=ids, style=chosen.style, env_options=chosen.world_options(0))


def train(options: argparse.Namespace, reward: str, seed: int) -> None:
    """Train one model, and have it play the held-out tasks."""
    name = f"{reward}-{seed}"
    folder = options.out / name
    if not (folder / "model" / "config.json").exists():
        import datasets
        import transformers
        import trl

        from step_envs.integrations.trl import rows
        from step_envs.integrations.trl_rollouts import ReActRollouts

        transformers.set_seed(seed)
        episodes = options.tasks * options.generations
        with chat_tasks(options.train_tasks) as tasks:
            rollouts = ReActRollouts(tasks, reward, max_tokens=48)  # type: ignore[arg-type]
            trainer = trl.GRPOTrainer(
                model=str(options.out / BASE),
                reward_funcs=[rollouts.reward, success],
                args=trl.GRPOConfig(
                    output_dir=str(folder / "trainer"),
                    per_device_train_batch_size=episodes,
                    num_generations=options.generations,
                    reward_weights=[1.0, 0.0],
                    max_steps=options.steps,
                    max_completion_length=900,
                    learning_rate=options.learning_rate,
                    lr_scheduler_type="linear",
                    warmup_steps=5,
                    beta=0.0,
                    temperature=options.temperature,
                    seed=seed,
                    data_seed=seed,
                    use_cpu=True,
                    bf16=False,
                    gradient_checkpointing=False,
                    report_to=[],
                    logging_steps=1,
                    save_strategy="no",
                ),
                train_dataset=datasets.Dataset.from_list(rows(tasks)),
                rollout_func=rollouts,
            )
            trainer.train()
        write_json(folder / "log.json", trainer.state.log_history)
        trainer.model.save_pretrained(folder / "model")
        trainer.processing_class.save_pretrained(folder / "model")
    evaluate_model(options, folder / "model", name)


def success(*, success: list[float], **_: Any) -> list[float]:
    """Success, for the log alone."""
    return list(success)


def evaluate_model(options: argparse.Namespace, model: Path, name: str) -> None:
    """Have a model play the held-out tasks greedily, with the settings of the preset."""
    from step_envs.training.evaluation import EvalConfig, evaluate
    from step_envs.training.experiments.presets import preset

    out = options.out / f"evaluation-{name}"
    if (out / "evaluation.json").exists():
        return
    chosen = preset("cpu")
    config = EvalConfig(
        env=ENV,
        env_options=chosen.world_options(0),
        tasks=chosen.task_ids("held_out", 0)[: options.held_out],
        agent=f"local:model={model.absolute()},max_tokens=48",
        style=chosen.style,
        concurrency=64,
    )
    evaluate(config, out, resume=out.exists())


def summarize(options: argparse.Namespace) -> None:
    """Write success of each model, and the difference from the base agent over seeds."""
    from statistics import mean, stdev

    from scipy.stats import t

    from step_envs.training.evaluation import Evaluation

    def success_of(name: str) -> float:
        return float(Evaluation.read(options.out / f"evaluation-{name}").overall.success.value)

    base = success_of("base")
    found: dict[str, Any] = {"base": base, "settings": {k: str(v) for k, v in vars(options).items() if k != "arm"}}
    for reward in options.rewards:
        after = {seed: success_of(f"{reward}-{seed}") for seed in options.seeds}
        gains = [one - base for one in after.values()]
        half = float(t.ppf(0.975, len(gains) - 1)) * stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else None
        curves = [training_curve(options.out / f"{reward}-{seed}") for seed in options.seeds]
        found[reward] = {
            "after": after,
            "gain": mean(gains),
            "half_width": half,
            "success_in_training": [mean(step) for step in zip(*curves, strict=True)],
        }
        print(reward, json.dumps(found[reward]))
    write_json(options.out / "results.json", found)


def training_curve(folder: Path) -> list[float]:
    """Return the share of the sampled episodes that succeeded, for each tenth of the training."""
    log = read_json(folder / "log.json")
    shares = [entry["rewards/success/mean"] for entry in log if "rewards/success/mean" in entry]
    size = max(1, len(shares) // 10)
    return [sum(part) / len(part) for part in (shares[i : i + size] for i in range(0, len(shares), size))]


if __name__ == "__main__":
    main()
