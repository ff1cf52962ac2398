"""Encodes exports as verl does: with the dataset that its trainer for supervised fine-tuning makes of its settings."""

from jobs import Encoded, masked, run_jobs
from omegaconf import OmegaConf
from transformers import AutoTokenizer
from verl.trainer.sft_trainer import create_sft_dataset


def encode(data: str, config: dict, folder: str) -> Encoded:
    settings = OmegaConf.from_dotlist([f"{name}={value}" for name, value in config.items()]).data
    for row in create_sft_dataset([data], settings, AutoTokenizer.from_pretrained(folder), None):
        ids = row["input_ids"].tolist()
        yield ids, masked(ids, row["loss_mask"].tolist())


run_jobs(encode)
