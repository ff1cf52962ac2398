"""Estimate how long an experiment takes and how much disk it fills, from a few timed steps on this machine.

The same settings take half an hour with a model of 0.4 million parameters and weeks with one of 135 million, and neither
the name of a preset nor that of a model says so. Tables of speeds would be wrong on the next machine. So the original model
is loaded (or one of its size is made), reads, writes and learns a few hundred tokens, and the oracle plays a few episodes;
the rest is a sum over the steps of the experiment.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from step_envs.collection.config import CollectConfig
from step_envs.collection.rollouts import rollout
from step_envs.training.experiments.arms import ARM_DESIGNS
from step_envs.training.experiments.experiment_config import Arm, ExperimentConfig
from step_envs.training.experiments.folders import ExperimentFolders
from step_envs.training.experiments.step_plan import ExperimentStep, plan_steps
from step_envs.training.experiments.worlds import experiment_world
from step_envs.training.finetuning import FinetuneConfig
from step_envs.trajectory import Trajectory
from step_envs.worker_processes import processors

_EPISODES = 6
_TRIED_TOKENS = 64
_TRIAL_SECONDS = 2.0
"""A trial is repeated with as many tokens as fit into this time: a step of few tokens is mostly overhead."""
_WEIGHT = 4
"""Bytes of a weight in a checkpoint."""
_TRAINER_CHECKPOINT = 3 * _WEIGHT
"""Bytes for each weight in a checkpoint of the trainer: the weight and the two moments of AdamW."""


@dataclass(frozen=True)
class Speeds:
    """What was measured.

    Attributes:
        parameters: Parameters of the model.
        train: Seconds to learn from one token.
        read: Seconds to read one token.
        write: Seconds to write one token, beside the other episodes of a batch.
        episode: Seconds of the world and the oracle in one episode.
        replies: Replies of the expert in an episode.
        tokens: Tokens of an episode.
        written: Those that the expert wrote.
        size: Bytes of an episode on disk.
    """

    parameters: int
    train: float
    read: float
    write: float
    episode: float
    replies: float
    tokens: float
    written: float
    size: float


@dataclass(frozen=True)
class ExperimentEstimate:
    """What an experiment needs. Rough: within a factor of two.

    Attributes:
        parameters: Parameters of the original model.
        processor_seconds: Seconds of all workers and their threads together.
        seconds: Wall time with the workers of the configuration.
        disk: Bytes in the experiment's folder at its fullest moment.
        free: Bytes that are free there.
    """

    parameters: int
    processor_seconds: float
    seconds: float
    disk: int
    free: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return asdict(self)


def estimate_experiment(config: ExperimentConfig, out: Path) -> ExperimentEstimate:
    """Estimate what an experiment needs; nothing is written into its folder.

    Args:
        config: The experiment.
        out: Its folder, which need not exist.

    Raises:
        DataError: The original model is not on this machine.
        gymnasium.error.DependencyNotInstalled: The extra ``train`` is missing.
    """
    folder = out
    while not folder.exists():
        folder = folder.parent
    return summarize(config, measure(config, out), free=shutil.disk_usage(folder).free, processors=processors())


def summarize(config: ExperimentConfig, speeds: Speeds, *, free: int, processors: int) -> ExperimentEstimate:
    """Compute an estimate from measured speeds.

    Args:
        config: The experiment.
        speeds: What was measured.
        free: Bytes that are free.
        processors: Processors of this machine.
    """
    steps = plan_steps(config)
    busy = sum(step_seconds(config, step, speeds) for step in steps)
    at_once = min(config.workers, max(1, processors // config.threads))
    trained = [step for step in steps if step.kind in ("pretrain", "base", "train")]
    # The trainer writes a checkpoint before it removes the one before.
    in_training = min(config.workers, len(trained)) * 2 * _TRAINER_CHECKPOINT
    models = (len(trained) + sum(step.kind == "original" for step in steps if config.pretraining)) * _WEIGHT
    episodes = sum(_episodes(config, step) for step in steps)
    return ExperimentEstimate(
        parameters=speeds.parameters,
        processor_seconds=busy * config.threads,
        seconds=busy / at_once,
        disk=round(speeds.parameters * (in_training + models) + episodes * speeds.size),
        free=free,
    )


def step_seconds(config: ExperimentConfig, step: ExperimentStep, speeds: Speeds) -> float:
    """Return the seconds that one step of an experiment takes."""
    arm = cast(Arm, step.argument) if step.kind == "train" else None
    if step.kind in ("pretrain", "base", "train"):
        training, sides = _training(config, step.kind, arm)
        return sides * (training.max_steps or 0) * _step_tokens(training, speeds) * speeds.train
    episodes = _episodes(config, step)
    if step.kind == "play" and config.pretraining is not None:
        return episodes * speeds.episode * config.pretraining.play_steps / speeds.replies
    if step.kind not in ("collect", "explore", "evaluate"):
        return episodes * speeds.episode
    # An agent that is still learning takes more steps than the expert, at most all that the limit allows.
    longer = (1 + max(config.max_steps / speeds.replies, 1)) / 2
    return episodes * longer * (speeds.episode + speeds.tokens * speeds.read + speeds.written * speeds.write)


def _training(config: ExperimentConfig, kind: str, arm: Arm | None) -> tuple[FinetuneConfig, int]:
    """Return the training of a step, and how many sides of a row it reads."""
    if kind == "pretrain":
        assert config.pretraining is not None and config.pretraining.training is not None
        return config.pretraining.training, 1
    if arm is None:
        return config.base, 1
    design, steps = ARM_DESIGNS[arm], config.training.max_steps or 0
    if design.from_base:
        steps -= config.base.max_steps or 0
    # Both sides of a pair are read by the model and, once, by the reference.
    training, sides = (config.pairs, 2) if design.on_pairs else (config.training, 1)
    return training.model_copy(update={"max_steps": steps}), sides


def _episodes(config: ExperimentConfig, step: ExperimentStep) -> float:
    made = config.pretraining
    return {
        "play": 0 if made is None else made.play,
        "samples": 0 if made is None else made.samples,
        "golden": config.tasks / config.workers,
        "collect": config.tasks / 2 / config.workers,
        "explore": config.tasks / 2 / config.workers,
        "scripted": config.tasks / 2 / config.workers,
        "value": config.tasks / 2 / config.workers,
        "evaluate": config.held_out,
        "judge": config.judged,
    }.get(step.kind, 0)


def _step_tokens(config: FinetuneConfig, speeds: Speeds) -> float:
    most = config.max_length or speeds.tokens
    return config.batch_size * config.accumulate * (most if config.packing else min(most, speeds.tokens))


def measure(config: ExperimentConfig, out: Path) -> Speeds:
    """Play a few episodes with the oracle, and time a few steps of the original model.

    Args:
        config: The experiment.
        out: Its folder; nothing is written into it.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from step_envs.agents.local.checkpoint import load_tokenizer
    from step_envs.training.dataset import build_dataset
    from step_envs.training.trainer_setup import load_network

    started = time.perf_counter()
    played = _play(config)
    episode = (time.perf_counter() - started) / len(played)
    with tempfile.TemporaryDirectory() as made:
        folder = _tiny_model(config, played, Path(made)) if config.pretraining else _folders(config, out).original
        network = load_network(AutoModelForCausalLM, folder, dtype=torch.float32)
        _, report = build_dataset(played, load_tokenizer(folder), max_length=None)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(device)
    vocabulary = int(network.config.get_text_config().vocab_size)

    def ids(rows: int, length: int) -> Any:
        return torch.randint(vocabulary, (rows, length), device=device)

    def learn(length: int) -> None:
        given = ids(1, length)
        network(input_ids=given, labels=given).loss.backward()
        network.zero_grad()

    def read(length: int) -> None:
        with torch.inference_mode():
            network(input_ids=ids(1, length))

    def write(replies: int) -> None:
        with torch.inference_mode():
            network(input_ids=ids(replies, 1))

    def per_token(work: Callable[[int], None], most: int) -> float:
        def timed(tokens: int) -> float:
            begun = time.perf_counter()
            work(tokens)
            if device.type == "cuda":
                torch.cuda.synchronize()
            return max(time.perf_counter() - begun, 1e-9)

        tokens = min(_TRIED_TOKENS, most)
        timed(tokens)  # the first one also prepares what later ones reuse
        tokens = max(1, min(most, round(tokens * max(_TRIAL_SECONDS / timed(tokens), 1))))
        return timed(tokens) / tokens

    longest = max(config.training.max_length or 0, round(report.tokens / len(played)), 1)
    context = getattr(network.config.get_text_config(), "max_position_embeddings", None) or longest
    return Speeds(
        parameters=sum(one.numel() for one in network.parameters()),
        train=per_token(learn, min(longest, context)),
        read=per_token(read, min(longest, context)),
        write=per_token(write, config.concurrency),
        episode=episode,
        replies=sum(one.steps for one in played) / len(played),
        tokens=report.tokens / len(played),
        written=report.trained_tokens / len(played),
        size=sum(len(one.to_json()) for one in played) / len(played),
    )


def _folders(config: ExperimentConfig, out: Path) -> ExperimentFolders:
    return ExperimentFolders(config, out, config.seeds[0])


def _play(config: ExperimentConfig) -> list[Trajectory]:
    draw = _folders(config, Path()).draw
    tasks = config.task_ids("golden", draw)[:_EPISODES]
    settings = CollectConfig(
        env=config.env,
        env_options=config.world_options(draw),
        tasks=tasks,
        episodes=len(tasks),
        agent="oracle",
        teacher=None,
        style=config.style,
    )
    env = settings.make_env()
    try:
        return [rollout(env, settings.make_agent(), seed=0, task_id=task) for task in tasks]
    finally:
        env.close()


def _tiny_model(config: ExperimentConfig, played: Sequence[Trajectory], folder: Path) -> Path:
    from step_envs.training.tiny_model import learn_tokenizer, make_tiny_model

    assert config.pretraining is not None
    texts: Collection[str] = [turn.content for trajectory in played for turn in trajectory.turns]
    names, size = experiment_world(config.env).names(texts), config.pretraining.size
    return make_tiny_model(learn_tokenizer(texts, names, size.vocabulary), size, folder)
