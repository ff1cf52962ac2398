"""Encodes exports as SkyRL does: with what its trainer for supervised fine-tuning loads and encodes, without a model."""

import sys
import typing

import typing_extensions

# SkyRL 0.3.0 says that it runs on Python 3.11, where pydantic refuses its TypedDicts unless they are from this package.
if sys.version_info < (3, 12):
    typing.TypedDict = typing_extensions.TypedDict

from jobs import Encoded, masked, run_jobs
from skyrl.train.config.sft_config import SFTConfig
from skyrl.train.sft_trainer import SFTTrainer
from transformers import AutoTokenizer


def encode(data: str, config: dict, folder: str) -> Encoded:
    overrides = config | {"dataset_name": data, "num_workers": 0, "disable_cache": True}
    trainer = SFTTrainer(SFTConfig.from_cli_overrides([f"{name}={value}" for name, value in overrides.items()]))
    trainer.tokenizer = AutoTokenizer.from_pretrained(folder)
    for row in trainer.load_dataset():
        yield row["input_ids"], masked(row["input_ids"], row["loss_mask"])


run_jobs(encode)
