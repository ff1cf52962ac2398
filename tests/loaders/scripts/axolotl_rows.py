"""Encodes exports as axolotl does: its strategy for chat templates, over its tokenized dataset."""

from axolotl.datasets import TokenizedPromptDataset
from axolotl.prompt_strategies.chat_template import load
from axolotl.utils.dict import DictDefault
from datasets import load_dataset
from jobs import Encoded, run_jobs
from transformers import AutoTokenizer


def encode(data: str, config: dict, folder: str) -> Encoded:
    settings = DictDefault(config)
    rows = load_dataset("json", data_files=data, split="train")
    strategy = load(AutoTokenizer.from_pretrained(folder), settings, dict(settings.datasets[0]))
    for row in TokenizedPromptDataset(strategy, rows, process_count=1):
        yield row["input_ids"], row["labels"]


run_jobs(encode)
