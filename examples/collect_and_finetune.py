"""Collect episodes and fine-tune a model on them: python examples/collect_and_finetune.py [FOLDER].

The model is tiny and has random weights. The example therefore downloads nothing and runs on a CPU in about a minute, but
the model learns only the form of the replies. For a real model, use the folder of a checkpoint instead of
``tiny_model(...)``. This example needs pip install "step-envs[train]".
"""

import json
import sys
import tempfile
from pathlib import Path

from step_envs import Trajectory
from step_envs.collection import CollectConfig, collect
from step_envs.store import read_trajectories
from step_envs.training import FinetuneConfig, build_dataset, finetune, select

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def collected(out: Path, episodes: int = 40) -> list[Trajectory]:
    """Collect episodes of a novice with the oracle as teacher, and return those that pass the paper's filter."""
    config = CollectConfig(env="STeP-ALFWorld-v0", episodes=episodes, agent="novice:error_rate=0.25", teacher="oracle")
    collect(config, out, resume=out.exists(), concurrency=2)
    chosen = select(read_trajectories(out))
    print(f"{len(chosen.kept)} of {episodes} trajectories kept; dropped: {dict(chosen.dropped)}")
    return chosen.kept


def tiny_model(texts: list[str], out: Path) -> Path:
    """Save a small Llama with random weights and a tokenizer trained on the texts, and return their folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>"]
    raw.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=1500, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|im_end|>", chat_template=TEMPLATE
    )
    torch.manual_seed(0)
    size = {"hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=4096, **size))
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


def run(folder: Path, steps: int = 32) -> list[float]:
    """Collect episodes, build the masked dataset, fine-tune, and return the logged losses."""
    from transformers import AutoTokenizer

    trajectories = collected(folder / "data")
    texts = [turn.content for trajectory in trajectories for turn in trajectory.turns]
    start = tiny_model(texts, folder / "start")
    rows, report = build_dataset(trajectories, AutoTokenizer.from_pretrained(start), masking="partial", max_length=2048)
    print("\n".join(report.lines()))
    config = FinetuneConfig(learning_rate=3e-3, max_steps=steps, batch_size=4, logging_steps=steps // 4)
    trained = finetune(rows, model=start, out=folder / "trained", config=config)
    log = json.loads((trained / "trainer_state.json").read_text())["log_history"]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    print("loss: " + " -> ".join(f"{loss:.2f}" for loss in losses))
    print(f"checkpoint: {trained}")
    return losses


def main() -> None:
    """Run in the folder from the command line, or in a temporary folder."""
    if len(sys.argv) > 1:
        run(Path(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder))


if __name__ == "__main__":
    main()
