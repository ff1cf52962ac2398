"""The validation split: whose tasks it holds out, and that its loss is the loss of training."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the extra train")
transformers = pytest.importorskip("transformers", reason="needs the extra train")
datasets = pytest.importorskip("datasets", reason="needs the extra train")
pytest.importorskip("trl", reason="needs the extra train")

from small_checkpoints import save_checkpoint
from small_tokenizers import make_tokenizer
from typer.testing import CliRunner

from step_envs.cli import app
from step_envs.errors import DataError
from step_envs.store import read_trajectories
from step_envs.training.finetuning import FinetuneConfig, finetune
from step_envs.training.tokens import tokenize_trajectory
from step_envs.training.turn_kinds import KINDS
from step_envs.training.validation import ValidationRows, split_tasks

pytestmark = pytest.mark.train


def item(number, world="w"):
    return SimpleNamespace(env_id=world, task_id=str(number))


@given(st.lists(st.integers(0, 30), min_size=2), st.floats(0.01, 0.99), st.integers(0, 5), st.randoms())
def test_no_task_is_on_both_sides(numbers, share, seed, random):
    items = [item(number) for number in numbers]
    try:
        split = split_tasks(items, share, seed)
    except DataError:
        assert round(share * len(set(numbers))) in (0, len(set(numbers)))
        return
    tasks = [{one.task_id for one in side} for side in (split.trained, split.held_out)]
    assert not tasks[0] & tasks[1] and len(tasks[1]) == round(share * split.of)
    assert len(split.trained) + len(split.held_out) == len(items)
    random.shuffle(items)
    assert split_tasks(items, share, seed).tasks == split.tasks


def test_the_seed_decides_and_worlds_have_tasks_of_their_own():
    items = [item(number, world) for number in range(20) for world in "ab"]
    assert split_tasks(items, 0.25, 0).of == 40
    assert split_tasks(items, 0.25, 0).tasks != split_tasks(items, 0.25, 1).tasks
    none = split_tasks(items, 0.0, 0)
    assert (none.trained, none.held_out, none.tasks) == (items, [], ())


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer("bytes", "chatml")


@pytest.fixture(scope="module")
def checkpoint(tokenizer, tmp_path_factory):
    return save_checkpoint(tokenizer, tmp_path_factory.mktemp("model"), num_hidden_layers=2)


def rows(tokenizer, first, count, weighted=False):
    samples = []
    for number in range(first, first + count):
        messages = []
        for step in range(1 + number % 4):
            messages.append({"role": "user", "content": f"Observation: box {step} of {number} is empty."})
            loss = 0.0 if step == 1 else 0.5 if weighted and step == 2 else 1.0
            messages.append({"role": "assistant", "content": f"Thought: on.\nAction: open {step}", "loss": loss})
        (sample,) = tokenize_trajectory(messages, tokenizer)
        kinds = [2 if label != -100 else 4 if place % 5 == 0 else 0 for place, label in enumerate(sample["labels"])]
        samples.append(dict(sample) | {"kinds": kinds})
    columns = ["input_ids", "labels", "kinds", *(["weights"] if weighted else [])]
    return datasets.Dataset.from_list(samples).select_columns(columns)


def by_hand(model, dataset):
    """Return the losses, one row and one token at a time."""
    sums = {}
    model.eval()
    for row in dataset:
        with torch.no_grad():
            logits = model(torch.tensor([row["input_ids"]])).logits[0].double()
        weights = row.get("weights") or [float(label != -100) for label in row["labels"]]
        for place in range(1, len(row["input_ids"])):
            loss = -torch.log_softmax(logits[place - 1], -1)[row["input_ids"][place]].item()
            parts = {"eval_loss": weights[place]}
            if row["kinds"][place]:
                parts[f"eval_loss/{KINDS[row['kinds'][place] - 1]}"] = 1.0
            for name, weight in parts.items():
                total, count = sums.get(name, (0.0, 0.0))
                sums[name] = (total + weight * loss, count + weight)
    return {name: total / count for name, (total, count) in sums.items()}


@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_weighted_mean_over_all_tokens_whatever_the_batches(tokenizer, checkpoint, weighted):
    dataset = rows(tokenizer, 0, 7, weighted)
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    expected = by_hand(model, dataset)
    assert set(expected) == {"eval_loss", "eval_loss/agent", "eval_loss/error"}
    model.train()
    for size in (1, 3, 16):
        assert ValidationRows(dataset, size).measure(model, "cpu") == pytest.approx(expected, rel=1e-5)
    assert model.training


def test_processes_share_the_batches(tokenizer, checkpoint):
    dataset = rows(tokenizer, 0, 7)
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    alone = ValidationRows(dataset, 2).measure(model, "cpu")
    for processes in (2, 3, 5):
        parts = []
        for rank in range(processes):
            # Every process is asked for its own sums; the last one is handed what all of them have.
            def reduce(sums, reduction, rank=rank, parts=parts, processes=processes):
                parts.append(sums)
                return torch.stack(parts).sum(0) if rank == processes - 1 else sums

            accelerator = SimpleNamespace(process_index=rank, num_processes=processes, reduce=reduce)
            found = ValidationRows(dataset, 2).measure(model, "cpu", accelerator=accelerator)
        assert found == pytest.approx(alone, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"loop": "small"}, {}, {"lora_rank": 2, "lora_dropout": 0.5}, {"packing": True, "max_length": 600}],
    ids=["small", "trl", "dropout", "packing"],
)
def test_it_is_logged_when_the_loss_is_and_changes_nothing(tokenizer, checkpoint, tmp_path, changes):
    usual = {"max_steps": 5, "batch_size": 2, "learning_rate": 1e-2, "logging_steps": 2}
    settings = FinetuneConfig(**usual | changes)
    train, held_out = rows(tokenizer, 0, 6), rows(tokenizer, 6, 3)
    outs = [
        finetune(train, model=checkpoint, out=tmp_path / name, config=settings, validation=given, tokenizer=tokenizer)
        for name, given in (("with", held_out), ("without", None))
    ]
    histories = [json.loads((out / "trainer_state.json").read_text())["log_history"] for out in outs]
    assert [one["step"] for one in histories[0] if "eval_loss" in one] == [2, 4, 5]
    assert not any("eval_loss" in one for one in histories[1])
    losses = [[one["loss"] for one in history if "loss" in one] for history in histories]
    assert losses[0] == losses[1]
    file = "adapter_model.safetensors" if settings.lora_rank else "model.safetensors"
    assert (outs[0] / file).read_bytes() == (outs[1] / file).read_bytes()
    last = [one for one in histories[0] if "eval_loss" in one][-1]
    model = transformers.AutoModelForCausalLM.from_pretrained(outs[0])
    assert {name: last[name] for name in by_hand(model, held_out)} == pytest.approx(by_hand(model, held_out), rel=1e-4)
    figures = json.loads((outs[0] / "finetune.json").read_text())["figures"]
    assert figures["validation_loss"] == last["eval_loss"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "coins"
    arguments = ["--env", "own_world:Coin-v0", "--episodes", "12", "--agent", "novice:error_rate=0.3"]
    done = CliRunner().invoke(app, ["collect", *arguments, "--teacher", "oracle", "--out", str(out)])
    assert done.exit_code == 0, done.output
    return out


def train(run, checkpoint, out, *more):
    return CliRunner().invoke(app, ["train", str(run), "--model", str(checkpoint), "--out", str(out), *more])


@pytest.mark.slow
def test_the_command_records_which_tasks_it_held_out(run, checkpoint, tmp_path):
    out = tmp_path / "model"
    done = train(run, checkpoint, out, "--max-steps", "1", "--batch-size", "2", "--validation", "0.25", "--seed", "3")
    assert done.exit_code == 0, done.output
    assert " tasks are not trained on, " in " ".join(done.stderr.split())
    assert "validation loss " in done.stdout
    record = json.loads((out / "training_data.json").read_text())["validation"]
    kept = {f"{one.env_id} {one.task_id}" for one in read_trajectories(run)}
    assert set(record["tasks"]) < kept
    assert (record["share"], record["seed"], record["rows"]["masking"]) == (0.25, 3, "partial")
    assert json.loads((out / "train.json").read_text())["validation"] == 0.25


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--validation", "0.001"], "A validation share of 0.001 of 6 tasks is not one task: give at least 0.17"),
        (["--validation", "0.99"], "A validation share of 0.99 of 6 tasks leaves no task to train on"),
        (["--validation", "1.5"], "validation: Input should be less than 1, got 1.5."),
        (["--validation", "0.2", "--recipe", "grpo"], "has no validation split, because the model plays its tasks"),
        (
            ["--validation", "0.2", "--recipe", "estimator"],
            "by its own option, estimator:held_out=0.1: leave validation",
        ),
        (["--validation", "0.2", "--recipe", "eto:iterations=1"], "has no validation split with iterations, because"),
    ],
)
def test_a_split_that_cannot_be_made_is_one_sentence(run, checkpoint, tmp_path, arguments, sentence):
    out = tmp_path / "model"
    filters = [] if "--recipe" in arguments else ["--min-score", "0", "--max-errors", "99"]
    done = train(run, checkpoint, out, *filters, *arguments)
    assert done.exit_code == 2
    assert sentence in " ".join(done.stderr.split())
    assert not out.exists()
