"""Measure on-policy distillation in a text world: python benchmarks/distillation.py --out FOLDER.

Both models are made from nothing, as ``step-envs reproduce --preset cpu`` makes its original model: 0.4 million parameters,
pretrained on random play in generated households. The student is then trained on golden trajectories for a few steps, and
the teacher for many more. The student plays tasks that neither was trained on, and learns from the teacher's probabilities
of what it wrote. Teacher, student before and students after play the same held-out tasks, greedily.

The figures are to be compared with those of the student trained on golden trajectories for as many more steps (``golden``).
What is done is kept under ``--out``, and a second call goes on. ``results.json`` holds the figures.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from step_envs.run_folder import write_json

ENV = "STeP-ALFWorld-v0"
STEPS = ("tasks", "samples", "play", "original", "pretrain", "golden:0", "base")
FIRST_SEED = 700_000
"""Of the households to play in; those that the models were made with begin at 0, 500,000 and 900,000."""


def main() -> None:
    """Make the models, distil, evaluate, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--episodes", type=int, default=24, help="episodes of an iteration")
    parser.add_argument("--updates", type=int, default=1, help="optimizer steps of an iteration")
    parser.add_argument("--beta", type=float, default=1.0, help="1: reverse KL; 0: forward KL")
    parser.add_argument("--temperature", type=float, default=1.0, help="of sampling; evaluation is greedy")
    parser.add_argument("--tasks", type=int, default=1200, help="different tasks to play")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--student-steps", type=int, default=250, help="steps on golden trajectories before")
    parser.add_argument("--teacher-steps", type=int, default=2500)
    parser.add_argument("--golden-tasks", type=int, default=3000)
    parser.add_argument("--held-out", type=int, default=120)
    parser.add_argument(
        "--guided", type=float, nargs="+", default=[0.0], help="shares of the teacher's turns to compare"
    )
    parser.add_argument("--only-models", action="store_true", help="make student and teacher, and stop")
    options = parser.parse_args()
    out = options.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    make_models(options, out)
    if not options.only_models:
        measure(options, out)


def settings(options: argparse.Namespace) -> Any:
    """Return the preset ``cpu`` with fewer tasks, for one process."""
    from step_envs.training.experiments.presets import preset, with_changes

    changes = {
        "tasks": options.golden_tasks,
        "pretraining.play": 1500,
        "pretraining.training.max_steps": 1200,
        "base.max_steps": options.student_steps,
        "held_out": options.held_out,
        "workers": 1,
        "seeds": [0],
    }
    return with_changes(preset("cpu"), changes)


def make_models(options: argparse.Namespace, out: Path) -> None:
    """Make the student, ``base``, and the teacher, ``teacher``."""
    from step_envs.training.experiments.stages import run_step

    chosen = settings(options)
    for step in STEPS:
        if not (out / f"{step}.done").exists():
            run_step(chosen, out, f"{step}@seed-0")
            (out / f"{step}.done").touch()
    train_on_golden(options, out, folders(chosen, out).original, out / "teacher", options.teacher_steps)


def folders(chosen: Any, out: Path) -> Any:
    """Return the folders of the only seed."""
    from step_envs.training.experiments.folders import ExperimentFolders

    return ExperimentFolders(chosen, out, 0)


def train_on_golden(options: argparse.Namespace, out: Path, start: Path, result: Path, steps: int) -> None:
    """Train a model on all golden trajectories."""
    from step_envs.agents.local.checkpoint import load_tokenizer
    from step_envs.training.dataset import build_dataset
    from step_envs.training.experiments.training_data import load_data
    from step_envs.training.finetuning import finetune, remove_trainer_checkpoints

    chosen = settings(options)
    config = chosen.base.model_copy(update={"max_steps": steps})
    tokenizer = load_tokenizer(start)
    golden = load_data(chosen, folders(chosen, out), ["golden"]).golden
    rows, _ = build_dataset(golden, tokenizer, max_length=config.max_length)
    finetune(rows, model=start, out=result, config=config, tokenizer=tokenizer)
    remove_trainer_checkpoints(result)


def success_of(options: argparse.Namespace, out: Path, model: Path, name: str) -> dict[str, Any]:
    """Have a model play the held-out tasks greedily."""
    from step_envs.training.evaluation import EvalConfig, Evaluation, evaluate

    chosen, folder = settings(options), out / f"evaluation-{name}"
    if not (folder / "evaluation.json").exists():
        config = EvalConfig(
            env=ENV,
            env_options=chosen.world_options(0),
            tasks=chosen.task_ids("held_out", 0),
            agent=f"local:model={model},max_tokens=48",
            style=chosen.style,
            concurrency=64,
        )
        evaluate(config, folder, resume=folder.exists())
    found = Evaluation.read(folder).overall.success
    return {"success": found.value, "low": found.low, "high": found.high}


def measure(options: argparse.Namespace, out: Path) -> None:
    """Distil, evaluate all models, and write the figures."""
    from step_envs.file_reading import read_json
    from step_envs.training.distillation.on_policy import RECORD

    found: dict[str, Any] = {"settings": {name: str(value) for name, value in vars(options).items()}}
    for name in ("teacher", "base"):
        found[name] = success_of(options, out, model_of(options, out, name), name)
    for seed in options.seeds:
        for guided in options.guided:
            name = f"guided-{guided:g}-seed-{seed}"
            began = time.perf_counter()
            distil(options, out, out / name, guided, seed)
            print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
            found[name] = success_of(options, out, out / name, name)
            found[name]["iterations"] = read_json(out / name / RECORD)["figures"]["iterations"]
    for steps in (options.iterations * options.updates,):
        train_on_golden(options, out, model_of(options, out, "base"), out / f"golden-{steps}", steps)
        found[f"golden-{steps}"] = success_of(options, out, out / f"golden-{steps}", f"golden-{steps}")
    write_json(out / "results.json", found)
    for name, figures in found.items():
        if name != "settings":
            print(f"{name}: {figures['success']:.3f} ({figures['low']:.3f} to {figures['high']:.3f})")


def model_of(options: argparse.Namespace, out: Path, name: str) -> Path:
    """Return the folder of the student before its training (``base``), or of another model."""
    base: Path = folders(settings(options), out).base
    return base if name == "base" else out / name


def distil(options: argparse.Namespace, out: Path, result: Path, guided: float, seed: int) -> None:
    """Train the student on what it samples in tasks that neither model has seen."""
    from step_envs.alfworld.games.goal import TASK_TYPES
    from step_envs.alfworld.generation.task_ids import make_task_id
    from step_envs.collection import collect
    from step_envs.collection.config import CollectConfig
    from step_envs.store import read_trajectories
    from step_envs.training.distillation.config import DistillationConfig
    from step_envs.training.distillation.on_policy import distill

    chosen, kinds = settings(options), len(TASK_TYPES)
    tasks = [
        make_task_id(TASK_TYPES[i % kinds], FIRST_SEED + i // kinds, chosen.env_options["household"])
        for i in range(options.tasks)
    ]
    played = CollectConfig(
        env=ENV,
        env_options=chosen.world_options(0),
        tasks=tuple(tasks),
        episodes=len(tasks),
        agent="oracle",
        teacher=None,
        style=chosen.style,
    )
    if not (out / "to-play" / "summary.json").exists():
        collect(played, out / "to-play", resume=(out / "to-play").exists())
    distill(
        read_trajectories(out / "to-play"),
        student=model_of(options, out, "base"),
        teacher=out / "teacher",
        out=result,
        config=DistillationConfig(
            iterations=options.iterations,
            episodes=options.episodes,
            updates=options.updates,
            beta=options.beta,
            temperature=options.temperature,
            guided=guided,
            learning_rate=options.learning_rate,
            max_tokens=48,
            seed=seed,
            save_every=10,
        ),
        on_iteration=show,
    )


def show(figures: Any) -> None:
    """Print what an iteration measured."""
    print(
        f"{figures.iteration:4} kl {figures.kl:.4f} success {figures.success:.2f} valid {figures.valid_actions:.2f} "
        f"tokens {figures.tokens} guided {figures.guided_turns} {figures.seconds:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
