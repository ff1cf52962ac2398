"""The loop for tiny models: TRL's trainer is the reference, and a kill changes nothing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the extra train")
transformers = pytest.importorskip("transformers", reason="needs the extra train")
datasets = pytest.importorskip("datasets", reason="needs the extra train")
pytest.importorskip("trl", reason="needs the extra train")

from small_checkpoints import Stop

from step_envs.errors import DataError
from step_envs.training.finetuning import FinetuneConfig, finetune
from step_envs.training.small_model_loop import plan_steps
from step_envs.training.tiny_model import TinyModelSize, learn_tokenizer, make_tiny_model
from step_envs.training.tokens import IGNORED, tokenize_trajectory

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def tokenizer():
    return learn_tokenizer(
        ["Observation: box 1 is empty.", "Thought: on to the next.\nAction: open box 2"] * 9, ["box"]
    )


@pytest.fixture(scope="module")
def checkpoint(tokenizer, tmp_path_factory):
    size = TinyModelSize(width=32, layers=2, heads=2)
    return make_tiny_model(tokenizer, size, tmp_path_factory.mktemp("model"))


def rows(tokenizer, weight=None):
    samples = []
    for number in range(12):
        messages = []
        for step in range(1 + number % 5):
            messages.append({"role": "user", "content": f"Observation: box {step} of {number} is empty."})
            content = f"Thought: on to the next.\nAction: open box {step}"
            messages.append({"role": "assistant", "content": content, "loss": 0.0 if step == 1 else 1.0})
        if weight is not None:
            messages[-1]["loss"] = weight
        samples += tokenize_trajectory(messages, tokenizer)
    names = ("input_ids", "labels") if weight is None else ("input_ids", "labels", "weights")
    return datasets.Dataset.from_list([{name: one[name] for name in names} for one in samples])


def config(**changes):
    return FinetuneConfig(
        **{
            "max_steps": 6,
            "batch_size": 2,
            "accumulate": 2,
            "learning_rate": 3e-3,
            "weight_decay": 0.1,
            "logging_steps": 1,
            "save_steps": 2,
            "loop": "small",
        }
        | changes
    )


def weights_of(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder).state_dict()


def history_of(folder):
    return json.loads((folder / "trainer_state.json").read_text())["log_history"]


@pytest.mark.parametrize("weight", [None, 0.5])
@pytest.mark.parametrize("tokens", [False, True])
def test_on_the_same_batches_trl_trains_the_same_model(tokenizer, checkpoint, tmp_path, weight, tokens):
    dataset = rows(tokenizer, weight)
    settings = config(**({"packing": True, "max_length": 100} if tokens else {}))
    caught = []
    small = finetune(dataset, model=checkpoint, out=tmp_path / "small", config=settings, on_trainer=caught.append)
    steps = caught[0].steps
    assert len({len(batch) for step in steps for batch in step}) > 1 or not tokens

    class SameBatches:
        """A loader with the batches of the small loop, collated by TRL."""

        batch_size, dataset = 2, None

        def __init__(self, trainer):
            self.trainer = trainer

        def __len__(self):
            return sum(map(len, steps))

        def __iter__(self):
            for batch in (batch for step in steps for batch in step):
                yield self.trainer.data_collator([dataset[row] for row in batch])

    def same_batches(trainer):
        # An epoch of the plan may end in the middle of two forward passes, so all of it is one epoch to TRL.
        trainer.get_train_dataloader = lambda: SameBatches(trainer)

    assert all(len(step) == 2 for step in steps), "the reference accumulates a fixed number of forward passes"
    reference = config(loop="trl")
    trl = finetune(dataset, model=checkpoint, out=tmp_path / "trl", config=reference, on_trainer=same_batches)
    one, two = (
        [entry for entry in history_of(folder) if "loss" in entry and "learning_rate" in entry]
        for folder in (small, trl)
    )
    assert len(one) == len(two) == 6
    for ours, theirs in zip(one, two, strict=True):
        for name in ("loss", "grad_norm", "learning_rate"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4), name
    reached, wanted = weights_of(small), weights_of(trl)
    for name in wanted:
        torch.testing.assert_close(reached[name], wanted[name], rtol=1e-3, atol=1e-5)
    stops = [transformers.GenerationConfig.from_pretrained(folder).eos_token_id for folder in (small, trl)]
    assert stops[0] == stops[1]


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_training_stopped_midway_ends_as_one_that_was_not(tokenizer, checkpoint, tmp_path, stop):
    dataset = rows(tokenizer)
    settings = config(logging_steps=2, packing=True, max_length=100)
    whole = finetune(dataset, model=checkpoint, out=tmp_path / "whole", config=settings)

    with pytest.raises(KeyboardInterrupt):
        finetune(
            dataset,
            model=checkpoint,
            out=tmp_path / "cut",
            config=settings,
            on_trainer=lambda t: t.add_callback(Stop(stop)),
        )
    cut = finetune(dataset, model=checkpoint, out=tmp_path / "cut", config=settings)
    assert (cut / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert history_of(cut)[:-1] == history_of(whole)[:-1]
    assert len(list(cut.glob("checkpoint-*"))) == 1
    figures = [json.loads((folder / "finetune.json").read_text())["figures"] for folder in (whole, cut)]
    assert figures[0] | {"seconds": 0} == figures[1] | {"seconds": 0}
    assert figures[0]["steps"] == 6 and figures[0]["tokens"] > 0 and figures[0]["loss"] > 0


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=300),
    tokens=st.one_of(st.none(), st.integers(60, 400)),
    seed=st.integers(0, 9),
)
def test_every_row_is_trained_once_an_epoch_and_no_batch_is_too_large(lengths, tokens, seed):
    def plan(**changes):
        options = {"rows": 3, "tokens": tokens, "accumulate": 2, "epochs": 1, "max_steps": None, "seed": seed}
        return plan_steps(lengths, **options | changes)

    steps = plan()
    batches = [batch for step in steps for batch in step]
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[row] for row in batch)
        assert padded <= tokens if tokens else len(batch) <= 3
    assert steps == plan() and steps == plan(max_steps=len(steps) + 5)[: len(steps)]


def test_what_the_loop_does_not_support_is_refused(tokenizer, checkpoint, tmp_path, monkeypatch):
    with pytest.raises(
        ValueError, match=r'lora_rank must not be set with loop="small", nor gradient_checkpointing: use loop="trl"'
    ):
        config(lora_rank=2)
    with pytest.raises(ValueError, match=r"loop=\"small\" does not know the trainer's optim: use loop"):
        config(trainer={"optim": "adafactor"})
    changed = transformers.CohereConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        logit_scale=0.5,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    transformers.CohereForCausalLM(changed).save_pretrained(tmp_path / "cohere")
    tokenizer.save_pretrained(tmp_path / "cohere")
    with pytest.raises(DataError, match=r'loop="small" does not fit this model, which changes its logits'):
        finetune(rows(tokenizer), model=tmp_path / "cohere", out=tmp_path / "out", config=config())


def test_only_trained_tokens_count(tokenizer, checkpoint, tmp_path):
    dataset = rows(tokenizer)
    out = finetune(
        dataset, model=checkpoint, out=tmp_path / "run", config=config(max_steps=None, epochs=1, batch_size=12)
    )
    (entry,) = [one for one in history_of(out) if "grad_norm" in one]
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    total = count = 0
    for row in dataset:
        logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1]
        total += torch.nn.functional.cross_entropy(
            logits, torch.tensor(row["labels"][1:]), ignore_index=IGNORED, reduction="sum"
        ).item()
        count += sum(label != IGNORED for label in row["labels"])
    assert entry["loss"] == pytest.approx(total / count, rel=1e-4)
    assert entry["num_input_tokens_seen"] == sum(map(len, dataset["input_ids"]))
