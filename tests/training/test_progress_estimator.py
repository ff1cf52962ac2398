"""The progress estimator: what it is trained on, what it must not see, and that its values rank states it has not seen."""

import json
import math

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
transformers = pytest.importorskip("transformers", reason="needs the extra train")
pytest.importorskip("datasets", reason="needs the extra train")
pytest.importorskip("trl", reason="needs the extra train")

from made_episodes import make_episode
from small_checkpoints import Stop, save_checkpoint
from small_tokenizers import make_tokenizer
from typer.testing import CliRunner

from step_envs.cli import app
from step_envs.collection import CollectConfig, collect
from step_envs.credit import ProgressEstimator, agreement, annotate, make_value_function, step_advantages
from step_envs.credit.annotation import AnnotateConfig, with_values
from step_envs.credit.episode_tokens import EpisodeEncoder
from step_envs.credit.estimator_model import EstimatorModel, load_network
from step_envs.errors import DataError, StoreError
from step_envs.store import TrajectoryStore, read_trajectories
from step_envs.training.experiments.worlds import experiment_world
from step_envs.training.progress.episode_rows import encode_episodes, split_by_task
from step_envs.training.progress.training import ProgressConfig, train_progress_estimator
from step_envs.training.tiny_model import TinyModelSize, learn_tokenizer, make_tiny_model

pytestmark = [pytest.mark.train, pytest.mark.slow]

TEMPLATES = ["chatml", "qwen3"]
"""One that only adds to its text, and one that takes thoughts out of earlier replies: one sample an episode, and many."""
THOUGHT = "<think>\nhm\n</think>\n"


def episodes(count=8):
    """Episodes in which one kind of reply decides the outcome."""
    return [
        make_episode(
            [f"{THOUGHT}Action: open box {number}", f"{THOUGHT}Action: {'take coin' if number % 2 else 'sleep'}"]
            + [f"{THOUGHT}Action: look"] * (number % 3),
            float(number % 2),
            task=f"coin {number // 2}",
        )
        for number in range(count)
    ]


@pytest.fixture(scope="module", params=TEMPLATES)
def tokenizer(request):
    return make_tokenizer("bytes", request.param)


@pytest.fixture(scope="module")
def checkpoint(tokenizer, tmp_path_factory):
    return save_checkpoint(tokenizer, tmp_path_factory.mktemp("model"), num_hidden_layers=2)


@pytest.fixture(scope="module")
def estimator(checkpoint, tmp_path_factory):
    """An estimator that has learned the episodes."""
    out = tmp_path_factory.mktemp("estimator") / "out"
    return train_progress_estimator(episodes(), model=checkpoint, out=out, config=config(max_steps=60))


def config(**changes):
    usual = {"max_steps": 4, "batch_size": 4, "accumulate": 1, "learning_rate": 3e-3, "logging_steps": 1, "warmup": 0.0}
    return ProgressConfig(**usual | {"held_out": 0.25} | changes)


def make_trainer(checkpoint, out, some=None, **changes):
    """Return the trainer before its first step."""

    class MadeError(Exception):
        """Ends the training where it would begin."""

    caught = []

    def catch(trainer):
        caught.append(trainer)
        raise MadeError

    with pytest.raises(MadeError):
        train_progress_estimator(
            some or episodes(), model=checkpoint, out=out, config=config(**changes), on_trainer=catch
        )
    return caught[0]


def shift_weights(model):
    """Make the head, which begins at 0, predict something."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)


def reading(network, tokenizer):
    return EstimatorModel(network.eval(), EpisodeEncoder(tokenizer))


def test_the_loss_is_the_squared_error_of_the_sum(tokenizer, checkpoint, tmp_path):
    some = episodes()
    trainer = make_trainer(checkpoint, tmp_path / "run", some, held_out=0.0)
    shift_weights(trainer.model)
    model = reading(trainer.model, tokenizer)
    numbers = [number for one in some for number in model.contributions(one)]
    with torch.no_grad():
        trainer.model.score.bias -= sum(numbers) / len(numbers)
    assert min(map(min, map(model.contributions, some))) < 0, "a contribution may be negative"
    found = trainer.compute_loss(trainer.model, trainer.data_collator(list(trainer.train_dataset)))
    by_hand = sum((sum(model.contributions(one)) - one.score) ** 2 for one in some) / len(some)
    assert found.item() == pytest.approx(by_hand, rel=1e-4)
    assert found.item() > 0.01


def test_a_score_below_0_counts_as_0(tokenizer):
    lost = make_episode(["Action: look"], 0.0).model_copy(update={"score": -1.0})
    rows, report = encode_episodes([lost, *episodes(2)], EpisodeEncoder(tokenizer))
    assert rows["outcome"][:] == [0.0, 0.0, 1.0]
    assert (report.episodes, report.rows, report.mean_outcome) == (3, 3, pytest.approx(1 / 3))


def test_a_batch_read_in_parts_has_the_same_gradient_as_one_read_at_once(tokenizer, checkpoint, tmp_path):
    gradients = []
    for name, size in (("parts", 1), ("whole", 1000)):
        trainer = make_trainer(checkpoint, tmp_path / name, batch_size=size)
        shift_weights(trainer.model)
        trainer.compute_loss(trainer.model, trainer.data_collator(list(trainer.train_dataset))).backward()
        gradients.append({name: one.grad for name, one in trainer.model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-3, atol=1e-5)
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients[0].values())


def test_only_predictions_at_the_ends_of_replies_enter_the_loss(tokenizer, checkpoint, tmp_path):
    """The gradient of a prediction is zero at every token but the last ones of replies and of the first prompt."""
    trainer = make_trainer(checkpoint, tmp_path / "run", batch_size=1000)
    shift_weights(trainer.model)
    predictions = []

    def keep(module, arguments, output):
        output.retain_grad()
        predictions.append(output)

    trainer.model.score.register_forward_hook(keep)
    batch = trainer.data_collator(list(trainer.train_dataset))
    trainer.compute_loss(trainer.model, batch).backward()
    (predicted,) = predictions
    reached = {tuple(place) for place in (predicted.grad[..., 0] != 0).nonzero().tolist()}
    assert reached == set(zip(batch["rows"].tolist(), batch["columns"].tolist(), strict=True))
    ends = {tokenizer.decode(batch["input_ids"][row, column]) for row, column in reached}
    assert ends == {"<|im_end|>", "\n"}, "the ends of replies, and the one of the generation prompt"


def test_a_contribution_does_not_depend_on_what_follows(tokenizer, estimator):
    """Later turns may be other ones, or not there; earlier ones may not."""
    function = make_value_function(f"estimator:model={estimator}")
    (whole,) = [one for one in episodes() if one.task_id == "coin 2" and one.success]
    found = function.contributions(whole)
    assert len(found) == 5
    for kept in range(1, 4):
        cut = whole.model_copy(update={"turns": whole.turns[: 3 + 2 * kept - 1]})
        assert function.contributions(cut) == pytest.approx(found[: kept + 1], abs=1e-5)
    turns = list(whole.turns)
    turns[6] = turns[6].model_copy(update={"content": "Observation: you sleep for ever."})
    other = function.contributions(whole.model_copy(update={"turns": tuple(turns)}))
    assert other[:3] == pytest.approx(found[:3], abs=1e-5)
    assert other[3:] != pytest.approx(found[3:], abs=1e-5)


def test_training_changes_head_and_backbone_and_learns_the_outcomes(tokenizer, checkpoint, estimator):
    before, after = load_network(checkpoint, torch.float32), load_network(estimator, torch.float32)
    assert not before.score.weight.any(), "a new head predicts 0"
    ours = dict(after.named_parameters())
    assert all(not torch.equal(one, ours[name]) for name, one in before.named_parameters())
    function = ProgressEstimator(str(estimator))
    # All episodes but those of one task were trained on, and the reply decides the outcome in it as in the others.
    predicted = [sum(function.contributions(one)) for one in episodes()]
    assert [one > 0.5 for one in predicted] == [False, True] * 4
    record = json.loads((estimator / "progress.json").read_text())
    assert record["complete"]
    assert record["figures"]["rows"] == 8
    assert record["figures"]["held_out"]["episodes"] == 2
    assert record["figures"]["held_out"]["squared_error"] < 0.25, "better than always predicting the mean"


def test_values_are_the_sums_cut_to_what_a_value_may_be(estimator):
    function = ProgressEstimator(str(estimator))
    for episode in episodes():
        sums = torch.tensor(function.contributions(episode)).cumsum(0)
        values = function.values(episode)
        places = [number for number, value in enumerate(values) if value is not None]
        assert places[:3] == [2, 3, 5], "the task, then every reply; not the OK to the manual"
        assert [values[place] for place in places] == pytest.approx(sums.clamp(0, 1).tolist(), abs=1e-5)
        valued = with_values(episode, values, function.describe())
        advantages = [one for one in step_advantages(valued) if one is not None]
        assert sum(advantages) == pytest.approx(values[places[-1]] - values[2], abs=1e-5)
    assert function.describe().params == {"model": str(estimator), "discount": 1.0}


def test_an_episode_that_does_not_fit_into_the_context_gets_no_values(checkpoint, tmp_path):
    out = train_progress_estimator(episodes(), model=checkpoint, out=tmp_path / "out", config=config(max_length=700))
    function = ProgressEstimator(str(out))
    assert function.values(episodes()[0])[2] is not None
    # A reply is never shortened, an observation that has been answered is.
    wordy = make_episode(["Action: look " + "around " * 400], 0.0)
    assert function.values(wordy) == [None] * len(wordy.turns)
    talkative = make_episode(["Action: look"] * 3, 0.0, observation="Observation: box {}. " + "It is red. " * 30)
    assert len(function.contributions(talkative)) == 4
    with pytest.raises(
        DataError, match=r"^None of the 1 episodes can be trained on: 0 have no reply, 1 are longer than"
    ):
        train_progress_estimator([wordy], model=checkpoint, out=tmp_path / "none", config=config(max_length=700))


def test_all_estimators_of_a_process_share_one_model(estimator, monkeypatch):
    first = ProgressEstimator(str(estimator))
    monkeypatch.setattr("step_envs.credit.estimator_model.load_network", None)
    second = ProgressEstimator(str(estimator))
    assert second.values(episodes()[0]) == first.values(episodes()[0])


def test_threads_write_the_same_values_as_one(estimator, tmp_path):
    with TrajectoryStore(tmp_path / "run" / "trajectories.jsonl") as store:
        for number, episode in enumerate(episodes(12)):
            store.append(episode.model_copy(update={"episode": number}))
    for name, number in (("one", 1), ("four", 4)):
        annotate(
            AnnotateConfig(runs=(tmp_path / "run",), value=f"estimator:model={estimator}", concurrency=number),
            tmp_path / name,
        )
    one, four = (list(read_trajectories(tmp_path / name)) for name in ("one", "four"))
    assert one == four
    assert one[0].valued_by.params == {"model": str(estimator), "discount": 1.0}


def test_a_training_stopped_midway_ends_as_one_that_was_not(checkpoint, tmp_path):
    settings = config(max_steps=6, save_steps=2)
    whole = train_progress_estimator(episodes(), model=checkpoint, out=tmp_path / "whole", config=settings)
    with pytest.raises(KeyboardInterrupt):
        train_progress_estimator(
            episodes(),
            model=checkpoint,
            out=tmp_path / "cut",
            config=settings,
            on_trainer=lambda trainer: trainer.add_callback(Stop(3)),
        )
    with pytest.raises(DataError, match=r"estimator in .*cut is not complete: run it again to go on\.$"):
        ProgressEstimator(str(tmp_path / "cut"))
    cut = train_progress_estimator(episodes(), model=checkpoint, out=tmp_path / "cut", config=settings)
    one, two = (load_network(folder, torch.float32).state_dict() for folder in (whole, cut))
    assert all(torch.equal(one[name], two[name]) for name in one)
    before = (cut / "model.safetensors").stat().st_mtime_ns
    assert train_progress_estimator(episodes(), model=checkpoint, out=cut, config=settings) == cut
    assert (cut / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(
        StoreError, match=r"cut holds a training with another config\.held_out \(0\.25, not 0\.5\): name an"
    ):
        train_progress_estimator(
            episodes(), model=checkpoint, out=cut, config=config(max_steps=6, save_steps=2, held_out=0.5)
        )
    with pytest.raises(StoreError, match=r"cut holds a training with another rows \(8, not 6\): name another folder\."):
        train_progress_estimator(episodes(6), model=checkpoint, out=cut, config=settings)


def test_with_lora_the_result_is_a_whole_model(checkpoint, tmp_path):
    out = train_progress_estimator(
        episodes(), model=checkpoint, out=tmp_path / "lora", config=config(max_steps=3, lora_rank=2)
    )
    assert not (out / "adapter_model.safetensors").exists()
    before, after = load_network(checkpoint, torch.float32), load_network(out, torch.float32)
    assert after.score.weight.any()
    assert not torch.equal(before.model.layers[0].mlp.up_proj.weight, after.model.layers[0].mlp.up_proj.weight)
    assert torch.equal(before.model.embed_tokens.weight, after.model.embed_tokens.weight)
    assert math.isfinite(sum(ProgressEstimator(str(out)).contributions(episodes()[0])))


def test_what_cannot_be_trained_on_is_refused(checkpoint, tmp_path):
    won = [one for one in episodes() if one.success]
    with pytest.raises(
        DataError,
        match=r"^All 3 episodes to train on end with the score 1, and an estimator learns from outcomes that differ: give",
    ):
        train_progress_estimator(won, model=checkpoint, out=tmp_path / "a", config=config())
    with pytest.raises(
        DataError, match=r"^None of the 0 episodes can be trained on: 0 have no reply, 0 are longer than"
    ):
        train_progress_estimator([], model=checkpoint, out=tmp_path / "a", config=config())
    with pytest.raises(
        DataError, match=r"^There is only one task, so that none can be held out: give more tasks, or he"
    ):
        train_progress_estimator(episodes(2), model=checkpoint, out=tmp_path / "a", config=config())
    with pytest.raises(DataError, match=r"'no/such-model' is neither a folder nor on this machine"):
        train_progress_estimator(episodes(), model="no/such-model", out=tmp_path / "a")
    assert not (tmp_path / "a").exists()
    with pytest.raises(
        DataError, match=r"holds no progress estimator \(progress\.json\): train one with train_progress"
    ):
        make_value_function(f"estimator:model={checkpoint}")


def test_no_task_is_both_trained_on_and_held_out():
    tasks = [f"coin {number // 3}" for number in range(30)]
    to_train, held_out = split_by_task(tasks, 0.25, seed=0)
    assert sorted(to_train + held_out) == list(range(30))
    assert not {tasks[row] for row in to_train} & {tasks[row] for row in held_out}
    assert len({tasks[row] for row in held_out}) == 3
    assert split_by_task(tasks, 0.25, seed=1)[1] != held_out
    assert split_by_task(tasks, 0.0, seed=0) == (list(range(30)), [])


def test_an_estimator_of_novice_runs_ranks_states_and_steps_of_other_tasks_as_the_oracle_does(tmp_path):
    """From the command line to the figures: played, trained on outcomes alone, annotated in threads, compared."""
    for name, split, count, rate in (
        ("careful", "train", 200, 0.2),
        ("careless", "train", 300, 0.5),
        ("other", "valid_unseen", 40, 0.5),
    ):
        options = {"household": "small", "max_steps": 20}
        agent = f"novice:error_rate={rate}"
        made = CollectConfig(env="STeP-ALFWorld-v0", env_options=options, split=split, episodes=count, agent=agent)
        collect(made, tmp_path / name)
    trained = [one for name in ("careful", "careless") for one in read_trajectories(tmp_path / name)]
    tokenizer = learn_tokenizer(
        (turn.content for one in trained for turn in one.turns), experiment_world("STeP-ALFWorld-v0").names(())
    )
    size = TinyModelSize(width=64, layers=2, heads=2)
    estimator = train_progress_estimator(
        trained,
        model=make_tiny_model(tokenizer, size, tmp_path / "model"),
        out=tmp_path / "estimator",
        config=config(max_steps=250, batch_size=8, learning_rate=2e-3, held_out=0.05),
    )
    value = f"estimator:model={estimator}"
    for out, options in (("learned", ["--value", value, "--concurrency", "2"]), ("exact", [])):
        arguments = ["annotate", str(tmp_path / "other"), "--out", str(tmp_path / out), *options, "--json"]
        found = CliRunner().invoke(app, arguments)
        assert (found.exit_code, json.loads(found.stdout)["unvalued"]) == (0, 0)
    figures = agreement(read_trajectories(tmp_path / "learned"), read_trajectories(tmp_path / "exact"))
    assert figures.outcome.episodes == 40
    assert figures.states > 300
    # Measured: 0.72 and 0.46. Counting replies gives the first as well, but nothing of the second.
    assert figures.spearman > 0.3
    assert figures.spearman_changes > 0.2
