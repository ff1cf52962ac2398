"""Official games in the layouts that people have: releases beside one another, nested, damaged, and splits of others."""

import json
import warnings
import zipfile
from pathlib import Path

import pytest
from alfworld_small import game_file

from step_envs.alfworld import tasks as alfworld_tasks
from step_envs.alfworld.games.agentgym import agentgym_games
from step_envs.alfworld.games.archive import DataChoiceWarning
from step_envs.alfworld.tasks import OfficialTasks, PartialDataWarning, find_tasks
from step_envs.errors import DataError

TASK = "pick_and_place_simple-Apple-None-CounterTop-1"

pytestmark = pytest.mark.filterwarnings("ignore::step_envs.alfworld.tasks.PartialDataWarning")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STEP_ENVS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)


def add(folder: Path, split: str, count: int = 1, *, task: str = TASK, trial: str = "trial_{}") -> None:
    text = json.dumps(game_file())
    for number in range(count):
        place = folder / split / task / trial.format(number)
        place.mkdir(parents=True, exist_ok=True)
        (place / "game.tw-pddl").write_text(text)


def test_a_newer_release_with_one_split_does_not_hide_an_older_one_with_all(tmp_path: Path) -> None:
    for split in ("train", "valid_seen", "valid_unseen"):
        add(tmp_path / "json_2.1.1", split, 2)
    add(tmp_path / "json_2.1.3", "valid_unseen", 2)
    with pytest.warns(
        DataChoiceWarning, match=r"several releases.*train from .*json_2\.1\.1.*unseen from .*json_2\.1\.3"
    ):
        tasks = OfficialTasks(tmp_path)
    assert tasks.splits == ("train", "valid_seen", "valid_unseen")
    assert "json_2.1.1" in tasks.source_of(tasks.ids("train")[0])
    assert "json_2.1.3" in tasks.source_of(tasks.ids("valid_unseen")[0])


def test_the_folder_that_has_most_of_a_split_is_taken(tmp_path: Path) -> None:
    add(tmp_path / "json_2.1.1", "valid_seen", 5)
    add(tmp_path / "json_2.1.3", "valid_seen", 2)
    with pytest.warns(DataChoiceWarning, match=r"valid_seen from .*json_2\.1\.1"):
        assert len(OfficialTasks(tmp_path).ids("valid_seen")) == 5


@pytest.mark.parametrize("inner", ["json_2.1.1/json_2.1.1", "data/alfworld/json_2.1.2", "a/b", ".", "games"])
def test_games_are_found_some_folders_further_down(tmp_path: Path, inner: str) -> None:
    add(tmp_path / inner, "train", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataChoiceWarning)
        assert len(OfficialTasks(tmp_path).ids("train")) == 3


def test_a_damaged_archive_beside_a_good_one_is_named_and_passed_over(tmp_path: Path) -> None:
    add(tmp_path / "made", "train", 2)
    with zipfile.ZipFile(tmp_path / "good.zip", "w") as packed:
        for file in sorted((tmp_path / "made").rglob("game.tw-pddl")):
            packed.write(file, file.relative_to(tmp_path / "made"))
    (tmp_path / "made").rename(tmp_path.parent / f"{tmp_path.name}-away")
    (tmp_path / "bad.zip").write_bytes((tmp_path / "good.zip").read_bytes()[:-40])
    with pytest.warns(DataChoiceWarning, match=r"bad\.zip is no whole zip archive"):
        assert len(OfficialTasks(tmp_path).ids("train")) == 2
    (tmp_path / "good.zip").unlink()
    with pytest.raises(DataError, match=r"bad\.zip is no whole zip archive"):
        OfficialTasks(tmp_path)


def test_a_damaged_archive_is_not_even_opened_where_folders_have_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("step_envs.alfworld.games.archive.COMPLETE_COUNTS", dict.fromkeys(alfworld_tasks.SPLITS, (1,)))
    for split in ("train", "valid_seen", "valid_unseen"):
        add(tmp_path / "json_2.1.1", split)
    (tmp_path / "bad.zip").write_bytes(b"PK")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert OfficialTasks(tmp_path).path == tmp_path / "json_2.1.1"


@pytest.mark.parametrize(("count", "warned"), [(3, False), (4, False), (5, True)])
def test_both_counts_of_train_are_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, warned: bool
) -> None:
    assert alfworld_tasks.COMPLETE_COUNTS["train"] == (3553, 3554)
    monkeypatch.setattr(alfworld_tasks, "COMPLETE_COUNTS", {**alfworld_tasks.COMPLETE_COUNTS, "train": (3, 4)})
    add(tmp_path, "train", count)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(OfficialTasks(tmp_path).ids("train")) == count
    assert bool([one for one in caught if one.category is PartialDataWarning]) == warned


def test_valid_train_is_a_split_like_the_others(tmp_path: Path) -> None:
    add(tmp_path, "valid_train", 2)
    tasks = OfficialTasks(tmp_path)
    assert tasks.splits == ("valid_train",)
    ids = tasks.select("valid_train")
    assert ids == tuple(f"valid_train/{TASK}/trial_{number}" for number in range(2))
    assert tasks.split_of(ids[0]) == "valid_train" and tasks.type_of(ids[0]) == "pick_and_place_simple"
    assert tasks.counts()["valid_train"] == (2, 200)
    with pytest.raises(DataError, match="no games of the split 'train'"):
        tasks.select("agentgym_train")


def test_official_splits_are_not_made_of_generated_households() -> None:
    for split in ("valid_train", "agentgym_test"):
        with pytest.raises(DataError, match=f"^The split '{split}' has official games only: get the official games"):
            find_tasks(source="generated").select(split)


def test_agentgyms_lists_are_splits(tmp_path: Path) -> None:
    train, test = agentgym_games("agentgym_train"), agentgym_games("agentgym_test")
    assert (len(set(train)), len(set(test))) == (2420, 200)
    assert {name.partition("/")[0] for name in test} == {"valid_train"}
    for name in (*train[:3], *test[:2]):
        split, task, trial = name.split("/")
        add(tmp_path, split, task=task, trial=trial)
    tasks = OfficialTasks(tmp_path)
    assert tasks.splits == ("train", "valid_train", "agentgym_train", "agentgym_test")
    with pytest.warns(
        PartialDataWarning, match="Of the 2420 games of AgentGym's list 'agentgym_train', 2417 are not in"
    ):
        assert tasks.ids("agentgym_train") == train[:3]
    assert tasks.split_of(train[0]) == "train" and tasks.holds("agentgym_train", train[0])
    assert not tasks.holds("agentgym_train", test[0])


@pytest.mark.parity
def test_the_official_train_split_lacks_239_of_agentgyms_list(official: OfficialTasks) -> None:
    with pytest.warns(PartialDataWarning, match="239 are not in"):
        assert len(official.ids("agentgym_train")) == 2181


def test_environments_of_the_same_games_share_the_lists_and_see_new_games(tmp_path: Path) -> None:
    add(tmp_path, "train", 2)
    first = find_tasks(tmp_path)
    assert find_tasks(tmp_path) is first
    assert first.select("train") is find_tasks(tmp_path).select("train")
    add(tmp_path, "valid_seen", 1)
    assert find_tasks(tmp_path).splits == ("train", "valid_seen")
    assert find_tasks(source="generated") is find_tasks(source="generated")
