"""Compare the ways to train on the same trajectories, with the same model and template; figures are per CPU second.

The paths are TRL's own for conversations (``messages`` and ``assistant_only_loss``, with a template that marks the
generated text), ours padded and packed, TRL's packed, ours with the audit by kind of turn, and the loop for tiny models.
TRL has no mask for single turns. No turn is wrong here, so the only difference is that TRL also trains on the fixed "OK"
after the manual.

What is timed is ``trainer.train()`` alone, with the final checkpoint that it writes: loading the model is not timed, and
preparing rows on its own. Padded batches hold the same episodes in the same order on both sides, because a batch with other
lengths has other padding and other work. The paths run in turn, in several rounds, and each ratio is taken within a round,
so that other work on the machine touches both sides. Tokens are those of documents, without padding.

    python benchmarks/training.py [rounds]
"""

import contextlib
import json
import shutil
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import datasets
import gymnasium as gym
import torch
import transformers
import trl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import step_envs  # noqa: F401
from step_envs.agents.base import make_agent
from step_envs.collection.rollouts import rollout
from step_envs.training.dataset import build_dataset
from step_envs.training.finetuning import FinetuneConfig, finetune
from step_envs.training.masking import masked_messages
from step_envs.wrappers import ReActWrapper, RecordTrajectory

EPISODES, STEPS, LENGTH, ROWS = 48, 24, 1536, 2
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}"
    "{% generation %}"
    "{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}"
    "{{ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def trajectories():
    env = RecordTrajectory(ReActWrapper(gym.make("STeP-ALFWorld-v0", source="generated")))
    found = (rollout(env, make_agent("oracle"), seed=seed) for seed in range(10 * EPISODES))
    return [one for one, _ in zip((one for one in found if one.steps < 25), range(EPISODES), strict=False)]


def make_model(folder, episodes):
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|im_end|>", "<|im_start|>"]
    texts = (turn.content for one in episodes for turn in one.turns)
    raw.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=1500, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|im_end|>", bos_token="<|im_start|>"
    )
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=96,
            intermediate_size=256,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
        )
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


def ours(episodes, tokenizer, model, *, kinds=False, **settings):
    began = time.process_time()
    rows, report = build_dataset(episodes, tokenizer, max_length=LENGTH, kinds=kinds)
    prepared = time.process_time() - began
    config = FinetuneConfig(max_steps=STEPS, batch_size=ROWS, learning_rate=1e-3, **settings)
    timed = []
    out = Path(tempfile.mkdtemp())
    finetune(rows, model=model, out=out / "run", config=config, on_trainer=lambda trainer: timed.append(clock(trainer)))
    shutil.rmtree(out)
    return {"prepare": prepared, "trained": report.trained_tokens} | timed[0]


def theirs(episodes, tokenizer, model, *, packing=False):
    began = time.process_time()
    messages = [
        [{"role": m["role"], "content": m["content"]} for m in masked_messages(one) if m["role"] != "system"]
        for one in episodes
    ]
    out = Path(tempfile.mkdtemp())
    seed = FinetuneConfig().seed
    trainer = trl.SFTTrainer(
        model=str(model),
        args=trl.SFTConfig(
            output_dir=str(out),
            assistant_only_loss=True,
            max_length=LENGTH,
            packing=packing,
            max_steps=STEPS,
            per_device_train_batch_size=ROWS,
            learning_rate=1e-3,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            model_init_kwargs={"dtype": torch.float32},
            seed=seed,
            data_seed=seed,
        ),
        # The order in which finetune gives its rows to the trainer.
        train_dataset=datasets.Dataset.from_dict({"messages": messages}).shuffle(seed=seed),
        processing_class=tokenizer,
    )
    prepared = time.process_time() - began
    trained = sum(label != -100 for row in trainer.train_dataset["labels"] for label in row)
    figures = clock(trainer)
    trainer.train()
    shutil.rmtree(out)
    return {"prepare": prepared, "trained": trained} | figures


def clock(trainer):
    """Time the training; the figures are in the returned table once it has ended."""
    figures = {}
    train = trainer.train

    def timed(*arguments, **named):
        began = time.process_time()
        train(*arguments, **named)
        figures["train"] = time.process_time() - began
        # TRL counts tokens without padding; so does the loop for tiny models.
        figures["tokens"] = int(getattr(trainer, "_total_train_tokens", 0)) or trainer.state.num_input_tokens_seen

    trainer.train = timed
    return figures


PATHS = {
    "TRL padded": theirs,
    "ours padded": ours,
    "ours padded, audit": partial(ours, kinds=True),
    "TRL packed": partial(theirs, packing=True),
    "ours packed": partial(ours, packing=True, max_length=LENGTH),
    "small-model loop": partial(ours, loop="small", packing=True, max_length=LENGTH),
}


def main(rounds):
    datasets.disable_progress_bars()
    datasets.disable_caching()
    transformers.utils.logging.disable_progress_bar()
    episodes = trajectories()
    model = Path(tempfile.mkdtemp())
    tokenizer = make_model(model, episodes)
    results = {name: [] for name in PATHS}
    with tempfile.TemporaryFile("w") as quiet:
        for number in range(rounds + 1):
            for name, path in PATHS.items():
                with contextlib.redirect_stdout(quiet):
                    figures = path(episodes, tokenizer, model)
                if number:  # the first round warms up
                    results[name].append(figures)
    print(f"{len(episodes)} trajectories, {STEPS} steps; median of {rounds} rounds; CPU time")
    print(f"{'path':20} {'tokens/s':>10} {'of TRL padded':>16} {'range':>16} {'trajectories/s prepared':>25} labelled")
    table = {}
    for name, runs in results.items():
        rates = [run["tokens"] / run["train"] for run in runs]
        ratios = [rate * one["train"] / one["tokens"] for rate, one in zip(rates, results["TRL padded"], strict=True)]
        rate, ratio = statistics.median(rates), statistics.median(ratios)
        prepare = statistics.median(len(episodes) / run["prepare"] for run in runs)
        table[name] = {"tokens_a_second": rate, "of_trl_padded": ratio, "trajectories_prepared_a_second": prepare}
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{name:20} {rate:10,.0f} {ratio:16.2f} {spread:>16} {prepare:25,.0f} {runs[0]['trained']:,}")
    print(json.dumps(table))
    shutil.rmtree(model)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
