"""From trajectories to rows: masks, windows, mixing, and the account of them."""

import gymnasium as gym
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("transformers", reason="needs the extra train")
pytest.importorskip("trl", reason="needs the extra train")

from small_tokenizers import make_tokenizer

import step_envs  # noqa: F401
from step_envs.agents.base import make_agent
from step_envs.collection.rollouts import rollout
from step_envs.errors import UnknownNameError
from step_envs.training.dataset import build_dataset, mix
from step_envs.training.masking import begins_at, masked_messages
from step_envs.training.tokens import IGNORED, tokenize_trajectory
from step_envs.training.windowing import windows
from step_envs.wrappers import ReActWrapper, TeacherMonitorWrapper
from step_envs.wrappers.teachers import OracleTeacher

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def trajectories():
    env = TeacherMonitorWrapper(ReActWrapper(gym.make("STeP-ALFWorld-v0", source="generated")), OracleTeacher())
    return [rollout(env, make_agent("novice:error_rate=0.3"), seed=seed) for seed in range(12)]


@pytest.fixture(scope="module")
def with_error(trajectories):
    return next(one for one in trajectories if one.errors and one.success)


def labels(dataset):
    return sum(label != IGNORED for row in dataset["labels"] for label in row)


def test_the_three_masks(with_error):
    errors = [turn.content for turn in with_error.turns if turn.kind == "error"]
    losses = {masking: masked_messages(with_error, masking) for masking in ("partial", "none", "drop")}
    assert [m["content"] for m in losses["none"] if m["loss"]][: len(errors) + 1]
    assert {m["content"] for m in losses["none"] if m["loss"]} - {
        m["content"] for m in losses["partial"] if m["loss"]
    } <= set(errors)
    assert len(losses["drop"]) == len(with_error.turns) - 2 * len(errors)
    assert [m["role"] for m in losses["drop"]] == (["user", "assistant"] * len(losses["drop"]))[: len(losses["drop"])]
    half = masked_messages(with_error, "partial", error_weight=0.5)
    assert [m["loss"] for m in half if m["loss"] not in (0, 1)] == [0.5] * len(errors)


def test_masks_that_do_not_exist_or_weights_that_cannot_be(with_error):
    with pytest.raises(UnknownNameError, match=r"Unknown masking 'partly'\. Did you mean 'partial'\?"):
        masked_messages(with_error, "partly")
    with pytest.raises(ValueError, match=r'error_weight goes with masking="partial", not with \'drop\'\.'):
        masked_messages(with_error, "drop", error_weight=0.5)
    with pytest.raises(ValueError, match=r"error_weight must be from 0 to 1, got 2\."):
        masked_messages(with_error, error_weight=2)


def test_rows_hold_what_the_encoder_gave_and_the_account_is_right(trajectories):
    tokenizer = make_tokenizer("bytes", "chatml")
    dataset, report = build_dataset(trajectories, tokenizer)
    given_ = [sample for one in trajectories for sample in tokenize_trajectory(one, tokenizer)]
    assert dataset["input_ids"][:] == [sample["input_ids"] for sample in given_]
    assert dataset["labels"][:] == [sample["labels"] for sample in given_]
    assert dataset.column_names == ["input_ids", "labels"]
    assert (report.rows, report.trained_tokens) == (len(given_), labels(dataset))
    assert report.tokens == sum(map(len, dataset["input_ids"]))
    assert (report.mode, report.windowed, report.left_out) == ("conversation", 0, 0)
    assert report.lines()[0].startswith(f"{report.rows} rows from 12 trajectories: ")


def test_weights_come_along_where_they_say_something(trajectories):
    dataset, report = build_dataset(trajectories, make_tokenizer("bytes", "chatml"), error_weight=0.25)
    assert set(dataset.column_names) == {"input_ids", "labels", "weights"}
    flat = [weight for row in dataset["weights"] for weight in row]
    assert set(flat) == {0.0, 0.25, 1.0}
    assert report.trained_weight == pytest.approx(sum(flat))
    assert report.trained_tokens == sum(weight > 0 for weight in flat)


@pytest.mark.parametrize("template", ["chatml", "qwen3"])
def test_long_trajectories_become_windows_in_which_every_turn_is_trained_once(trajectories, template):
    tokenizer = make_tokenizer("bytes", template)
    whole, _ = build_dataset(trajectories, tokenizer)
    limit = 2000
    dataset, report = build_dataset(trajectories, tokenizer, max_length=limit)
    assert max(map(len, dataset["input_ids"])) <= limit
    assert report.windowed > 0
    assert all(any(label != IGNORED for label in row) for row in dataset["labels"])
    assert labels(dataset) == labels(whole)
    assert report.left_out == 0
    task = tokenizer.decode(whole["input_ids"][0][:200])
    assert tokenizer.decode(dataset["input_ids"][0][:200]) == task


def test_a_trajectory_encoded_turn_by_turn_counts_once_however_many_windows_it_has(trajectories):
    tokenizer = make_tokenizer("bytes", "chatml")
    # The empty lines merge with the one that ends the prompt.
    merging = [
        one.model_copy(
            update={
                "turns": tuple(
                    turn.model_copy(update={"content": f"\n\n{turn.content}"}) if turn.role == "assistant" else turn
                    for turn in one.turns
                )
            }
        )
        for one in trajectories
    ]
    whole, report = build_dataset(merging, tokenizer)
    assert (report.mode, report.fell_back) == ("conversation", 12)
    cut, windowed = build_dataset(merging, tokenizer, max_length=2000)
    assert windowed.windowed > 0
    assert windowed.fell_back == 12
    assert labels(cut) == labels(whole)
    assert max(map(len, cut["input_ids"])) <= 2000


def test_turns_that_never_fit_are_counted_and_nothing_left_is_refused(trajectories):
    with pytest.raises(
        ValueError,
        match=r"^Nothing to train on: none of 12 trajectories gives a row \(0 without a trained turn, \d+ turns",
    ):
        build_dataset(trajectories, make_tokenizer("bytes", "chatml"), max_length=50)


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(
        st.tuples(st.integers(1, 30), st.integers(1, 30), st.sampled_from([0.0, 1.0])), min_size=1, max_size=20
    ),
    limit=st.integers(20, 200),
)
def test_windows_keep_their_promises(sizes, limit):
    head = [{"role": "user", "content": "x" * 10, "loss": 0.0}]
    messages = list(head)
    for number, (reply, observation, loss) in enumerate(sizes):
        messages.append({"role": "assistant", "content": f"{number}".ljust(reply), "loss": loss})
        messages.append({"role": "user", "content": "o" * observation, "loss": 0.0})

    def length(some):
        return sum(len(message["content"]) for message in some)

    found = windows(messages, 1, limit, length)
    trained = [m["content"] for window in found.messages for m in window if m["loss"]]
    wanted = [m["content"] for m in messages if m["loss"]]
    assert len(trained) + found.left_out == len(wanted)
    assert [content for content in wanted if content in trained] == trained
    for window in found.messages:
        assert length(window) <= limit
        assert window[0] == head[0]
        contents = [m["content"] for m in window[1:]]
        everything = [m["content"] for m in messages[1:]]
        assert any(everything[at : at + len(contents)] == contents for at in range(len(everything))), "one piece, uncut"
    if length(messages[:-1]) <= limit:
        assert len(found.messages) == 1


def test_the_head_is_manual_and_task(with_error):
    head = begins_at(with_error)
    assert {turn.kind for turn in with_error.turns[:head]} <= {"instruction", "observation"}
    assert with_error.turns[head].role == "assistant"


def test_mixing(trajectories):
    golden, reflected = trajectories[:8], trajectories[8:]
    together = mix(golden, reflected, seed=1)
    assert sorted(map(id, together)) == sorted(map(id, trajectories))
    assert together == mix(golden, reflected, seed=1) != mix(golden, reflected, seed=2)
    half = mix(golden, reflected, reflected_share=0.5)
    assert (sum(one in golden for one in half), sum(one in reflected for one in half)) == (4, 4)
    assert len(mix(golden, reflected, reflected_share=0)) == 8
    with pytest.raises(ValueError, match=r"A share of 0\.5 is to be reflected trajectories, and there is none\."):
        mix(golden, [], reflected_share=0.5)


def test_a_trained_turn_of_the_head_is_trained_once():
    head = [
        {"role": "user", "content": "manual", "loss": 0.0},
        {"role": "assistant", "content": "OK", "loss": 1.0},
        {"role": "user", "content": "task", "loss": 0.0},
    ]
    steps = [
        {"role": role, "content": "x" * 10, "loss": float(role == "assistant")} for role in ("assistant", "user")
    ] * 8
    found = windows([*head, *steps], 3, 60, lambda some: sum(len(message["content"]) for message in some))
    assert len(found.messages) > 2
    assert sum(m["loss"] for window in found.messages for m in window) == 9
    assert windows(head[:2], 2, 3, lambda some: 100) == ([], 1)
