"""Prompts with privileged context: right for the state in which they end, and unseen by the student."""

import json

import gymnasium as gym
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_preference_pairs import WORLDS, play, play_by_hand

from step_envs.errors import StoreError
from step_envs.exports import export
from step_envs.training.distillation.privileged_context import privileged_rows, read_privileged
from step_envs.training.preferences.pairs import is_error, step_pairs
from step_envs.trajectory import Verdict

ALFWORLD = WORLDS[0]
COLUMNS = {"prompt", "privileged_context", "env_id", "task_id", "episode", "turn", "status", "action", "source"}


@pytest.fixture(scope="module", params=WORLDS)
def watched(request):
    """Episodes with errors, judged after they ran and before."""
    return {how: play(request.param, "novice:error_rate=0.5", intervene=how) for how in ("after", "before")}


@pytest.fixture(scope="module")
def episodes():
    return play(ALFWORLD, "novice:error_rate=0.5", intervene="after")


def with_verdicts(trajectory, change):
    """Replace the verdicts of a record by others; ``change`` is called with each and its place."""
    turns = [
        turn if turn.verdict is None else turn.model_copy(update={"verdict": change(turn.verdict, at)})
        for at, turn in enumerate(trajectory.turns)
    ]
    return trajectory.model_copy(update={"turns": tuple(turns)})


def test_a_row_names_the_right_action_for_the_state_in_which_its_prompt_ends(watched):
    for how, episodes in watched.items():
        of_number = {one.episode: one for one in episodes}
        rows, report = privileged_rows(episodes)
        assert rows
        assert report.candidates == sum(is_error(turn) for one in episodes for turn in one.turns)
        assert report.candidates == report.rows + report.left_out.total()
        with gym.make(rows[0].env_id) as other:
            for row in rows:
                trajectory = of_number[row.episode]
                world = other.unwrapped
                before = play_by_hand(other, trajectory, row.turn)
                wrong = trajectory.turns[row.turn]
                right, worse = (world.oracle.distance(before, after=[action]) for action in (row.action, wrong.action))
                assert right is not None
                assert worse is None or right < worse
                assert f"The right action: {row.action}" in row.privileged_context
                if how == "before":
                    assert (row.source, row.action) == ("correction", wrong.verdict.corrected_action)


def test_rows_name_the_actions_of_the_pairs_from_the_same_state(watched):
    for episodes in watched.values():
        rows, _ = privileged_rows(episodes)
        pairs, _ = step_pairs(episodes)
        of_pair = {(pair.episode, pair.turn): pair for pair in pairs}
        for row in rows:
            pair = of_pair[row.episode, row.turn]
            assert row.source == pair.chosen_source
            assert f"Action: {row.action}" in pair.chosen[0].content


def test_the_prompt_is_the_conversation_before_the_reply_that_was_judged(watched):
    for episodes in watched.values():
        of_number = {one.episode: one for one in episodes}
        rows, report = privileged_rows(episodes, judged="all")
        assert {row.status for row in rows} == {"error", "ok"}
        assert report.candidates == report.rows + report.left_out.total()
        for row in rows:
            turns = of_number[row.episode].turns
            assert [(one.role, one.content) for one in row.prompt] == [
                (turn.role, turn.content) for turn in turns[: row.turn]
            ]
            assert row.prompt[-1].role == "user", "TRL writes the context into the last message of the user"
            assert turns[row.turn].verdict.status == row.status
            if row.status == "ok":
                assert row.action == turns[row.turn].action
                assert row.privileged_context.splitlines()[0] == f"The action {row.action!r} is right here."


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=3, max_size=3))
def test_no_prompt_depends_on_a_verdict(episodes, words):
    """Whatever a verdict says, the prompts are the same, and what it says is in its own context alone."""
    marks = [f"zq{number}[{text}]" for number, text in enumerate(words)]

    def change(verdict, at):
        if verdict.status != "error":
            return verdict
        error, reason, reflection = (f"{mark}@{at}" for mark in marks)
        return verdict.model_copy(update={"error": error, "reason": reason, "reflection": reflection})

    was, _ = privileged_rows(episodes)
    now, _ = privileged_rows([with_verdicts(one, change) for one in episodes])
    assert [row.prompt for row in now] == [row.prompt for row in was]
    for row in now:
        for mark in marks[:2]:
            assert " ".join(f"{mark}@{row.turn}".split()) in row.privileged_context
        for other in now:
            assert not any("zq" in message.content for message in other.prompt)
            assert not any(row.privileged_context in message.content for message in other.prompt)


def test_words_that_answer_another_state_are_left_out(episodes):
    """A reflection says what to do after the error ran; before it, the oracle's words are said instead."""
    marked = [
        with_verdicts(one, lambda verdict, at: verdict.model_copy(update={"reflection": "zq then"})) for one in episodes
    ]
    rows, _ = privileged_rows(marked)
    assert {"oracle"} <= {row.source for row in rows}
    for row in rows:
        assert ("zq then" in row.privileged_context) == (row.source == "correction")


def test_what_was_left_out_is_said(episodes):
    first = episodes[0]
    at = next(at for at, turn in enumerate(first.turns) if is_error(turn))
    twice = [first, first.model_copy(update={"episode": 9})]
    rows, report = privileged_rows(twice)
    errors = sum(is_error(turn) for turn in first.turns)
    assert report.left_out == {"the same as another row": errors}
    assert report.lines() == [
        f"{errors} prompts from {2 * errors} judged replies in 2 trajectories.",
        f"Prompts by whose action they name: oracle {errors}.",
        f"Left out: {errors} the same as another row.",
    ]
    # The world answers otherwise than in the record.
    answer = first.turns[at + 1].model_copy(update={"content": "Observation: a dragon."})
    other = first.model_copy(update={"turns": (*first.turns[: at + 1], answer, *first.turns[at + 2 :])})
    rows, report = privileged_rows([other])
    assert (rows, report.left_out) == ([], {"in an episode that the world does not repeat": errors})
    # The teacher called wrong what the oracle would do.
    golden = play(ALFWORLD, "oracle", intervene="after")[0]
    wrong = Verdict(status="error", error="no", corrected_action="look")
    at = next(at for at, turn in enumerate(golden.turns) if turn.verdict is not None)
    judged = golden.turns[at].model_copy(update={"verdict": wrong, "kind": "agent"})
    turns = (*golden.turns[:at], judged, *golden.turns[at + 1 :])
    rows, report = privileged_rows([golden.model_copy(update={"turns": turns})])
    assert (rows, report.left_out) == ([], {"whose action is the right one": 1})
    with pytest.raises(ValueError, match=r"^judged must be 'errors' or 'all', got 'none'\.$"):
        privileged_rows([], judged="none")


def test_the_exports_hold_the_rows(episodes, tmp_path):
    rows, report = privileged_rows(episodes)
    said = []
    assert export(episodes, tmp_path / "rows.jsonl", "privileged", say=said.append) == len(rows)
    assert said == report.lines()
    assert list(read_privileged(tmp_path / "rows.jsonl")) == rows
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert all(line.keys() == COLUMNS for line in lines)
    pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra data")
    export(episodes, tmp_path / "rows.parquet", "privileged-parquet")
    assert pq.read_table(tmp_path / "rows.parquet").to_pylist() == lines
    assert export([], tmp_path / "none.parquet", "privileged-parquet") == 0
    assert set(pq.read_table(tmp_path / "none.parquet").column_names) == COLUMNS
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"prompt": []}\n')
    with pytest.raises(
        StoreError, match=rf"^Line {len(rows) + 1} of .*rows\.jsonl is not a row with privileged context: "
    ):
        list(read_privileged(tmp_path / "rows.jsonl"))
