"""Measure how many episodes per minute the local agent plays: in batches with a cache, and one episode at a time.

python benchmarks/evaluate.py [--model FOLDER] [--episodes 48] [--rounds 2]

Both ways use the same checkpoint and the same tasks. Without ``--model``, the script trains a Llama of 0.4 million
parameters on golden ALFWorld trajectories for one or two minutes, so that the replies have a usual length and end where
they should. The two ways run in turn. The figures are CPU time, because other work may run on the machine.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.store import read_trajectories

WORDS = 1000
STEPS = 300
TOKENS_A_STEP = 4000


def config(agent: str, episodes: int, **changes: Any) -> CollectConfig:
    return CollectConfig(env="STeP-ALFWorld-v0", episodes=episodes, agent=agent, teacher=None, **changes)


def train(folder: Path) -> Path:
    """Train a small checkpoint on golden trajectories."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    from step_envs.training import tokenize_trajectory

    collect(config("oracle", 200, seed=1), folder / "golden")
    golden = list(read_trajectories(folder / "golden"))
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    ends = ["<pad>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        special_tokens=ends, vocab_size=WORDS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    raw.train_from_iterator((turn.content for one in golden for turn in one.turns), trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<pad>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    samples = [sample for one in golden for sample in tokenize_trajectory(one, tokenizer)]
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=96,
            intermediate_size=256,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    print(f"training {model.num_parameters():,} parameters")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    order = torch.Generator().manual_seed(0)
    for step in range(STEPS):
        loss_sum, count = 0.0, 0
        while count < TOKENS_A_STEP:
            sample = samples[int(torch.randint(len(samples), (1,), generator=order))]
            ids, labels = (torch.tensor([sample[name]]) for name in ("input_ids", "labels"))
            loss = model(input_ids=ids, labels=labels).loss
            loss.backward()
            loss_sum, count = loss_sum + loss.item() * ids.shape[1], count + ids.shape[1]
        optimizer.step()
        optimizer.zero_grad()
        if step % 50 == 49:
            print(f"  step {step + 1}: loss {loss_sum / count:.2f}")
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder / "model"


def play(spec: str, episodes: int, concurrency: int, out: Path) -> tuple[float, float, int, int]:
    """Play episodes; return CPU seconds, wall seconds, number of episodes, and generated tokens."""
    cpu, wall = time.process_time(), time.perf_counter()
    figures = collect(config(spec, episodes, seed=7), out, concurrency=concurrency)
    return (
        time.process_time() - cpu,
        time.perf_counter() - wall,
        figures.kept,
        figures.usage.completion_tokens,
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", type=Path, help="a checkpoint with a chat template")
    options.add_argument("--episodes", type=int, default=48)
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--tokens", type=int, default=96, help="most tokens of a reply")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model = given.model or train(Path(scratch))
        sums: dict[str, list[float]] = {}
        for number in range(given.rounds):
            for name, batch in (("batched", given.batch), ("one at a time", 1)):
                spec = f"local:model={model},max_tokens={given.tokens},batch={batch}"
                found = play(spec, given.episodes, batch, Path(scratch) / f"{name} {number}")
                sums[name] = [a + b for a, b in zip(sums.get(name, [0.0] * 4), found, strict=True)]
        print(f"{'':16}{'episodes/CPU min':>18}{'episodes/min':>14}{'tokens/CPU s':>14}{'tokens':>10}")
        for name, (cpu, wall, episodes, tokens) in sums.items():
            print(f"{name:16}{60 * episodes / cpu:18.0f}{60 * episodes / wall:14.0f}{tokens / cpu:14.0f}{tokens:10.0f}")
        print(f"ratio of CPU time: {sums['one at a time'][0] / sums['batched'][0]:.1f}")


if __name__ == "__main__":
    main()
