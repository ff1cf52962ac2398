"""``step-envs play``: watched, and by a person at the terminal."""

import os
from pathlib import Path
from typing import Any

import pexpect
import pytest
from cli_calls import COMMAND, DANGEROUS, HOSTILE, call

from step_envs.store import read_trajectories
from step_envs.trajectory import Trajectory


@pytest.mark.slow
def test_an_agent_plays_visibly_and_the_trajectory_is_kept(tmp_path: Path) -> None:
    arguments = (
        "play",
        "--agent",
        "oracle",
        "--task",
        "lifespan-longest-lived/3",
        "--seed",
        1,
        "--out",
        tmp_path / "run",
    )
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    assert "lifespan-longest-lived/3 · split train" in result.output and "success · score 1.00" in result.output
    [kept] = read_trajectories(tmp_path / "run")
    assert kept.success and kept.agent.name == "oracle" and kept.seed == 1
    for one in kept.turns[3:]:
        assert one.kind in ("expert", "observation")
        assert (one.action or "") in result.output
    again = call(*arguments, "--json")
    assert [one.turns for one in read_trajectories(tmp_path / "run")] == [kept.turns] * 2
    assert Trajectory.from_json(again.stdout).turns == kept.turns and "success" in again.stderr


@pytest.mark.slow
def test_a_watched_novice_is_corrected_in_view() -> None:
    result = call(
        "play", "--agent", "novice:error_rate=1", "--teacher", "oracle", "--task", "find-plant/3", "--seed", 0, "--json"
    )
    made = Trajectory.from_json(result.stdout)
    assert made.errors >= 1 and made.teacher is not None
    assert result.stderr.count("✘ error") == made.errors and "✔ corrected" in result.stderr


def test_play_stops_at_the_limit_asked_for() -> None:
    result = call("play", "--agent", "random", "--task", "boil/0", "--max-steps", 2, "--seed", 0, "--json")
    made = Trajectory.from_json(result.stdout)
    assert (made.steps, made.stop_reason) == (2, "max_steps") and "out of steps" in result.stderr


def test_play_keeps_out_of_the_folder_of_a_collection(run: Path) -> None:
    before = (run / "trajectories.jsonl").read_bytes()
    result = call("play", "--agent", "oracle", "--out", run)
    assert result.exit_code == 2 and "is the folder of a collection" in result.stderr
    assert (run / "trajectories.jsonl").read_bytes() == before


def person(*arguments: object) -> pexpect.spawn:
    return pexpect.spawn(
        COMMAND[0],
        [*COMMAND[1:], "play", *map(str, arguments)],
        encoding="utf-8",
        timeout=120,
        dimensions=(40, 100),
        env=os.environ | {"TERM": "xterm"},
    )


def test_a_person_plays_at_the_terminal(tmp_path: Path) -> None:
    out = tmp_path / "mine.jsonl"
    child = person("--task", "lifespan-longest-lived/3", "--out", out)
    child.expect("/quit")
    child.expect("longest life span")
    child.expect("> ")
    child.sendline("look around")
    child.expect("This outside location|This room")
    child.expect("> ")
    child.sendline("/hint")
    child.expect("-> [a-z]+ ")
    child.expect("> ")
    child.sendline("open [red]\u202e the gizmo")
    child.expect("No known action")
    child.expect("> ")
    child.sendline("/quit")
    child.expect("agent gave up")
    child.expect("step-envs view")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    [kept] = read_trajectories(out)
    assert [one.action for one in kept.turns if one.action] == ["look around", "open [red]\u202e the gizmo"]
    assert kept.agent.name == "person" and kept.stop_reason == "agent_stopped" and kept.seed is not None


@pytest.mark.slow
def test_a_person_is_corrected_by_the_teacher(tmp_path: Path) -> None:
    child = person("--task", "lifespan-longest-lived/3", "--teacher", "oracle", "--out", tmp_path / "mine.jsonl")
    child.expect("> ")
    child.sendline("open the gizmo")
    child.expect("error")
    child.expect("corrected")
    index = child.expect(["> ", pexpect.EOF])
    if index == 0:
        child.sendline("/quit")
        child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    [kept] = read_trajectories(tmp_path / "mine.jsonl")
    assert [one.kind for one in kept.turns[3:7]] == ["error", "observation", "correction", "observation"]


def test_what_a_person_is_shown_cannot_steer_the_terminal() -> None:
    """The world echoes nothing of the kind by itself, so that the instruction is made to."""
    from step_envs.cli.play import _EpisodeDisplay

    class World:
        def get_wrapper_attr(self, name: str) -> Any:
            return [{"role": "user", "content": HOSTILE}]

    for is_person in (True, False):
        stage = object.__new__(_EpisodeDisplay)
        stage.env, stage._is_person = World(), is_person
        assert bool(DANGEROUS.search(stage.messages[0]["content"])) is not is_person


def test_ctrl_c_keeps_what_was_played(tmp_path: Path) -> None:
    child = person("--task", "boil/0", "--out", tmp_path / "mine.jsonl")
    child.expect("> ")
    child.sendline("look around")
    child.expect("Observation")
    child.expect("> ")
    child.sendintr()
    child.expect("agent gave up")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    [kept] = read_trajectories(tmp_path / "mine.jsonl")
    assert kept.steps == 1 and kept.stop_reason == "agent_stopped"
