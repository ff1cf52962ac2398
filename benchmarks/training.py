"""Compare SFTTrainer on our rows with TRL's own path for conversations, on the same trajectories, model and template.

Both train on the same replies of the same episodes. Our rows come from ``build_dataset``. TRL's path uses ``messages``
and ``assistant_only_loss``, with a template that marks the generated text. TRL has no mask for single turns. No turn is
wrong here, so the only difference is that TRL also trains on the fixed "OK" after the manual. The two run in turn, in
several rounds. The figures are CPU time.

    python benchmarks/training.py [rounds]
"""

import json
import shutil
import statistics
import sys
import tempfile
import time
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

EPISODES, STEPS, LENGTH = 48, 12, 1536
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


def ours(episodes, tokenizer, model, packing):
    began = time.process_time()
    rows, report = build_dataset(episodes, tokenizer, max_length=LENGTH)
    encoded = time.process_time()
    config = FinetuneConfig(max_steps=STEPS, batch_size=2, packing=packing, max_length=LENGTH, learning_rate=1e-3)
    caught = []
    out = Path(tempfile.mkdtemp())
    finetune(rows, model=model, out=out / "run", config=config, on_trainer=caught.append)
    shutil.rmtree(out)
    return {
        "prepare": encoded - began,
        "train": time.process_time() - encoded,
        "trained": report.trained_tokens,
    } | seen(caught[0])


def theirs(episodes, tokenizer, model, packing):
    began = time.process_time()
    messages = [
        [{"role": m["role"], "content": m["content"]} for m in masked_messages(one) if m["role"] != "system"]
        for one in episodes
    ]
    out = Path(tempfile.mkdtemp())
    trainer = trl.SFTTrainer(
        model=str(model),
        args=trl.SFTConfig(
            output_dir=str(out),
            assistant_only_loss=True,
            max_length=LENGTH,
            packing=packing,
            max_steps=STEPS,
            per_device_train_batch_size=2,
            learning_rate=1e-3,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            model_init_kwargs={"dtype": torch.float32},
        ),
        train_dataset=datasets.Dataset.from_dict({"messages": messages}),
        processing_class=tokenizer,
    )
    prepared = time.process_time()
    trainer.train()
    trained = sum(label != -100 for row in trainer.train_dataset["labels"] for label in row)
    shutil.rmtree(out)
    return {"prepare": prepared - began, "train": time.process_time() - prepared, "trained": trained} | seen(trainer)


def seen(trainer):
    return {"tokens": int(trainer._total_train_tokens), "steps": trainer.state.global_step}


def main(rounds):
    datasets.disable_progress_bars()
    datasets.disable_caching()
    transformers.utils.logging.disable_progress_bar()
    episodes = trajectories()
    model = Path(tempfile.mkdtemp())
    tokenizer = make_model(model, episodes)
    results = {}
    for number in range(rounds + 1):
        for packing in (False, True):
            for path in (ours, theirs):
                figures = path(episodes, tokenizer, model, packing)
                if number:  # the first round warms up
                    results.setdefault((path.__name__, "packed" if packing else "padded"), []).append(figures)
    print(f"{len(episodes)} trajectories; median of {rounds} rounds; CPU time")
    table = {}
    for (path, layout), runs in results.items():
        rate = statistics.median(run["tokens"] / run["train"] for run in runs)
        prepare = statistics.median(len(episodes) / run["prepare"] for run in runs)
        table[f"{path} {layout}"] = {"tokens_a_second": rate, "trajectories_prepared_a_second": prepare}
        print(
            f"{layout:7} {path:7} {rate:9,.0f} tokens/s in training   {prepare:7,.0f} trajectories/s prepared   "
            f"{runs[0]['trained']:,} labelled tokens"
        )
    print(json.dumps(table))
    shutil.rmtree(model)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
