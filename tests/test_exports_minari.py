"""The export to Minari: what was recorded is what somebody reads who has Minari and Gymnasium only."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import own_world
import pytest
from gymnasium.error import DependencyNotInstalled
from test_exports import HOSTILE, STORED, bare, files, no_rest, trajectory, turn

from step_envs.agents import NoviceAgent, rollout
from step_envs.errors import StoreError
from step_envs.exports import export
from step_envs.trajectory import Trajectory
from step_envs.wrappers import ReActWrapper, TeacherMonitorWrapper
from step_envs.wrappers.teacher_monitor import NOT_CARRIED_OUT
from step_envs.wrappers.teachers import OracleTeacher

minari = pytest.importorskip("minari", reason="needs the extra minari")
pytestmark = pytest.mark.slow

READER = """
import json, sys
sys.modules["step_envs"] = None
import minari

dataset = minari.MinariDataset(sys.argv[1])
spaces = dataset.observation_space, dataset.action_space
assert {type(space).__module__ for space in spaces} == {"gymnasium.spaces.text"}
episodes = []
for episode, about in zip(dataset, dataset.storage.get_episode_metadata(dataset.episode_indices), strict=True):
    episodes.append({
        "observations": episode.observations,
        "actions": episode.actions,
        "rewards": episode.rewards.tolist(),
        "terminations": episode.terminations.tolist(),
        "truncations": episode.truncations.tolist(),
        "infos": {name: values.tolist() for name, values in episode.infos.items()},
        "types": [str(episode.rewards.dtype), str(episode.terminations.dtype), str(episode.infos["loss"].dtype)],
        "fits": all(text in spaces[0] for text in episode.observations) and all(t in spaces[1] for t in episode.actions),
        "about": about,
    })
about = {name: value for name, value in dataset.storage.metadata.items() if not name.endswith("_space")}
print(json.dumps({"id": dataset.id, "episodes": episodes, "steps": dataset.total_steps, "about": about}))
"""


def read(folder: Path) -> dict[str, Any]:
    """Read a dataset in a process that cannot import step_envs."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", READER, folder], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def watched(intervene: Literal["after", "before"], **kwargs: Any) -> TeacherMonitorWrapper:
    return TeacherMonitorWrapper(
        ReActWrapper(gym.make("Coin-v0"), **kwargs), OracleTeacher(), max_errors=3, intervene=intervene
    )


def played(intervene: Literal["after", "before"] = "after", **kwargs: Any) -> list[Trajectory]:
    env = watched(intervene, **kwargs)
    return [rollout(env, NoviceAgent(error_rate=0.5), seed=seed) for seed in range(12)]


def expected(one: Trajectory) -> dict[str, Any]:
    """What the episode of a recorded chat must be, worked out from pairs of reply and observation."""
    start = next(i for i, turn in enumerate(one.turns) if turn.kind not in ("instruction", "observation"))
    replies, answers = one.turns[start::2], one.turns[start + 1 :: 2]
    assert {turn.role for turn in replies} == {"assistant"} and {turn.role for turn in answers} == {"user"}
    steps = len(replies)
    return {
        "observations": [turn.content for turn in (one.turns[start - 1], *answers)],
        "actions": [turn.content for turn in replies],
        "rewards": [turn.reward if turn.reward is not None else 0.0 for turn in replies],
        "terminations": [False] * (steps - 1) + [one.terminated],
        "truncations": [False] * (steps - 1) + [one.truncated],
        "infos": {
            "loss": [0.0] + [turn.loss for turn in replies],
            "kind": ["instruction"] + [turn.kind for turn in replies],
            "action": [""] + [turn.action or "" for turn in replies],
            "score": [one.turns[start - 1].score] + [turn.score for turn in replies],
            "valid_action": [-1] + [{True: 1, False: 0, None: -1}[turn.valid_action] for turn in replies],
        },
    }


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return all(same(found[name], value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    if wanted is None:
        return isinstance(found, float) and math.isnan(found)
    return bool(found == wanted)


@pytest.mark.parametrize("intervene", ["after", "before"])
def test_every_word_and_number_arrives_where_there_is_no_step_envs(
    intervene: Literal["after", "before"], tmp_path: Path
) -> None:
    recorded = played(intervene)
    kinds = {turn.kind for one in recorded for turn in one.turns}
    assert {"agent", "error", "correction"} <= kinds
    out = tmp_path / "episodes"
    assert export(recorded, out, "minari") == len(recorded)
    found = read(out)
    assert found["id"] == "step-envs/Coin-v0"
    assert found["steps"] == sum(turn.role == "assistant" for one in recorded for turn in one.turns[2:])
    for episode, one in zip(found["episodes"], recorded, strict=True):
        assert same(episode, expected(one))
        assert episode["fits"] and episode["types"] == ["float64", "bool", "float64"]
    stopped = [text for episode in found["episodes"] for text in episode["observations"] if NOT_CARRIED_OUT in text]
    assert bool(stopped) == (intervene == "before")


def test_what_is_known_of_an_episode_stands_beside_it(tmp_path: Path) -> None:
    recorded = played()
    export([*recorded, *played(style="system"), *played(style="plain")], tmp_path / "episodes", "minari")
    found = read(tmp_path / "episodes")
    manual = own_world.CoinEnv.react.manual
    assert found["about"]["openings"] == [
        [{"role": "user", "content": manual}, {"role": "assistant", "content": "OK"}],
        [{"role": "system", "content": manual}],
        [],
    ]
    assert [episode["about"]["opening"] for episode in found["episodes"]] == [0] * 12 + [1] * 12 + [2] * 12
    assert found["about"]["env_id"] == "Coin-v0" and found["about"]["total_episodes"] == 36
    about, one = found["episodes"][0]["about"], recorded[0]
    for name in (
        "task_id",
        "task_type",
        "split",
        "seed",
        "success",
        "score",
        "reward",
        "stop_reason",
        "errors",
        "steps",
    ):
        assert about[name] == getattr(one, name), name
    assert (about["agent"], about["teacher"], about["schema"]) == ("novice", "oracle", "step-trajectory/1")
    assert json.loads(about["protocol"]) == one.protocol and json.loads(about["versions"]) == one.versions
    assert json.loads(about["agent_config"])["params"] == one.agent.params
    assert (about["id"], about["total_steps"]) == (0, len(found["episodes"][0]["actions"]))
    assert len({episode["about"]["name"] for episode in found["episodes"]}) == 36


def test_rewards_add_up_to_the_score_unless_something_was_taken_back(tmp_path: Path) -> None:
    recorded = [*played(), *played("before")]
    env = watched("after")
    env.reset(options={"task_id": "coin/hall/hall"})
    for action in ("take coin", "eat coin"):
        _, _, terminated, *_ = env.step(f"Thought: on.\nAction: {action}")
    assert terminated
    recorded.append(env.trajectory)
    export(recorded, tmp_path / "episodes", "minari")
    undone = 0
    for episode, one in zip(minari.MinariDataset(tmp_path / "episodes"), recorded, strict=True):
        # The coin that was eaten: only this error ends an episode here.
        taken_back = [turn.reward for turn in one.turns if turn.kind == "error" and turn.score == -1.0]
        undone += len(taken_back)
        assert episode.rewards.sum() - sum(reward or 0.0 for reward in taken_back) == pytest.approx(one.score)
        assert bool(taken_back) == (episode.rewards.sum() != pytest.approx(one.score))
    assert 0 < undone < len(recorded)


def test_hostile_text_arrives(tmp_path: Path) -> None:
    assert export([trajectory(), trajectory(text=HOSTILE)], tmp_path / "episodes", "minari") == 2
    found = read(tmp_path / "episodes")["episodes"]
    assert found[1]["observations"][:2] == [STORED, f"Observation: {STORED}"]
    assert found[1]["actions"][0] == f"Action: {STORED}" and found[1]["infos"]["action"][1] == STORED
    assert all(episode["fits"] for episode in found)


def test_who_never_replied_has_no_episode_and_who_still_plays_is_cut_off(tmp_path: Path) -> None:
    turns = trajectory().turns
    running = trajectory(turns=turns[:4], terminated=False, success=False, score=0.0, reward=0.0, stop_reason="running")
    odd = trajectory(
        turns=(turns[2], turn("user", "and this", "observation"), *turns[3:5], turn("user", "more", "observation")),
        terminated=False,
        truncated=True,
    )
    assert export([bare(), running, bare(), odd], tmp_path / "episodes", "minari") == 2
    first, second = read(tmp_path / "episodes")["episodes"]
    # Nothing has answered the last reply yet.
    assert first["observations"] == ["plain", ""] and first["actions"] == ["Action: plain"] and first["fits"]
    assert (first["terminations"], first["truncations"]) == ([False], [True])
    assert first["about"]["stop_reason"] == "running" and first["about"]["name"] == "boil/3"
    assert second["observations"] == ["plain\n\nand this", "Observation: plain\n\nmore"]
    assert [second["about"]["opening"], first["about"]["opening"]] == [1, 0]


def test_episodes_without_any_action_or_score_go_with_the_others(tmp_path: Path) -> None:
    wordless = trajectory(turns=(turn("user", "task", "instruction"), turn("assistant", "", "expert")), errors=0)
    export([wordless, trajectory(), wordless], tmp_path / "episodes", "minari")
    found = read(tmp_path / "episodes")["episodes"]
    assert found[0]["actions"] == [""] and found[0]["infos"]["action"] == ["", ""] and found[0]["fits"]
    assert all(map(math.isnan, found[2]["infos"]["score"])) and found[2]["rewards"] == [0.0]
    assert found[1]["infos"]["score"] == [0.0, 0.0, 0.5, 1.0]


def test_an_export_without_episodes_can_be_read(tmp_path: Path) -> None:
    assert export([], tmp_path / "none", "minari") == 0
    assert export([bare()], tmp_path / "bare", "minari") == 0
    for name in ("none", "bare"):
        found = read(tmp_path / name)
        assert found["episodes"] == [] and found["steps"] == 0 and found["id"] == "step-envs/empty-v0"


def test_several_environments_are_refused(tmp_path: Path) -> None:
    both = [trajectory(), trajectory(env_id="Coin-v0")]
    with pytest.raises(
        StoreError,
        match=r"^The trajectories are of the environments STeP-SciWorld-v0 and Coin-v0, and a Minari dataset has one: ",
    ):
        export(both, tmp_path / "episodes", "minari")
    assert not list(tmp_path.iterdir())
    assert export(both, tmp_path / "episodes", "minari", keep=lambda one: one.env_id == "Coin-v0") == 1


@pytest.mark.parametrize(
    ("env_id", "name"),
    [
        ("STeP-ALFWorld-v0", "step-envs/STeP-ALFWorld-v0"),
        ("my_module:ns/Odd Name", "step-envs/my_module-ns-Odd-Name-v0"),
        ("-v3", "step-envs/-v3-v0"),
        ("Плита-v12", "step-envs/Плита-v12"),
    ],
)
def test_any_environment_has_a_name_that_minari_takes(env_id: str, name: str, tmp_path: Path) -> None:
    export([trajectory(env_id=env_id)], tmp_path / "episodes", "minari")
    dataset = minari.MinariDataset(tmp_path / "episodes")
    assert dataset.spec.dataset_id == name and dataset.spec.namespace == "step-envs"


def test_minari_finds_it_by_name_where_it_looks_for_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    export(played(), tmp_path / "step-envs" / "Coin-v0" / "data", "minari")
    assert len(minari.load_dataset("step-envs/Coin-v0")) == 12
    assert list(minari.list_local_datasets()) == ["step-envs/Coin-v0"]


def test_nothing_is_printed_fetched_or_written_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a connection was asked for")

    recorded = played()
    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "cache"))
    capfd.readouterr()
    export(recorded, tmp_path / "episodes", "minari")
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["episodes"]


def test_only_a_minari_dataset_is_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "episodes"
    export(played(), out, "minari")
    with pytest.raises(StoreError, match="episodes is already there"):
        export([trajectory()], out, "minari")
    assert export([trajectory()], out, "minari", overwrite=True) == 1
    assert sorted(files(out)) == ["0", "0/metadata.json", "0/part-0.arrow", "metadata.json"] and no_rest(tmp_path)
    export([trajectory()], tmp_path / "table", "datasets")
    for text in (None, '{"mine": 1}', "[]", "7", "{"):
        other = tmp_path / "table"
        if text is not None:
            shutil.rmtree(other)
            other.mkdir()
            (other / "metadata.json").write_text(text)
        before = files(other)
        with pytest.raises(StoreError, match="table holds something other than a Minari dataset: name another folder"):
            export([trajectory()], other, "minari", overwrite=True)
        assert files(other) == before
    with pytest.raises(StoreError, match="episodes holds something other than a dataset"):
        export([trajectory()], out, "datasets", overwrite=True)


def test_a_fault_midway_leaves_what_was_there(tmp_path: Path) -> None:
    def broken() -> Iterator[Trajectory]:
        yield trajectory("boil/9")
        raise RuntimeError("midway")

    out = tmp_path / "episodes"
    export([trajectory()], out, "minari")
    before = files(out)
    with pytest.raises(RuntimeError, match="midway"):
        export(broken(), out, "minari", overwrite=True)
    assert files(out) == before and no_rest(tmp_path)


@pytest.mark.parametrize(
    ("module", "package"), [("minari", "minari"), ("pyarrow.dataset", "pyarrow"), ("PIL.Image", "pillow")]
)
def test_what_is_missing_is_named_with_the_line_that_brings_it(
    module: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        DependencyNotInstalled,
        match=rf"^Export to Minari needs the package '{package}'.*`pip install \"step-envs\[minari\]\"`",
    ):
        export([trajectory()], tmp_path / "episodes", "minari")
    assert not list(tmp_path.iterdir())
