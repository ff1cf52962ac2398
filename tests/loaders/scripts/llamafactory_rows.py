"""Encodes exports as LLaMA-Factory does: its arguments, template and dataset, up to what its collator gets."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

# Its check wants accelerate, peft and trl older than those of the extra train. The way of the data uses none of them.
os.environ["DISABLE_VERSION_CHECK"] = "1"

from jobs import Encoded, run_jobs
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from transformers import AutoTokenizer


def encode(data: str, config: dict, folder: str) -> Encoded:
    machine = {
        "model_name_or_path": folder,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "overwrite_cache": True,
    }
    with TemporaryDirectory() as output:
        arguments = config | machine | {"dataset_dir": str(Path(data).parent), "output_dir": output}
        model_args, data_args, training_args, _, _ = get_train_args(arguments)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        template = get_template_and_fix_tokenizer(tokenizer, data_args)
        dataset = get_dataset(template, model_args, data_args, training_args, "sft", tokenizer)
        for row in dataset["train_dataset"]:
            yield row["input_ids"], row["labels"]


run_jobs(encode)
