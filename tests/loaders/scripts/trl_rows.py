"""Encodes exports as TRL does: with the dataset and the collator of its trainer for supervised fine-tuning."""

from tempfile import TemporaryDirectory

from datasets import load_dataset
from jobs import Encoded, run_jobs
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import SFTConfig, SFTTrainer


def encode(data: str, config: dict, folder: str) -> Encoded:
    rows = load_dataset("json", data_files=data, split="train")
    if config["columns"] == "prompt and completion":
        rows = rows.map(
            lambda row: {"prompt": row["messages"][:-1], "completion": row["messages"][-1:]},
            remove_columns=rows.column_names,
        )
    else:
        rows = rows.select_columns("messages")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    with TemporaryDirectory() as output:
        trainer = SFTTrainer(
            model=LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **size)),
            args=SFTConfig(output_dir=output, max_length=None, use_cpu=True, bf16=False, report_to="none"),
            train_dataset=rows,
            processing_class=tokenizer,
        )
        for row in trainer.train_dataset:
            batch = trainer.data_collator([row])
            yield batch["input_ids"][0].tolist(), batch["labels"][0].tolist()


run_jobs(encode)
