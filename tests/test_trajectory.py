"""The data model and its store."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from step_envs.errors import StoreError
from step_envs.store import TrajectoryStore, read_trajectories
from step_envs.trajectory import Actor, Trajectory, Turn, Usage, Verdict

WRONG = Verdict(status="error", error="no", corrected_action="look")


def trajectory(episode: int = 0, text: str = "hello", **changes: Any) -> Trajectory:
    turns = (
        Turn(role="user", content="Do it.", kind="instruction"),
        Turn(role="assistant", content=text, kind="error", action="x", verdict=WRONG),
        Turn(role="user", content="Nothing happens.", kind="observation"),
        Turn(role="assistant", content="Thought: sorry\nAction: look", kind="correction", loss=1.0),
    )
    fields: dict[str, Any] = {
        "env_id": "Coin-v0",
        "task_id": "coin/hall/hall",
        "task_type": "near",
        "split": "train",
        "episode": episode,
        "instruction": "Do it.",
        "agent": Actor(name="novice", params={"error_rate": 0.5}),
        "turns": turns,
        "score": 1.0,
        "success": True,
        "reward": 1.0,
        "steps": 2,
        "terminated": True,
        "truncated": False,
        "stop_reason": "success",
        "errors": 1,
        "unknown_verdicts": 0,
    }
    return Trajectory(**(fields | changes))


def test_messages_give_role_content_and_loss() -> None:
    assert trajectory().messages() == [
        {"role": "user", "content": "Do it.", "loss": 0.0},
        {"role": "assistant", "content": "hello", "loss": 0.0},
        {"role": "user", "content": "Nothing happens.", "loss": 0.0},
        {"role": "assistant", "content": "Thought: sorry\nAction: look", "loss": 1.0},
    ]


def test_a_line_names_its_schema() -> None:
    assert json.loads(trajectory().to_json())["schema"] == "step-trajectory/1"


@given(st.text(), st.floats(0, 1))
def test_a_trajectory_is_one_line_and_comes_back_equal(text: str, loss: float) -> None:
    turn = Turn(role="assistant", content=text, kind="agent", loss=loss)
    before = trajectory(text=text)
    before = Trajectory(
        **{name: getattr(before, name) for name in Trajectory.model_fields} | {"turns": (*before.turns, turn)}
    )
    line = before.to_json()
    assert "\n" not in line
    assert "\r" not in line
    assert Trajectory.from_json(line) == before


def test_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    assert Turn(role="user", content="a\ud800b", kind="observation").content == "a\ufffdb"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"role": "user", "kind": "observation", "loss": 1.0}, "a turn of role 'user' cannot carry loss, got 1.0"),
        ({"role": "user", "kind": "agent"}, "a turn of role 'user' cannot be of kind 'agent'"),
        ({"role": "assistant", "kind": "agent", "loss": 1.5}, "less than or equal to 1"),
        ({"role": "assistant", "kind": "agent", "loss": float("nan")}, "finite number"),
        ({"role": "tool", "kind": "agent"}, "'system', 'user' or 'assistant'"),
        ({"role": "assistant", "kind": "agent", "weight": 1}, "Extra inputs are not permitted"),
    ],
)
def test_a_turn_that_makes_no_sense_is_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Turn(content="x", **fields)


def test_an_error_needs_a_correction() -> None:
    with pytest.raises(ValidationError, match='a verdict of status "error" needs a corrected_action'):
        Verdict(status="error", error="wrong", corrected_action="  ")


def test_counts_must_match_the_turns() -> None:
    with pytest.raises(ValidationError, match="the counts say 3 errors and 0 unknown verdicts, the turns 1 and 0"):
        trajectory(errors=3)


def test_usage_adds_up_and_keeps_unknown_cost_unknown() -> None:
    free, paid = Usage(prompt_tokens=1), Usage(prompt_tokens=2, cost=0.5)
    assert free + free == Usage(prompt_tokens=2)
    assert free + paid == Usage(prompt_tokens=3, cost=0.5)


def test_the_store_appends_and_reads_in_order(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path / "run" / "trajectories.jsonl") as store:
        for episode in range(3):
            store.append(trajectory(episode))
    with TrajectoryStore(store.path) as again:
        again.append(trajectory(3))
    assert [read.episode for read in read_trajectories(tmp_path / "run")] == [0, 1, 2, 3]


@given(cut=st.integers(0, 10_000))
def test_half_a_line_is_cut_off_and_nothing_else(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("store") / "t.jsonl"
    with TrajectoryStore(path) as store:
        for episode in range(2):
            store.append(trajectory(episode, text="x" * 500))
    whole = path.read_bytes()
    cut = min(cut, len(whole))
    path.write_bytes(whole[:cut])
    # A last line that lacks nothing but its line break is whole.
    ends = [place for place in range(1, len(whole)) if whole[place : place + 1] == b"\n"]
    lines = sum(place <= cut for place in ends)
    assert [read.episode for read in read_trajectories(path)] == list(range(lines))
    with TrajectoryStore(path) as store:
        store.append(trajectory(9))
    assert [read.episode for read in read_trajectories(path)] == [*range(lines), 9]


def test_a_corrupt_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(trajectory().to_json() + "\n" + '{"schema": "step-trajectory/1"}\n' + trajectory().to_json() + "\n")
    with pytest.raises(StoreError, match=rf"^Line 2 of {path} is not a trajectory: Field required \(at env_id\)\.$"):
        list(read_trajectories(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"^Cannot read .*nowhere\.jsonl: No such file or directory\.$"):
        list(read_trajectories(tmp_path / "nowhere.jsonl"))


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with (
        TrajectoryStore(tmp_path / "t.jsonl"),
        pytest.raises(StoreError, match="Another process is writing"),
    ):
        TrajectoryStore(tmp_path / "t.jsonl")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_closed_file_is_free_though_a_child_has_a_copy_of_it(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    wait, end = os.pipe()
    with TrajectoryStore(path):
        child = os.fork()
        if child == 0:
            os.close(end)
            os.read(wait, 1)
            os._exit(0)
    with TrajectoryStore(path) as again:
        again.append(trajectory(0))
    os.close(end)
    os.close(wait)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_that_closes_its_copy_does_not_let_others_write(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path / "t.jsonl") as store:
        child = os.fork()
        if child == 0:
            store.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        with pytest.raises(StoreError, match="Another process is writing"):
            TrajectoryStore(tmp_path / "t.jsonl")


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    code = f"""
import resource, signal, sys
from test_trajectory import trajectory
from step_envs.errors import StoreError
from step_envs.store import TrajectoryStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
store = TrajectoryStore({str(tmp_path / "t.jsonl")!r})
kept = 0
try:
    while True:
        store.append(trajectory(kept, text="y" * 700))
        kept += 1
except StoreError as error:
    print(kept, error)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    kept = int(done.stdout.split()[0])
    assert "File too large; nothing of the line was kept." in done.stdout
    assert [read.episode for read in read_trajectories(tmp_path / "t.jsonl")] == list(range(kept))
    assert (tmp_path / "t.jsonl").read_bytes().endswith(b"\n")


def test_a_killed_writer_leaves_whole_lines(tmp_path: Path) -> None:
    code = f"""
import itertools
from test_trajectory import trajectory
from step_envs.store import TrajectoryStore
store = TrajectoryStore({str(tmp_path / "t.jsonl")!r})
for episode in itertools.count():
    store.append(trajectory(episode, text="z" * 200_000))
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    writer = subprocess.Popen([sys.executable, "-c", code], env=environment)
    deadline = time.monotonic() + 30
    while not ((tmp_path / "t.jsonl").exists() and (tmp_path / "t.jsonl").stat().st_size > 2_000_000):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    with TrajectoryStore(tmp_path / "t.jsonl"):
        episodes = [read.episode for read in read_trajectories(tmp_path / "t.jsonl")]
    assert len(episodes) >= 9
    assert episodes == list(range(len(episodes)))
