"""What the trainer receives, and that a run stopped midway ends as one that was not."""

import itertools
import json
import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
transformers = pytest.importorskip("transformers", reason="needs the extra train")
datasets = pytest.importorskip("datasets", reason="needs the extra train")
pytest.importorskip("trl", reason="needs the extra train")

from small_checkpoints import Stop, save_checkpoint
from small_tokenizers import make_tokenizer

from step_envs.errors import DataError, StoreError
from step_envs.training.finetuning import FinetuneConfig, _trainer_options, finetune
from step_envs.training.packing import refuse_mixing_attention
from step_envs.training.tokens import IGNORED, tokenize_trajectory

pytestmark = [pytest.mark.train, pytest.mark.slow]


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer("bytes", "chatml")


@pytest.fixture(scope="module")
def checkpoint(tokenizer, tmp_path_factory):
    return save_checkpoint(tokenizer, tmp_path_factory.mktemp("model"), num_hidden_layers=2)


def conversation(number, errors=()):
    messages = []
    for step in range(3 + number % 3):
        messages.append({"role": "user", "content": f"Observation: box {step} of {number} is empty.", "loss": 0.0})
        loss = 0.0 if step in errors else 1.0
        messages.append(
            {"role": "assistant", "content": f"Thought: on to the next.\nAction: open box {step}", "loss": loss}
        )
    return messages


def rows(tokenizer, count=6, errors=(1,)):
    samples = [s for number in range(count) for s in tokenize_trajectory(conversation(number, errors), tokenizer)]
    return datasets.Dataset.from_list([{"input_ids": s["input_ids"], "labels": s["labels"]} for s in samples])


def weighted_rows(tokenizer, weight=0.5):
    messages = [conversation(number) for number in range(6)]
    for one in messages:
        one[1]["loss"] = weight
    samples = [s for one in messages for s in tokenize_trajectory(one, tokenizer)]
    return datasets.Dataset.from_list([dict(s) for s in samples])


def trained(dataset):
    return sum(label != IGNORED for row in dataset["labels"] for label in row)


def config(**changes):
    return FinetuneConfig(**{"max_steps": 4, "batch_size": 2, "learning_rate": 1e-3, "logging_steps": 1} | changes)


def batches_of(dataset, checkpoint, out, settings):
    caught = []
    finetune(dataset, model=checkpoint, out=out, config=settings, on_trainer=caught.append)
    (trainer,) = caught
    return trainer, list(trainer.get_train_dataloader())


def test_the_trainer_receives_the_labels_the_encoder_gave(tokenizer, checkpoint, tmp_path):
    dataset = rows(tokenizer)
    _, padded = batches_of(dataset, checkpoint, tmp_path / "padded", config(max_steps=1))
    _, packed = batches_of(dataset, checkpoint, tmp_path / "packed", config(max_steps=1, packing=True, max_length=400))
    for batches in (padded, packed):
        assert sum((batch["labels"] != IGNORED).sum().item() for batch in batches) == trained(dataset)
        got = [labels[labels != IGNORED].tolist() for batch in batches for labels in batch["labels"]]
        want = [[label for label in row if label != IGNORED] for row in dataset["labels"]]
        assert sorted(itertools.chain(*got)) == sorted(itertools.chain(*want))
    assert len(packed) < len(padded)
    for batch in packed:
        starts = (batch["position_ids"] == 0).sum().item()
        assert starts >= 2, "more than one document in a row"


@pytest.mark.parametrize(("fsdp", "wanted", "own"), [("", None, True), ("true", None, False), ("true", True, True)])
def test_memory_is_saved_once_and_not_twice(fsdp, wanted, own, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", fsdp)
    options = _trainer_options(config(gradient_checkpointing=wanted), tmp_path, on_gpu=True)
    assert options["gradient_checkpointing"] is own
    assert not _trainer_options(config(), tmp_path, on_gpu=False)["gradient_checkpointing"]


def test_masked_turns_give_exactly_no_gradient(tokenizer, checkpoint, tmp_path):
    dataset = rows(tokenizer, count=2)
    trainer, (batch, *_) = batches_of(dataset, checkpoint, tmp_path / "run", config(max_steps=1))
    model = trainer.model.eval()
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
    logits.retain_grad()
    labels = batch["labels"][:, 1:]
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), labels, ignore_index=IGNORED)
    loss.backward()
    by_hand = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    reached = logits.grad[:, :-1].abs().sum(-1) > 0
    assert torch.equal(reached, labels != IGNORED)
    words = tokenizer.batch_decode(batch["input_ids"][0, 1:, None])
    wrong = "".join(words).index("open box 1")
    ends = list(itertools.accumulate(map(len, words)))
    of_error = [at for at, end in enumerate(ends) if wrong < end <= wrong + len("open box 1")]
    assert of_error
    assert not reached[0, of_error].any()
    # And the trainer's own loss is this one.
    model.zero_grad()
    its_loss = trainer.compute_loss(model, dict(batch))
    its_loss.backward()
    assert its_loss.item() == pytest.approx(loss.item(), rel=1e-5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, by_hand[name], rtol=1e-3, atol=1e-6)


def test_weights_scale_the_gradient_of_their_turn(tokenizer, checkpoint, tmp_path):
    dataset = weighted_rows(tokenizer)
    for name, settings in {
        "padded": config(max_steps=1),
        "packed": config(max_steps=1, packing=True, max_length=300),
    }.items():
        trainer, batches = batches_of(dataset, checkpoint, tmp_path / name, settings)
        assert type(trainer).__name__ == "WeightedSFTTrainer"
        assert sum(batch["weights"].sum().item() for batch in batches) == pytest.approx(
            sum(map(sum, dataset["weights"]))
        )
        batch = batches[0]
        assert torch.equal(batch["weights"] > 0, batch["labels"] != IGNORED)
        model = trainer.model.eval()
        inputs = {k: v for k, v in batch.items() if k not in ("labels", "weights")}
        logits = model(**inputs, use_cache=False).logits[:, :-1]
        labels, weights = batch["labels"][:, 1:], batch["weights"][:, 1:]
        losses = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
        )
        expected = (losses * weights).sum() / weights.sum()
        assert trainer.compute_loss(model, dict(batch)).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_weight_that_goes_to_nothing_is_a_mask(tokenizer, checkpoint, tmp_path):
    gradients = []
    for name, weight in (("masked", 0.0), ("faint", 1e-7)):
        trainer, _ = batches_of(weighted_rows(tokenizer, weight), checkpoint, tmp_path / name, config(max_steps=1))
        model = trainer.model
        model.load_state_dict(transformers.AutoModelForCausalLM.from_pretrained(checkpoint).state_dict())
        batches, items = trainer.get_batch_samples(iter(trainer.get_train_dataloader()), 3, torch.device("cpu"))
        model.zero_grad()
        sum(trainer.compute_loss(model.eval(), batch, num_items_in_batch=items) for batch in batches).backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-6)


def test_weights_of_one_are_the_stock_loss(tokenizer, checkpoint, tmp_path):
    plain = weighted_rows(tokenizer, 1.0)
    stock, (batch, *_) = batches_of(plain.remove_columns("weights"), checkpoint, tmp_path / "a", config(max_steps=1))
    ours, _ = batches_of(plain, checkpoint, tmp_path / "b", config(max_steps=1))
    weights = {"weights": (batch["labels"] != IGNORED).float()}
    ours.model.load_state_dict(stock.model.state_dict())
    assert ours.compute_loss(ours.model.eval(), batch | weights).item() == pytest.approx(
        stock.compute_loss(stock.model.eval(), dict(batch)).item(), rel=1e-5
    )


def test_packed_documents_do_not_see_each_other(checkpoint):
    refuse_mixing_attention(transformers.AutoModelForCausalLM.from_pretrained(checkpoint))
    recurrent = transformers.MambaForCausalLM(
        transformers.MambaConfig(vocab_size=200, hidden_size=16, num_hidden_layers=2, state_size=4)
    )
    with pytest.raises(DataError, match=r"Packed documents would see each other in this model .* packing=False"):
        refuse_mixing_attention(recurrent)


def test_a_run_stopped_midway_ends_as_one_that_was_not(tokenizer, checkpoint, tmp_path):
    dataset = rows(tokenizer)
    settings = config(max_steps=6, save_steps=2)
    whole = finetune(dataset, model=checkpoint, out=tmp_path / "whole", config=settings)

    with pytest.raises(KeyboardInterrupt):
        finetune(
            dataset,
            model=checkpoint,
            out=tmp_path / "cut",
            config=settings,
            on_trainer=lambda t: t.add_callback(Stop(3)),
        )
    cut = finetune(dataset, model=checkpoint, out=tmp_path / "cut", config=settings)
    one, two = (transformers.AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in (whole, cut))
    assert all(torch.equal(one[name], two[name]) for name in one)
    before = (cut / "model.safetensors").stat().st_mtime_ns
    assert finetune(dataset, model=checkpoint, out=cut, config=settings) == cut
    assert (cut / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(StoreError, match="holds a training with another config"):
        finetune(dataset, model=checkpoint, out=cut, config=config(max_steps=7))
    with pytest.raises(StoreError, match="holds a training with another rows"):
        finetune(rows(tokenizer, 5), model=checkpoint, out=cut, config=settings)


def test_generation_stops_where_turns_end(tokenizer, checkpoint, tmp_path):
    out = finetune(rows(tokenizer), model=checkpoint, out=tmp_path / "run", config=config(max_steps=1))
    stops = transformers.GenerationConfig.from_pretrained(out).eos_token_id
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in stops
    assert transformers.AutoTokenizer.from_pretrained(out).chat_template == tokenizer.chat_template
    assert json.loads((out / "finetune.json").read_text())["figures"]["steps"] == 1


def test_lora_trains_an_adapter(tokenizer, checkpoint, tmp_path):
    out = finetune(rows(tokenizer), model=checkpoint, out=tmp_path / "lora", config=config(max_steps=2, lora_rank=2))
    assert (out / "adapter_model.safetensors").exists()
    assert not (out / "model.safetensors").exists()


def test_what_cannot_be_trained_on_is_refused(tokenizer, checkpoint, tmp_path):
    dataset = rows(tokenizer)
    with pytest.raises(
        DataError, match=r"6 of 6 rows are longer than max_length=10: give the same max_length to build_dataset"
    ):
        finetune(dataset, model=checkpoint, out=tmp_path / "a", config=config(max_length=10))
    with pytest.raises(DataError, match=r"The rows lack labels: make them with build_dataset\."):
        finetune(dataset.remove_columns("labels"), model=checkpoint, out=tmp_path / "b")
    with pytest.raises(
        DataError, match=r"'no/such-model' is neither a folder nor on this machine: name a folder, or fetch it"
    ):
        finetune(dataset, model="no/such-model", out=tmp_path / "c")
    with pytest.raises(
        DataError, match=r"Rows with weights have a loss of their own, without loss_type: leave it away\."
    ):
        finetune(
            weighted_rows(tokenizer), model=checkpoint, out=tmp_path / "d", config=config(trainer={"loss_type": "dft"})
        )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(StoreError, match=r"is not empty and holds no finetune\.json"):
        finetune(dataset, model=checkpoint, out=tmp_path / "full")
    with pytest.raises(ValueError, match="packing needs max_length"):
        FinetuneConfig(packing=True)


SCRIPT = """
import os, pathlib, sys
import datasets, torch
from step_envs.training.finetuning import FinetuneConfig, finetune
dataset = datasets.load_from_disk(sys.argv[1])
settings = FinetuneConfig(max_steps=3, batch_size=int(sys.argv[4]), learning_rate=1e-3, warmup=0)
finetune(dataset, model=sys.argv[2], out=sys.argv[3], config=settings)
size = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
# A file for each process: what two of them print can stand in one another's lines.
pathlib.Path(sys.argv[3], f"rank-{os.environ['RANK']}").write_text(f"one of {size}")
"""


@pytest.mark.parametrize("make", [rows, weighted_rows])
def test_two_processes_train_what_one_does(tokenizer, checkpoint, tmp_path, make):
    make(tokenizer).save_to_disk(tmp_path / "rows")
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    # What `accelerate launch` starts on several GPUs; on CPUs alone it wants MPI, and this does not.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    for processes, batch, name in ((1, 2, "one"), (2, 1, "two")):
        arguments = [tmp_path / "rows", checkpoint, tmp_path / name, batch]
        subprocess.run(
            [*launch, "--nproc_per_node", str(processes), str(script), *map(str, arguments)],
            check=True,
            timeout=300,
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        ranks = {file.name: file.read_text() for file in (tmp_path / name).glob("rank-*")}
        assert ranks == {f"rank-{rank}": f"one of {processes}" for rank in range(processes)}
    one, two = (
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path / name).state_dict() for name in ("one", "two")
    )
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-4)


def test_half_a_checkpoint_is_passed_over(tmp_path):
    from step_envs.training.trainer_setup import last_checkpoint

    assert last_checkpoint(tmp_path) is None
    for number, state in ((8, "{}"), (10, "{}"), (12, '{"step'), (14, None)):
        folder = tmp_path / f"checkpoint-{number}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
