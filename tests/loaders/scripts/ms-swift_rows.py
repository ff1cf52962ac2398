"""Encodes exports as ms-swift does: its reader of datasets, and its template with the loss scale of the settings."""

from jobs import Encoded, run_jobs
from swift.dataset import load_dataset
from swift.model import get_processor
from swift.template import get_template


def encode(data: str, config: dict, folder: str) -> Encoded:
    template = get_template(
        get_processor(folder, model_type="qwen2"),
        template_type="qwen2_5",
        max_length=config["max_length"],
        loss_scale=config.get("loss_scale", "default"),
    )
    template.set_mode("train")
    rows, _ = load_dataset([data], load_from_cache_file=False, use_hf=True)
    for row in rows:
        encoded = template.encode(row)
        yield encoded["input_ids"], encoded["labels"]


run_jobs(encode)
