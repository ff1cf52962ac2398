"""Train on masked trajectories with verl's SFT trainer. This file contains the dataset class for its configuration.

verl's own multi-turn dataset trains on every assistant turn, including errors. This class trains only on turns with a loss
weight. It was written for verl 0.9.1 (``verl/trainer/sft_trainer.py``, ``MultiTurnSFTDataset``), and reads a run folder::

    python -m verl.trainer.sft_trainer data.train_files=runs/first \
        data.custom_cls.path=examples/verl_dataset.py data.custom_cls.name=MaskedTrajectories data.max_length=4096 ...

This example needs verl and pip install "step-envs[train]".
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from step_envs.store import read_trajectories
from step_envs.training import build_dataset, select


class MaskedTrajectories(Dataset[dict[str, torch.Tensor]]):
    """Contains rows of token ids with a loss mask.

    Args:
        parquet_files: Run folders or ``trajectories.jsonl`` files; verl passes the value of ``data.train_files``.
        tokenizer: The tokenizer, with a chat template.
        config: verl's ``data`` section: ``max_length``, ``pad_mode`` (``no_padding`` or ``right``),
            ``apply_chat_template_kwargs``.
        processor: The processor of multi-modal models; not used.
        max_samples: The maximum number of rows; -1 means all.
    """

    def __init__(
        self,
        parquet_files: str | Sequence[str],
        tokenizer: Any,
        config: Mapping[str, Any],
        processor: Any = None,
        max_samples: int = -1,
    ) -> None:
        runs = [parquet_files] if isinstance(parquet_files, str) else list(parquet_files)
        kept = [trajectory for run in runs for trajectory in select(read_trajectories(Path(run))).kept]
        self.max_length = int(config.get("max_length", 1024))
        self.pads = config.get("pad_mode", "no_padding") == "right"
        self.pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        # build_dataset divides long trajectories into windows, so verl does not cut off any row.
        rows, self.report = build_dataset(
            kept,
            tokenizer,
            max_length=self.max_length,
            template_kwargs=dict(config.get("apply_chat_template_kwargs") or {}),
        )
        if "weights" in rows.column_names:
            raise ValueError("verl's loss mask is 0 or 1: weights between cannot be given to it.")
        self.rows = rows if max_samples < 0 else rows.select(range(min(max_samples, len(rows))))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return ``input_ids``, ``position_ids`` and ``loss_mask``, and with ``pad_mode=right`` also ``attention_mask``."""
        row = self.rows[index]
        ids = torch.tensor(row["input_ids"])
        item = {
            "input_ids": ids,
            "position_ids": torch.arange(len(ids)),
            "loss_mask": (torch.tensor(row["labels"]) != -100).long(),
        }
        if not self.pads:
            return item
        missing = self.max_length - len(ids)
        item["attention_mask"] = torch.ones(len(ids), dtype=torch.long)
        fill = {"input_ids": self.pad_id}
        return {
            name: torch.nn.functional.pad(value, (0, missing), value=fill.get(name, 0)) for name, value in item.items()
        }
