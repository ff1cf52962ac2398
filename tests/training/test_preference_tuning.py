"""Training on pairs: which tokens the loss sees, that it is DPO's, and that a stopped training ends as one that was not."""

import json
import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
transformers = pytest.importorskip("transformers", reason="needs the extra train")
pytest.importorskip("datasets", reason="needs the extra train")
pytest.importorskip("trl", reason="needs the extra train")

from mask_checks import prompt_ids
from pydantic import ValidationError
from small_checkpoints import Stop, save_checkpoint
from small_tokenizers import make_tokenizer

from step_envs.errors import DataError, StoreError
from step_envs.training.preferences.pair_data import PreferencePair
from step_envs.training.preferences.tuning import PreferenceConfig, encode_pairs, preference_tune

pytestmark = [pytest.mark.train, pytest.mark.slow]

TEMPLATES = ["chatml", "qwen3"]
"""One that only adds to its text, and one that takes thoughts out of earlier replies: one sample a side, and many."""


def say(role, content, loss=0.0):
    return {"role": role, "content": content, "loss": loss}


def make_pair(number, *, thought="<think>\nhm\n</think>\n", weight=1.0):
    """An episode that found the coin against one that did not, with an error and a correction in both."""

    def step(text, loss):
        return say("assistant", f"{thought}Thought: on.\nAction: {text}", loss)

    return PreferencePair(
        env_id="box",
        task_id=f"coin/{number}",
        kind="trajectory",
        prompt=[say("user", "Find a coin."), say("assistant", "OK"), say("user", f"Task: the coin {number}.")],
        chosen=[
            step("open the gizmo", 0.0),
            say("user", "Observation: nothing happens."),
            step(f"open box {number}", 1.0),
            say("user", "Observation: there is a coin in the box."),
            step("take coin", weight),
        ],
        rejected=[
            step("look", 1.0),
            say("user", "Observation: you see boxes."),
            step("open box 99", 0.0),
            say("user", "Observation: box 99 is empty."),
            step("sleep", 1.0),
        ],
        chosen_source="agent",
        rejected_source="agent",
        chosen_score=1.0,
        rejected_score=0.0,
    )


def pairs(count=4, **options):
    return [make_pair(number, **options) for number in range(count)]


@pytest.fixture(scope="module", params=TEMPLATES)
def tokenizer(request):
    return make_tokenizer("bytes", request.param)


@pytest.fixture(scope="module")
def checkpoint(tokenizer, tmp_path_factory):
    return save_checkpoint(tokenizer, tmp_path_factory.mktemp("model"), num_hidden_layers=2)


def config(**changes):
    usual = {"max_steps": 4, "batch_size": 2, "learning_rate": 1e-3, "logging_steps": 1, "warmup": 0.0}
    return PreferenceConfig(**usual | changes)


def test_the_two_templates_take_the_two_ways():
    modes = [encode_pairs(pairs(1), make_tokenizer("bytes", template))[1].mode for template in TEMPLATES]
    assert modes == ["conversation", "turns"]


def make_trainer(some, checkpoint, out, **changes):
    """Return the trainer before its first step."""

    class MadeError(Exception):
        """Ends the training where it would begin."""

    caught = []

    def catch(trainer):
        caught.append(trainer)
        raise MadeError

    with pytest.raises(MadeError):
        preference_tune(some, model=checkpoint, out=out, config=config(**changes), on_trainer=catch)
    return caught[0]


def shift_weights(model):
    """Make the policy another model than its reference, as it is after some steps."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)


def sides_by_hand(model, tokenizer, pair, side):
    """The log-probability of a side: of every reply that counts, behind the prompt that a server would send."""
    messages = pair.messages(side)
    total, count = 0.0, 0
    for index, message in enumerate(messages):
        if not message["loss"]:
            continue
        prompt = prompt_ids(tokenizer, messages, index)
        rows, _ = encode_pairs([pair], tokenizer)
        # The sample that begins with this prompt; what follows the prompt and has a weight is the reply.
        for ids, weights in zip(rows[0][f"{side}_ids"], rows[0][f"{side}_weights"], strict=True):
            if ids[: len(prompt)] == prompt and weights[len(prompt)]:
                break
        else:
            raise AssertionError(f"no sample holds the prompt of message {index}")
        end = len(prompt)
        while end < len(ids) and weights[end]:
            end += 1
        logits = model(torch.tensor([ids[:end]]), use_cache=False).logits[0].float()
        logps = torch.log_softmax(logits[:-1], dim=-1)[torch.arange(end - 1), torch.tensor(ids[1:end])]
        total = total + message["loss"] * logps[len(prompt) - 1 :].sum()
        count += end - len(prompt)
    return total, count


@pytest.mark.parametrize("weight", [1.0, 0.25])
@pytest.mark.parametrize("sft_weight", [0.0, 0.5])
def test_the_loss_is_dpo_over_the_replies_that_count(tokenizer, checkpoint, tmp_path, weight, sft_weight):
    some = pairs(3, weight=weight)
    trainer = make_trainer(some, checkpoint, tmp_path / "run", batch_size=3, beta=0.3, sft_weight=sft_weight)
    reference = transformers.AutoModelForCausalLM.from_pretrained(checkpoint).eval()
    shift_weights(trainer.model)
    policy = trainer.model.eval()
    batch = trainer.data_collator(list(trainer.train_dataset))
    found = trainer.compute_loss(policy, batch)

    losses, likelihood, tokens = [], 0.0, 0
    for pair in some:
        ratios = {}
        for side in ("chosen", "rejected"):
            mine, count = sides_by_hand(policy, tokenizer, pair, side)
            with torch.no_grad():
                ratios[side] = mine - sides_by_hand(reference, tokenizer, pair, side)[0]
            if side == "chosen":
                likelihood, tokens = likelihood + mine, tokens + count
        losses.append(-torch.nn.functional.logsigmoid(0.3 * (ratios["chosen"] - ratios["rejected"])))
    by_hand = torch.stack(losses).mean() - sft_weight * likelihood / tokens
    # Relative, because both are differences of sums of some hundred log-probabilities in float32.
    assert found.item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert abs(found.item() - 0.6931) > 1e-3, "the policy is not its reference, or there was nothing to compare"


def test_no_other_token_enters_the_loss(tokenizer, checkpoint, tmp_path):
    """The gradient of what the model predicts at a place is exactly zero unless the next token counts."""
    trainer = make_trainer(pairs(2), checkpoint, tmp_path / "run", sft_weight=0.5)
    shift_weights(trainer.model)
    predictions = []

    def keep(module, arguments, output):
        output.retain_grad()
        predictions.append(output)

    trainer.model.model.norm.register_forward_hook(keep)
    batch = trainer.data_collator(list(trainer.train_dataset))
    trainer.compute_loss(trainer.model.eval(), batch).backward()
    (predicted,) = predictions
    reached = predicted.grad[:, :-1].abs().sum(-1) > 0
    counts = batch["weights"][:, 1:] > 0
    assert torch.equal(reached, counts)
    assert not (predicted.grad[:, -1] != 0).any()
    # What counts is the replies with a loss and nothing else, on both sides.
    for row, of_row in zip(batch["input_ids"], counts, strict=True):
        text = tokenizer.decode(row[1:][of_row])
        assert "Action: " in text
        for other in ("Find a coin", "Task:", "Observation", "gizmo", "box 99"):
            assert other not in text
    sides = tokenizer.batch_decode([row[1:][kept] for row, kept in zip(batch["input_ids"], counts, strict=True)])
    assert {"look", "sleep", "take coin", "open box 0", "open box 1"} == {
        line.partition("<|im_end|>")[0] for side in sides for line in side.split("Action: ")[1:]
    }


def test_an_observation_that_no_reply_follows_does_not_change_the_loss(tokenizer, checkpoint, tmp_path):
    whole = make_pair(0)
    longer = whole.model_copy(update={"rejected": (*whole.rejected, whole.rejected[1])})
    losses = []
    for name, pair in (("whole", whole), ("longer", longer)):
        trainer = make_trainer([pair], checkpoint, tmp_path / name, batch_size=1)
        shift_weights(trainer.model)
        losses.append(trainer.compute_loss(trainer.model.eval(), trainer.data_collator(list(trainer.train_dataset))))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-6)


def test_training_widens_the_margin_of_the_trained_pairs(tokenizer, checkpoint, tmp_path):
    out = preference_tune(pairs(), model=checkpoint, out=tmp_path / "run", config=config(max_steps=12, batch_size=4))
    log = json.loads((out / "trainer_state.json").read_text())["log_history"]
    margins = [entry["rewards/margins"] for entry in log if "rewards/margins" in entry]
    assert margins[0] == pytest.approx(0, abs=1e-5), "the start model is the reference"
    assert margins[-1] > 0.1
    assert margins[-1] > margins[len(margins) // 2] > margins[0]
    record = json.loads((out / "preference.json").read_text())
    assert record["complete"]
    assert record["figures"]["margin"] == margins[-1]
    assert record["figures"]["accuracy"] == 1.0
    assert record["figures"]["too_long"] == 0
    # Without TRL: the trained model itself prefers the chosen sides more than the start model did.
    start, end = (transformers.AutoModelForCausalLM.from_pretrained(folder).eval() for folder in (checkpoint, out))
    with torch.no_grad():
        for pair in pairs():
            before, after = (
                sides_by_hand(model, tokenizer, pair, "chosen")[0]
                - sides_by_hand(model, tokenizer, pair, "rejected")[0]
                for model in (start, end)
            )
            assert after > before + 1


def test_every_loss_and_lora_run(tokenizer, checkpoint, tmp_path):
    names = PreferenceConfig.model_fields["loss_type"].annotation.__args__
    losses = {}
    for name in names:
        options = {"label_smoothing": 0.1} if name in ("exo_pair", "robust") else {}
        trainer = make_trainer(pairs(2), checkpoint, tmp_path / name, loss_type=name, trainer=options)
        shift_weights(trainer.model)
        batch = trainer.data_collator(list(trainer.train_dataset))
        losses[name] = trainer.compute_loss(trainer.model.eval(), batch).item()
    assert len(set(losses.values())) == len(names)
    out = preference_tune(pairs(2), model=checkpoint, out=tmp_path / "lora", config=config(max_steps=2, lora_rank=2))
    assert (out / "adapter_model.safetensors").exists()
    assert not (out / "model.safetensors").exists()
    with pytest.raises(
        DataError, match=r"lora is an adapter, and the reference is the whole model: merge it into its base \(merge_and"
    ):
        preference_tune(pairs(2), model=out, out=tmp_path / "again")


def test_a_training_stopped_midway_ends_as_one_that_was_not(tokenizer, checkpoint, tmp_path):
    settings = config(max_steps=6, save_steps=2)
    whole = preference_tune(pairs(), model=checkpoint, out=tmp_path / "whole", config=settings)
    with pytest.raises(KeyboardInterrupt):
        preference_tune(
            pairs(),
            model=checkpoint,
            out=tmp_path / "cut",
            config=settings,
            on_trainer=lambda trainer: trainer.add_callback(Stop(3)),
        )
    cut = preference_tune(pairs(), model=checkpoint, out=tmp_path / "cut", config=settings)
    one, two = (transformers.AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in (whole, cut))
    assert all(torch.equal(one[name], two[name]) for name in one)
    before = (cut / "model.safetensors").stat().st_mtime_ns
    assert preference_tune(pairs(), model=checkpoint, out=cut, config=settings) == cut
    assert (cut / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(StoreError, match=r"cut holds a training with another config\.beta \(0\.1, not 0\.2\): name"):
        preference_tune(pairs(), model=checkpoint, out=cut, config=config(max_steps=6, save_steps=2, beta=0.2))
    with pytest.raises(StoreError, match=r"cut holds a training with another rows \(4, not 3\): name another folder\."):
        preference_tune(pairs(3), model=checkpoint, out=cut, config=settings)
    with pytest.raises(StoreError, match=r"cut holds a training with another fingerprint"):
        preference_tune(pairs(weight=0.5), model=checkpoint, out=cut, config=settings)


def test_rows_have_a_sample_for_each_prompt_that_a_server_would_send(tokenizer):
    rows, report = encode_pairs(pairs(2), tokenizer)
    samples = [len(row[f"{side}_ids"]) for row in rows for side in ("chosen", "rejected")]
    assert samples == ([1] * 4 if report.mode == "conversation" else [2] * 4)
    assert report.samples == sum(samples)
    assert (report.pairs, report.rows, report.too_long) == (2, 2, 0)
    weights = [weight for row in rows for sample in row["chosen_weights"] for weight in sample]
    assert report.chosen_tokens == sum(weight > 0 for weight in weights)
    assert report.lines()[0].startswith(f"2 rows from 2 pairs: {report.tokens:,} tokens, of which ")


def test_a_pair_that_is_too_long_is_left_out_whole(tokenizer, checkpoint, tmp_path):
    long = make_pair(7)
    chatter = long.chosen[1].model_copy(update={"content": "Observation: " + "blah " * 300})
    long = long.model_copy(update={"chosen": (long.chosen[0], chatter, *long.chosen[2:])})
    _, whole = encode_pairs(pairs(2), tokenizer)
    rows, report = encode_pairs([*pairs(1), long, make_pair(1)], tokenizer, max_length=whole.longest)
    assert (report.pairs, report.rows, report.too_long) == (3, 2, 1)
    assert rows["chosen_ids"][:] == encode_pairs(pairs(2), tokenizer)[0]["chosen_ids"][:]
    assert report.lines()[-1] == "1 pairs are longer than a sample may be: left out."
    with pytest.raises(DataError, match=r"^None of the 1 pairs fits into max_length=20: nothing to train on\.$"):
        preference_tune([long], model=checkpoint, out=tmp_path / "a", config=config(max_length=20))


def test_what_cannot_be_trained_on_is_refused(tokenizer, checkpoint, tmp_path):
    with pytest.raises(DataError, match=r"^There are no pairs to train on\.$"):
        preference_tune([], model=checkpoint, out=tmp_path / "a")
    with pytest.raises(DataError, match=r"'no/such-model' is neither a folder nor on this machine"):
        preference_tune(pairs(1), model="no/such-model", out=tmp_path / "b")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(StoreError, match=r"is not empty and holds no preference\.json: name another folder\."):
        preference_tune(pairs(1), model=checkpoint, out=tmp_path / "full")
    with pytest.raises(ValidationError, match="trainer must not set beta, max_length: the exact masks, or fields of"):
        PreferenceConfig(trainer={"max_length": 10, "beta": 1})
    with pytest.raises(ValidationError, match="'sigmoid', 'hinge'"):
        PreferenceConfig(loss_type="aot")


SCRIPT = """
import pathlib, os, sys
from step_envs.training.preferences.pair_data import read_pairs
from step_envs.training.preferences.tuning import PreferenceConfig, preference_tune
settings = PreferenceConfig(max_steps=3, batch_size=int(sys.argv[4]), learning_rate=1e-3, warmup=0, logging_steps=1)
preference_tune(read_pairs(sys.argv[1]), model=sys.argv[2], out=sys.argv[3], config=settings)
pathlib.Path(sys.argv[3], f"rank-{os.environ['RANK']}").write_text("done")
"""


def test_two_processes_train_what_one_does(tmp_path):
    # With a sample for each reply: the processes have as many sides, and other numbers of samples.
    checkpoint = save_checkpoint(make_tokenizer("bytes", "qwen3"), tmp_path / "model")
    file, script = tmp_path / "pairs.jsonl", tmp_path / "train.py"
    file.write_text("".join(f"{pair.model_dump_json()}\n" for pair in pairs()))
    script.write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    for processes, batch, name in ((1, 2, "one"), (2, 1, "two")):
        subprocess.run(
            [*launch, "--nproc_per_node", str(processes), str(script), file, checkpoint, tmp_path / name, str(batch)],
            check=True,
            timeout=300,
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert len(list((tmp_path / name).glob("rank-*"))) == processes
    one, two = (
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path / name).state_dict() for name in ("one", "two")
    )
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-4)


def test_pairs_of_other_tasks_are_measured_and_not_trained_on(tokenizer, checkpoint, tmp_path):
    settings = config(max_steps=3, logging_steps=2)
    given = {"model": checkpoint, "config": settings, "tokenizer": tokenizer}
    plain = preference_tune(pairs(4), out=tmp_path / "plain", **given)
    watched = preference_tune(pairs(4), out=tmp_path / "watched", validation=pairs(6)[4:], **given)
    history = json.loads((watched / "trainer_state.json").read_text())["log_history"]
    measured = [one for one in history if "eval_loss" in one]
    assert [one["step"] for one in measured] == [2, 3]
    assert all("eval_rewards/margins" in one for one in measured)
    figures = json.loads((watched / "preference.json").read_text())["figures"]
    assert figures["validation_loss"] == measured[-1]["eval_loss"]
    assert (plain / "model.safetensors").read_bytes() == (watched / "model.safetensors").read_bytes()
    assert {"loss.svg", "loss.png"} <= {path.name for path in watched.iterdir()}
