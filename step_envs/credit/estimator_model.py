"""The network of a progress estimator: a language model that predicts one number at every token.

SPA-RL (arXiv 2505.20732) puts ``Linear(vocabulary -> 1)`` on the logits. Here the number is linear in the last hidden
state, ``Linear(width -> 1)``. The logits are themselves linear in the hidden state, so the larger head can express nothing
more; it has some fifty times as many parameters, and needs the logits of the whole vocabulary. This is also the form of
transformers' ``AutoModelForTokenClassification`` with one label, which trainers, adapters and servers already know.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from pydantic import BaseModel
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForTokenClassification

from step_envs.agents.local.checkpoint import check_checkpoint, load_tokenizer
from step_envs.agents.local.model import context_of
from step_envs.agents.local.shared import folder_state, number_type, torch_device
from step_envs.credit.episode_tokens import EpisodeEncoder, ReplySample
from step_envs.errors import DataError
from step_envs.run_folder import read_model
from step_envs.trajectory import Trajectory

RECORD = "progress.json"
"""File in the folder of an estimator: how it was trained, and whether the training is complete."""
_TOKENS = 1 << 14
"""Most tokens, padding included, that a model reads at once, unless a single sample is longer."""


class _Settings(BaseModel):
    """The settings of a training that predictions depend on."""

    max_length: int | None = None


class _Record(BaseModel):
    """The part of ``progress.json`` that predictions depend on; the training knows the rest."""

    complete: bool
    config: _Settings


class EstimatorModel:
    """A network with its tokenizer.

    Args:
        network: A model of ``load_network``, on its device.
        encoder: Turns episodes into samples for it.
    """

    def __init__(self, network: Any, encoder: EpisodeEncoder) -> None:
        self.encoder, self._network = encoder, network
        self._reading = threading.Lock()

    def contributions(self, trajectory: Trajectory) -> list[float] | None:
        """Predict what each reply contributes to the final score.

        Returns:
            What is expected at the start, then one number for each reply; they add up to the predicted final score. None if
            the episode has no reply, or does not fit into the model's context.

        Raises:
            TemplateError: The chat template cannot be used with this episode.
        """
        samples = self.encoder.encode(trajectory)
        return None if samples is None else self.of_samples(samples)

    def of_samples(self, samples: Sequence[ReplySample]) -> list[float]:
        """Predict one number for each place of samples, in their order."""
        device = self._network.device
        found: dict[int, list[float]] = {}
        # One thread at a time: the device is busy with one of them, and memory does not depend on the number of threads.
        with self._reading, torch.inference_mode():
            for batch in _batches([len(sample.ids) for sample in samples]):
                logits = self._network(
                    input_ids=padded([samples[row].ids for row in batch]).to(device), use_cache=False
                )
                for place, row in enumerate(batch):
                    found[row] = logits.logits[place, samples[row].places, 0].float().tolist()
        return [number for row in range(len(samples)) for number in found[row]]


def padded(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return token ids as one tensor ``[rows, tokens]``, filled up on the right.

    No attention mask is needed: a causal model never looks to the right.
    """
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


def load_network(folder: Path, dtype: torch.dtype) -> Any:
    """Load a checkpoint as an estimator; one of a plain language model gets a new head that predicts 0.

    Args:
        folder: A checkpoint of a causal language model, or of an estimator.
        dtype: Number type of the weights.

    Raises:
        DataError: It cannot be loaded, or transformers has no model for token classification of its kind.
    """
    check_checkpoint(folder)
    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, num_labels=1)
        # Dropout before the head would put noise into a sum over a whole episode.
        config.classifier_dropout = 0.0
        loaded, report = AutoModelForTokenClassification.from_pretrained(
            str(folder), config=config, local_files_only=True, dtype=dtype, output_loading_info=True
        )
    # Weights that end early, and packages for quantized weights that are not there, raise errors of many kinds.
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, AttributeError, SafetensorError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise DataError(f"The model in {folder} cannot be loaded as a progress estimator: {first}") from error
    head = next(name for name, part in loaded.named_children() if isinstance(part, torch.nn.Linear))
    new = {name for name in report["missing_keys"] if name.startswith(f"{head}.")}
    lost = sorted(set(report["missing_keys"]) - new)
    if lost:
        raise DataError(f"The checkpoint in {folder} lacks {len(lost)} weights of its model, {lost[0]} for one.")
    if new:
        for parameter in getattr(loaded, head).parameters():
            torch.nn.init.zeros_(parameter)
    return loaded


_models: "WeakValueDictionary[tuple[object, ...], EstimatorModel]" = WeakValueDictionary()
_loading = threading.Lock()


def shared_estimator(model: str, device: str = "auto", dtype: str = "auto") -> EstimatorModel:
    """Return a trained estimator, which is loaded once in this process as long as somebody holds it.

    Args:
        model: Folder that ``train_progress_estimator`` wrote.
        device: ``"auto"`` means a GPU if there is one; else a device name of torch.
        dtype: ``"auto"`` means ``"bfloat16"`` on a GPU that supports it, else ``"float32"``.

    Raises:
        DataError: The folder holds no complete estimator.
        StoreError: The record of its training is damaged.
        TemplateError: Its tokenizer cannot turn a conversation into text.
        ValueError: There is no such device or number type.
    """
    where = torch_device(device)
    numbers = number_type(dtype, where)
    folder = Path(model).expanduser().resolve()
    key = (folder, folder_state(folder), str(where), numbers)
    with _loading:
        found = _models.get(key)
        if found is None:
            found = _models[key] = _load(folder, where, numbers)
    return found


def _load(folder: Path, device: torch.device, dtype: torch.dtype) -> EstimatorModel:
    if not (folder / RECORD).is_file():
        raise DataError(f"{folder} holds no progress estimator ({RECORD}): train one with train_progress_estimator.")
    record = read_model(folder / RECORD, _Record, "the record of a progress estimator")
    if not record.complete:
        raise DataError(f"The training of the progress estimator in {folder} is not complete: run it again to go on.")
    network = load_network(folder, dtype).to(device).eval()
    tokenizer = load_tokenizer(folder)
    encoder = EpisodeEncoder(tokenizer, reading_limit(network.config, tokenizer, record.config.max_length))
    return EstimatorModel(network, encoder)


def reading_limit(config: Any, tokenizer: Any, max_length: int | None) -> int | None:
    """Return the most tokens that an estimator reads; None if nothing sets a limit."""
    return min((limit for limit in (context_of(config, tokenizer), max_length) if limit is not None), default=None)


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Cut rows into batches of similar length, the longest first."""
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > _TOKENS:
            batches.append([])
        batches[-1].append(row)
    return batches
