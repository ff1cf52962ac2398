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
from typing import Any

from step_envs.collection.config import CollectConfig
from step_envs.collection.rollouts import rollout
from step_envs.training.experiments.presets import Preset
from step_envs.training.experiments.stages import ENV, ExperimentStep, original_model, plan_steps, world_names
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
        seconds: Wall time with the workers of the preset.
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


def estimate_experiment(preset: Preset, out: Path) -> ExperimentEstimate:
    """Estimate what an experiment needs; nothing is written into its folder.

    Args:
        preset: The experiment.
        out: Its folder, which need not exist.

    Raises:
        DataError: The original model is not on this machine.
        gymnasium.error.DependencyNotInstalled: The extra ``train`` is missing.
    """
    folder = out
    while not folder.exists():
        folder = folder.parent
    return summarize(preset, measure(preset, out), free=shutil.disk_usage(folder).free, processors=processors())


def summarize(preset: Preset, speeds: Speeds, *, free: int, processors: int) -> ExperimentEstimate:
    """Compute an estimate from measured speeds.

    Args:
        preset: The experiment.
        speeds: What was measured.
        free: Bytes that are free.
        processors: Processors of this machine.
    """
    steps = plan_steps(preset)
    busy = sum(step_seconds(preset, step, speeds) for step in steps)
    at_once = min(preset.workers, max(1, processors // preset.threads))
    trained = [step for step in steps if step.name.partition(":")[0] in ("pretrain", "base", "train")]
    # The trainer writes a checkpoint before it removes the one before.
    in_training = min(preset.workers, len(trained)) * 2 * _TRAINER_CHECKPOINT
    models = (len(trained) + (preset.pretraining is not None)) * _WEIGHT
    episodes = sum(_episodes(preset, step) for step in steps)
    return ExperimentEstimate(
        parameters=speeds.parameters,
        processor_seconds=busy * preset.threads,
        seconds=busy / at_once,
        disk=round(speeds.parameters * (in_training + models) + episodes * speeds.size),
        free=free,
    )


def step_seconds(preset: Preset, step: ExperimentStep, speeds: Speeds) -> float:
    """Return the seconds that one step of an experiment takes."""
    kind, *rest = step.name.split(":")
    if kind in ("pretrain", "base", "train"):
        assert kind != "pretrain" or preset.pretraining is not None
        config = preset.base if kind == "base" else preset.training
        if kind == "pretrain" and preset.pretraining is not None:
            config = preset.pretraining.training
        steps = config.max_steps or 0
        if rest[:1] == ["sequential"]:
            steps -= preset.base.max_steps or 0
        return steps * _step_tokens(config, speeds) * speeds.train
    episodes = _episodes(preset, step)
    if kind == "play" and preset.pretraining is not None:
        return episodes * speeds.episode * preset.pretraining.play_steps / speeds.replies
    if kind not in ("collect", "evaluate"):
        return episodes * speeds.episode
    # An agent that is still learning takes more steps than the expert, at most all that the limit allows.
    longer = (1 + max(preset.max_steps / speeds.replies, 1)) / 2
    return episodes * longer * (speeds.episode + speeds.tokens * speeds.read + speeds.written * speeds.write)


def _episodes(preset: Preset, step: ExperimentStep) -> float:
    kind = step.name.partition(":")[0]
    made = preset.pretraining
    return {
        "play": 0 if made is None else made.play,
        "samples": 0 if made is None else made.samples,
        "golden": preset.tasks / preset.workers,
        "collect": preset.tasks / 2 / preset.workers,
        "evaluate": preset.held_out,
    }.get(kind, 0)


def _step_tokens(config: FinetuneConfig, speeds: Speeds) -> float:
    most = config.max_length or speeds.tokens
    return config.batch_size * config.accumulate * (most if config.packing else min(most, speeds.tokens))


def measure(preset: Preset, out: Path) -> Speeds:
    """Play a few episodes with the oracle, and time a few steps of the original model.

    Args:
        preset: The experiment.
        out: Its folder; nothing is written into it.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from step_envs.agents.local.checkpoint import load_tokenizer
    from step_envs.training.dataset import build_dataset
    from step_envs.training.finetuning import load_network

    started = time.perf_counter()
    played = _play(preset)
    episode = (time.perf_counter() - started) / len(played)
    with tempfile.TemporaryDirectory() as made:
        folder = _tiny_model(preset, played, Path(made)) if preset.pretraining else original_model(preset, out)
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

    longest = max(preset.training.max_length or 0, round(report.tokens / len(played)), 1)
    context = getattr(network.config.get_text_config(), "max_position_embeddings", None) or longest
    return Speeds(
        parameters=sum(one.numel() for one in network.parameters()),
        train=per_token(learn, min(longest, context)),
        read=per_token(read, min(longest, context)),
        write=per_token(write, preset.concurrency),
        episode=episode,
        replies=sum(one.steps for one in played) / len(played),
        tokens=report.tokens / len(played),
        written=report.trained_tokens / len(played),
        size=sum(len(one.to_json()) for one in played) / len(played),
    )


def _play(preset: Preset) -> list[Trajectory]:
    tasks = preset.task_ids("golden")[:_EPISODES]
    config = CollectConfig(
        env=ENV,
        env_options=preset.env_options(),
        tasks=tasks,
        episodes=len(tasks),
        agent="oracle",
        teacher=None,
        style=preset.style,
    )
    env = config.make_env()
    try:
        return [rollout(env, config.make_agent(), seed=0, task_id=task) for task in tasks]
    finally:
        env.close()


def _tiny_model(preset: Preset, played: Sequence[Trajectory], folder: Path) -> Path:
    from step_envs.training.tiny_model import learn_tokenizer, make_tiny_model

    assert preset.pretraining is not None
    texts: Collection[str] = [turn.content for trajectory in played for turn in trajectory.turns]
    size = preset.pretraining.size
    return make_tiny_model(learn_tokenizer(texts, world_names(), size.vocabulary), size, folder)
