"""Measure what a worse teacher costs: python examples/teacher_sensitivity.py FOLDER [TEACHER ...].

For each teacher this measures its verdicts against the oracle's, collects episodes under it, trains the same original model
on them for the same number of steps, and evaluates the result on the same unseen tasks. One table holds all of it. Without
names, the oracle is compared with a teacher that is wrong on purpose: ``NoisyTeacher`` below.

The model is tiny and has random weights, so that the example downloads nothing and runs on a CPU in minutes; it is too
small to succeed, and the table then shows no difference. For a result, name a checkpoint with ``--model``, and use more
episodes, steps and tasks, and several values of ``--seed``. This example needs pip install "step-envs[train,report]".
"""

import argparse
import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from collect_and_finetune import tiny_model

from step_envs import Verdict
from step_envs.collection import CollectConfig, collect
from step_envs.collection.teacher_evaluation import evaluate_teacher
from step_envs.report import gather, make_report, read_teacher_eval, sensitivity_table, taught_models
from step_envs.store import read_trajectories
from step_envs.training import EvalConfig, FinetuneConfig, build_dataset, evaluate, finetune, select
from step_envs.trajectory import Actor
from step_envs.wrappers.teachers import OracleTeacher, Teacher, TeacherContext

ENV = "STeP-ALFWorld-v0"
TEACHERS = ("oracle", "teacher_sensitivity.NoisyTeacher:miss=0.5,false_alarm=0.2")


class NoisyTeacher(Teacher):
    """Judges as the oracle, except for a share of the steps, which the seed decides.

    Args:
        miss: Share of the wrong steps that it calls right.
        false_alarm: Share of the right steps that it calls wrong; it then corrects them with the oracle's next action.
        seed: Decides which steps.
    """

    plain_python = True

    def __init__(self, miss: float = 0.3, false_alarm: float = 0.1, seed: int = 0) -> None:
        self.miss, self.false_alarm, self.seed = miss, false_alarm, seed
        self._oracle = OracleTeacher()

    def describe(self) -> Actor:
        """Return the name and the parameters that every trajectory records."""
        params = {"miss": self.miss, "false_alarm": self.false_alarm, "seed": self.seed}
        return Actor(name="noisy", params=params)

    def judge(self, context: TeacherContext) -> Verdict:
        """Judge as the oracle, or the other way round."""
        verdict = self._oracle.judge(context)
        # The draw depends on the step alone, so that the same step is judged alike in any order of episodes.
        step = f"{context.info['task_id']}\0{len(context.messages)}\0{context.reply}"
        digest = hashlib.sha256(step.encode("utf-8", "replace")).digest()[:8]
        drawn = np.random.default_rng([self.seed, int.from_bytes(digest, "big")]).random()
        if verdict.status == "error" and drawn < self.miss:
            return Verdict(status="ok")
        if verdict.status == "ok" and drawn < self.false_alarm:
            return self._oracle.correct(context)
        return verdict


def run(
    folder: Path,
    teachers: Sequence[str] = TEACHERS,
    *,
    model: Path | None = None,
    episodes: int = 40,
    evaluated: int = 20,
    steps: int = 32,
    seed: int = 0,
) -> str:
    """Do everything for each teacher, and return the table.

    Args:
        folder: Where everything is kept; a run that was stopped goes on.
        teachers: Specifications of the teachers; the others are compared with the first.
        model: The original model; None makes a tiny one.
        episodes: Episodes to collect, and to measure each teacher on.
        evaluated: Unseen tasks to play with each trained model.
        steps: Updates of each training.
        seed: Decides tasks, mistakes and the order of training.
    """
    from transformers import AutoTokenizer

    world = {"household": "small", "source": "generated"}
    options = world | {"max_steps": 15}
    quality, runs = folder / "teacher-eval.json", []
    reports = [evaluate_teacher(one, ENV, env_options=world, episodes=episodes, seed=seed) for one in teachers]
    folder.mkdir(parents=True, exist_ok=True)
    quality.write_text(json.dumps([report.to_dict() for report in reports]))
    for number, teacher in enumerate(teachers):
        data, trained, played = (folder / f"{name}-{number}" for name in ("data", "model", "eval"))
        config = CollectConfig(
            env=ENV, env_options=options, episodes=episodes, agent="novice:error_rate=0.3", teacher=teacher, seed=seed
        )
        collect(config, data, resume=data.exists(), concurrency=2)
        trajectories = select(read_trajectories(data)).kept
        if model is None:
            texts = [turn.content for trajectory in trajectories for turn in trajectory.turns]
            # One original model for all: its tokenizer learns from the first teacher's episodes.
            model = tiny_model(texts, folder / "start")
        rows, _ = build_dataset(trajectories, AutoTokenizer.from_pretrained(model), max_length=2048)
        training = FinetuneConfig(learning_rate=3e-3, max_steps=steps, batch_size=4, seed=seed)
        finetune(rows, model=model, out=trained, config=training)
        agent = f"local:model={trained},max_tokens=48"
        asked = EvalConfig(env=ENV, env_options=options, split="valid_unseen", episodes=evaluated, agent=agent)
        evaluate(asked, played, resume=played.exists(), concurrency=evaluated)
        runs.append(played)
    taught = [f"{teacher}={played}" for teacher, played in zip(teachers, runs, strict=True)]
    command: list[Any] = ["step-envs", "report", *runs, "--out", folder / "report", "--teacher-eval", quality]
    line = shlex.join(map(str, [*command, *(part for one in taught for part in ("--taught", one))]))
    gathered, measured = gather(runs), read_teacher_eval(quality)
    joined = taught_models(taught, gathered, measured)
    make_report(gathered, folder / "report", teacher_reports=measured, taught=joined, command=line)
    return f"{sensitivity_table(joined).to_markdown()}\nThe same table again: {line}"


def main() -> None:
    """Run with the options of the command line."""
    options = argparse.ArgumentParser(description="Measure what a worse teacher costs.")
    options.add_argument("folder", type=Path)
    options.add_argument("teachers", nargs="*", default=list(TEACHERS))
    options.add_argument("--model", type=Path)
    for name, number in (("episodes", 40), ("evaluated", 20), ("steps", 32), ("seed", 0)):
        options.add_argument(f"--{name}", type=int, default=number)
    given = vars(options.parse_args())
    print(run(given.pop("folder"), given.pop("teachers"), **given))


if __name__ == "__main__":
    main()
