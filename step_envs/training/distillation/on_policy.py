"""On-policy distillation: a student plays, a teacher scores every token that it wrote, and the student is trained on that.

Fine-tuning on a teacher's episodes shows a student only states that the teacher comes to. Here the student acts by itself,
comes to the states that its own mistakes lead to, and is told in each of them, token by token, what the teacher would have
said (GKD, arXiv 2306.13649). A reward would tell one number for a whole episode.

An iteration plays some episodes in the world of recorded trajectories, and takes a few optimizer steps on them:

    mean over the tokens that the student sampled of  KL( student( . | what it saw) || teacher( . | what it saw) )

The KL is over the whole vocabulary. Prompts, observations, and turns that the teacher wrote are context and carry no loss.

The teacher is a larger or better trained checkpoint with the same tokenizer. Or it is the student's own start, told more
than the student: then it has a hint for every task, by default the actions of the recorded trajectory (self-distillation,
arXiv 2601.19897).
"""

import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from step_envs.agents.local.checkpoint import check_checkpoint, checkpoint_folder, load_tokenizer
from step_envs.collection.config import CollectConfig, EpisodePlan
from step_envs.errors import DataError, missing_package
from step_envs.file_reading import read_json
from step_envs.files import replacing
from step_envs.run_folder import write_json, write_model
from step_envs.training.distillation.config import DistillationConfig, DistillationRecord, IterationFigures
from step_envs.training.exploration import same_tasks, world_fingerprint
from step_envs.training.trainer_setup import claim_folder, last_checkpoint, load_network, trainer_versions
from step_envs.trajectory import Trajectory

if TYPE_CHECKING:
    from step_envs.training.distillation.rollouts import SampledEpisode

RECORD = "distillation.json"
"""File in the folder of a checkpoint: its settings, and whether the training is complete."""
PLAYED = "played"
"""Folder of the episodes, a file of trajectories for each iteration."""
_STATE = "distillation.pt"


def distill(
    trajectories: Iterable[Trajectory],
    *,
    student: str | Path,
    teacher: str | Path | None,
    out: str | Path,
    config: DistillationConfig | None = None,
    hints: Mapping[str, str] | None = None,
    tokenizer: Any = None,
    download: bool = False,
    on_iteration: Callable[[IterationFigures], object] = lambda figures: None,
) -> Path:
    """Train a student towards a teacher on what the student says when it plays.

    A training that was stopped continues from its last checkpoint, and ends as one that was not; a complete one is not
    repeated. Student and teacher are in the memory of this process together.

    Args:
        trajectories: Episodes of one world; the student plays their tasks, with their prompt.
        student: The checkpoint to start from: a folder, or a name on the hub.
        teacher: The checkpoint of the teacher, with the tokenizer of the student. None takes the student's start, which
            then needs hints.
        out: Folder of the result; it also holds the checkpoints during training, and in ``played/`` all episodes.
        config: How to distil.
        hints: Task -> what the teacher is told of it, and the student is not. None tells a teacher of its own nothing, and
            the student's start the actions of a trajectory that succeeded, see ``demonstrations``.
        tokenizer: The tokenizer of both models, with the chat template to play with; it is saved with the result. None
            loads the student's own.
        download: Download a model if it is not on this machine.
        on_iteration: Called after every iteration.

    Returns:
        The folder of the trained checkpoint: model, tokenizer and ``distillation.json``.

    Raises:
        DataError: A model is not on this machine or is an adapter, the models have different vocabularies, a task has no
            hint, or the trajectories were played in different worlds.
        StoreError: ``out`` holds something else, or a training with other tasks or settings.
        TemplateError: The chat template of the student cannot be used.
        gymnasium.error.DependencyNotInstalled: The extra ``train`` is missing.
    """
    config, out = config or DistillationConfig(), Path(out)
    trajectories = list(trajectories)
    run = same_tasks(trajectories, "student", episodes=config.iterations * config.episodes, seed=config.seed)
    if hints is None:
        hints = demonstrations(trajectories) if teacher is None else {}
    hints = _known_hints(hints, run, needed=teacher is None)
    folders = [_whole_model(name, download) for name in ((student,) if teacher is None else (student, teacher))]
    tokenizer = tokenizer if tokenizer is not None else load_tokenizer(folders[0])
    if teacher is not None:
        _refuse_other_vocabulary(tokenizer, load_tokenizer(folders[1]), student, teacher)
    record = DistillationRecord(
        model=str(student),
        teacher=None if teacher is None else str(teacher),
        rows=len(run.tasks or ()),
        fingerprint=world_fingerprint(run, dict(sorted(hints.items()))),
        config=config,
    )
    if claim_folder(out, record, RECORD):
        return out
    training = _Training(run, folders, tokenizer, config, hints, out)
    try:
        figures = training.go_on(on_iteration)
    finally:
        training.close()
    training.save_model()
    results = {"complete": True, "figures": figures, "versions": trainer_versions()}
    write_model(out / RECORD, record.model_copy(update=results))
    for folder in out.glob("checkpoint-*"):
        shutil.rmtree(folder)
    return out


def demonstrations(trajectories: Iterable[Trajectory]) -> dict[str, str]:
    """Write a hint for every task that a trajectory solved: the actions of its shortest success.

    Args:
        trajectories: Episodes, of experts or others.

    Returns:
        Task -> its hint.
    """
    best: dict[str, Trajectory] = {}
    for one in trajectories:
        if one.success and (one.task_id not in best or one.steps < best[one.task_id].steps):
            best[one.task_id] = one
    hints = {}
    for task, one in best.items():
        actions = [turn.action for turn in one.turns if turn.kind in ("agent", "expert", "correction") and turn.action]
        hints[task] = "\n".join(["These actions solve the task, from its beginning:", *actions])
    return hints


class _Training:
    """A distillation in a claimed folder."""

    def __init__(
        self,
        run: CollectConfig,
        folders: list[Path],
        tokenizer: Any,
        config: DistillationConfig,
        hints: Mapping[str, str],
        out: Path,
    ) -> None:
        try:
            import torch
            from transformers import AutoModelForCausalLM

            from step_envs.agents.local.model import LocalModel
            from step_envs.training.distillation.optimizer import DistillationOptimizer
            from step_envs.training.distillation.rollouts import DistillationPlayer
        except ImportError as error:
            raise missing_package(error.name or "torch", "Distillation", "train") from error
        self._config, self._out, self._tokenizer = config, out, tokenizer
        self._plans = run.episodes_to_play()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # Without dropout: the student is trained as the one that played.
        student, teacher = (
            load_network(AutoModelForCausalLM, folder, dtype=torch.float32).to(device).eval()
            for folder in (folders[0], folders[-1])
        )
        teacher.requires_grad_(False)
        self._student = student
        for name, network in zip(map(str, folders), (student, teacher), strict=False):
            width = network.get_output_embeddings().weight.shape[0]
            if width < len(tokenizer):
                raise DataError(
                    f"The model in {name} gives {width} numbers for the {len(tokenizer)} tokens of its tokenizer: name a "
                    "checkpoint whose tokenizer belongs to it."
                )
        local = [LocalModel(str(folders[at]), net, tokenizer) for at, net in ((0, student), (-1, teacher))]
        self._player = DistillationPlayer(run, local[0], local[1], config, hints)
        self._optimizer = DistillationOptimizer(student, teacher, config, len(tokenizer), local[0].filler)
        self._log: list[IterationFigures] = []

    def go_on(self, on_iteration: Callable[[IterationFigures], object]) -> dict[str, Any]:
        """Do the iterations that are not done, and return the figures of all."""
        self._load()
        for iteration in range(len(self._log), self._config.iterations):
            figures = self._iterate(iteration)
            self._log.append(figures)
            if (iteration + 1) % self._config.save_every == 0 or iteration + 1 == self._config.iterations:
                self._save()
            on_iteration(figures)
        return {
            "iterations": [one.model_dump() for one in self._log],
            "tokens": sum(one.tokens for one in self._log),
            "seconds": sum(one.seconds for one in self._log),
        }

    def save_model(self) -> None:
        """Save the student as a checkpoint."""
        self._student.save_pretrained(str(self._out))
        self._tokenizer.save_pretrained(str(self._out))

    def close(self) -> None:
        """Close the environments."""
        self._player.close()

    def _iterate(self, iteration: int) -> IterationFigures:
        import numpy as np

        began, config = time.perf_counter(), self._config
        played = self._player.play(self._plans_of(iteration), config.guidance(iteration))
        with replacing(self._out / PLAYED / f"iteration-{iteration + 1:05}.jsonl") as file:
            file.write_text("".join(f"{one.trajectory.to_json()}\n" for one in played), encoding="utf-8")
        figures = _figures_of_play(iteration + 1, played)
        if not figures.replies and not figures.guided_turns:
            raise DataError(
                "No episode has room for a reply: set a larger max_length, distil from trajectories with style='plain', or "
                "train a model with a longer context."
            )
        sequences = [sequence for one in played for sequence in one.sequences]
        order = np.random.default_rng([config.seed, iteration]).permutation(len(sequences)).tolist()
        steps = [
            self._optimizer.step([sequences[at] for at in order[number :: config.updates]])
            for number in range(config.updates)
        ]
        done = [step for step in steps if step is not None]
        if done:
            tokens = sum(step.tokens for step in done)
            figures.kl = sum(step.kl for step in done) / tokens
            figures.loss = sum(step.loss for step in done) / tokens
            figures.gradient_norm = sum(step.gradient_norm for step in done) / len(done)
            figures.learning_rate = done[-1].learning_rate
        figures.seconds = time.perf_counter() - began
        return figures

    def _plans_of(self, iteration: int) -> list[EpisodePlan]:
        return self._plans[iteration * self._config.episodes : (iteration + 1) * self._config.episodes]

    def _save(self) -> None:
        import torch

        folder = self._out / f"checkpoint-{len(self._log)}"
        folder.mkdir(exist_ok=True)
        torch.save({"model": self._student.state_dict(), **self._optimizer.state()}, folder / _STATE)
        # Last, because a checkpoint counts as complete once it has this file.
        write_json(folder / "trainer_state.json", {"iterations": [one.model_dump() for one in self._log]})
        for older in self._out.glob("checkpoint-*"):
            if older != folder:
                shutil.rmtree(older)

    def _load(self) -> None:
        import torch

        folder = last_checkpoint(self._out)
        if folder is None:
            return
        state = torch.load(Path(folder) / _STATE, map_location=self._student.device, weights_only=True)
        self._student.load_state_dict(state["model"])
        self._optimizer.load(state)
        saved = read_json(Path(folder) / "trainer_state.json")["iterations"]
        self._log = [IterationFigures.model_validate(one) for one in saved]


def _figures_of_play(number: int, played: "list[SampledEpisode]") -> IterationFigures:
    own = [turn for one in played for turn in one.trajectory.turns if turn.kind == "agent"]
    tokens = sum(turn.usage.completion_tokens for turn in own if turn.usage is not None)
    sequences = [sequence for one in played for sequence in one.sequences]
    return IterationFigures(
        iteration=number,
        success=sum(one.trajectory.success for one in played) / len(played),
        score=sum(one.trajectory.score for one in played) / len(played),
        steps=sum(one.trajectory.steps for one in played) / len(played),
        valid_actions=sum(bool(turn.valid_action) for turn in own) / len(own) if own else None,
        reply_tokens=tokens / len(own) if own else None,
        replies=len(own),
        guided_turns=sum(turn.kind == "expert" for one in played for turn in one.trajectory.turns),
        tokens=sum(sum(sequence.sampled) for sequence in sequences),
        sequences=len(sequences),
    )


def _known_hints(hints: Mapping[str, str], run: CollectConfig, *, needed: bool) -> dict[str, str]:
    """Return the hints of the tasks that are played.

    Raises:
        DataError: The student's start is the teacher, and a task has no hint: the two would be one.
    """
    tasks = run.tasks or ()
    missing = [task for task in tasks if not hints.get(task)]
    if needed and missing:
        raise DataError(
            f"{len(missing)} of {len(tasks)} tasks have no hint, {missing[0]!r} for one: without a teacher, give hints for "
            "all of them, or trajectories that succeeded."
        )
    return {task: hints[task] for task in tasks if task in hints}


def _whole_model(name: str | Path, download: bool) -> Path:
    folder = checkpoint_folder(name, download=download).resolve()
    check_checkpoint(folder)
    if (folder / "adapter_config.json").exists():
        raise DataError(
            f"{name} is an adapter, and distillation takes whole models: merge it into its base (merge_and_unload of "
            "peft), save the result, and name that."
        )
    return folder


def _refuse_other_vocabulary(own: Any, other: Any, student: str | Path, teacher: str | Path) -> None:
    """Refuse a teacher whose token ids mean other tokens: its probabilities would be those of other words."""
    mine, theirs = own.get_vocab(), other.get_vocab()
    if mine == theirs:
        return
    shared = sum(theirs.get(token) == number for token, number in mine.items())
    raise DataError(
        f"The teacher {teacher} has another vocabulary than the student {student} ({shared:,} of {len(mine):,} tokens have "
        "the same id): name a teacher with the same tokenizer."
    )
