"""Where official games are found: folders, zips, tar archives, whole, partial, damaged, or not at all."""

import json
import os
import pickle
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alfworld_small import game_file

from step_envs.alfworld.games.archive import FolderGames, ZipGames, open_games
from step_envs.alfworld.tasks import (
    OFFICIAL_COUNTS,
    GeneratedTasks,
    OfficialTasks,
    PartialDataWarning,
    find_data,
    find_tasks,
)
from step_envs.errors import DataError, UnknownNameError

TASK = "pick_and_place_simple-Apple-None-CounterTop-1"


@pytest.fixture(autouse=True)
def _no_data_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STEP_ENVS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)


def make_data(folder: Path, games: int = 3, split: str = "valid_seen") -> Path:
    text = json.dumps(game_file())
    for number in range(games):
        trial = folder / "json_2.1.1" / split / TASK / f"trial_{number}"
        trial.mkdir(parents=True)
        (trial / "game.tw-pddl").write_text(text)
    (folder / "json_2.1.1" / split / TASK / "trial_without_game").mkdir()
    movable = folder / "json_2.1.1" / split / "pick_and_place_with_movable_recep-Apple-Bowl-Desk-1" / "trial_0"
    movable.mkdir(parents=True)
    (movable / "game.tw-pddl").write_text(text)
    return folder


def pack(folder: Path, target: Path) -> Path:
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder))
    else:
        with tarfile.open(target, f"w:{target.suffix[1:].replace('tar', '')}") as archive:
            archive.add(folder / "json_2.1.1", "json_2.1.1")
    return target


@pytest.mark.parametrize(
    "form", ["folder", "release folder", "a.zip", "a.tar", "a.tar.xz", "a.tar.gz", "a.tar.bz2", "folder of archives"]
)
@pytest.mark.filterwarnings("ignore::step_envs.alfworld.tasks.PartialDataWarning")
def test_every_form_gives_the_same_games(tmp_path, form):
    folder = make_data(tmp_path / "data")
    path = folder
    if form == "release folder":
        path = folder / "json_2.1.1"
    elif form == "folder of archives":
        path = tmp_path / "several"
        path.mkdir()
        pack(folder, path / "valid_seen.tar.xz")
        pack(make_data(tmp_path / "more", 2, "train"), path / "train.zip")
    elif form != "folder":
        path = pack(folder, tmp_path / form)
    tasks = OfficialTasks(path)
    ids = tasks.ids("valid_seen")
    assert ids == tuple(f"valid_seen/{TASK}/trial_{number}" for number in range(3))
    assert {tasks.split_of(name) for name in ids} == {"valid_seen"}
    assert {tasks.type_of(name) for name in ids} == {"pick_and_place_simple"}
    assert tasks.game(ids[1]).instruction == "do it."
    assert tasks.splits == (("train", "valid_seen") if form == "folder of archives" else ("valid_seen",))
    again = OfficialTasks(path)
    assert again.ids("valid_seen") == ids
    assert pickle.loads(pickle.dumps(again)).game_file(ids[2]) == again.game_file(ids[2])


def test_a_partial_copy_is_reported(tmp_path):
    tasks = OfficialTasks(make_data(tmp_path / "data"))
    assert tasks.counts() == {"train": (0, 3553), "valid_seen": (3, 140), "valid_unseen": (0, 134)}
    with pytest.warns(PartialDataWarning, match="3 games of the split 'valid_seen'; the complete release has 140"):
        tasks.ids("valid_seen")
    for split in ("train", "valid_unseen"):
        with pytest.raises(
            DataError, match=f"no games of the split '{split}' \\(only of valid_seen\\).*step-envs data alfworld"
        ):
            tasks.select(split)
    with pytest.raises(UnknownNameError, match="no-such-split"):
        tasks.select("no-such-split")


def test_games_marked_as_unsolvable_are_left_out_of_oversized_downloads(tmp_path):
    folder = make_data(tmp_path / "data", OFFICIAL_COUNTS["valid_unseen"] + 1, "valid_unseen")
    marked = folder / "json_2.1.1" / "valid_unseen" / TASK / "trial_7" / "game.tw-pddl"
    marked.write_text(json.dumps({**game_file(), "solvable": False}))
    tasks = OfficialTasks(folder)
    assert len(tasks.ids("valid_unseen")) == 134
    assert not any(name.endswith("/trial_7") for name in tasks.ids("valid_unseen"))


@pytest.mark.parametrize("kind", ["nowhere", "empty", "foreign", "file"])
def test_a_wrong_path_names_itself_and_the_command(tmp_path, kind):
    path = tmp_path / kind
    if kind in ("empty", "foreign"):
        path.mkdir()
    if kind == "foreign":
        (path / "notes").mkdir()
        (path / "train").mkdir()
    if kind == "file":
        path.write_text("hello")
    with pytest.raises(DataError, match="step-envs data alfworld") as caught:
        OfficialTasks(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["a.zip", "a.tar.xz", "a.tar.gz"])
def test_an_archive_cut_short_is_refused(tmp_path, name):
    path = pack(make_data(tmp_path / "data", 40), tmp_path / name)
    whole = path.read_bytes()
    for length in (0, *range(1, len(whole) - 64, max(1, len(whole) // 40))):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"no whole|damaged|holds no ALFWorld game") as caught:
            OfficialTasks(path).ids("valid_seen")
        assert str(path) in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.part"))


@pytest.mark.parametrize("damage", ["cut before a header", "cut in a header", "a broken header", "a broken checksum"])
def test_games_behind_a_damage_are_not_silently_absent(tmp_path, damage):
    # tarfile alone takes each of these for the end of the archive, or never looks that far.
    path = pack(make_data(tmp_path / "data", 4), tmp_path / ("a.tar.gz" if damage == "a broken checksum" else "a.tar"))
    data = bytearray(path.read_bytes())
    if damage == "a broken checksum":
        data[-8] ^= 1
    else:
        with tarfile.open(path) as archive:
            at = [member.offset for member in archive if member.isfile()][2]
        if damage == "a broken header":
            data[at] ^= 1
        else:
            del data[at + (100 if "in" in damage.split() else 0) :]
    path.write_bytes(data)
    with pytest.raises(DataError, match="is no whole archive") as caught:
        OfficialTasks(path)
    assert str(path) in str(caught.value)


@pytest.mark.filterwarnings("ignore::step_envs.alfworld.tasks.PartialDataWarning")
def test_a_repacked_zip_that_was_cut_short_is_made_again(tmp_path):
    path = pack(make_data(tmp_path / "data"), tmp_path / "a.tar.xz")
    ids = OfficialTasks(path).ids("valid_seen")
    (repacked,) = (tmp_path / "cache").rglob("*.zip")
    repacked.write_bytes(repacked.read_bytes()[:-50])
    assert OfficialTasks(path).ids("valid_seen") == ids


@pytest.mark.filterwarnings("ignore::step_envs.alfworld.tasks.PartialDataWarning")
def test_threads_repack_an_archive_at_the_same_time(tmp_path):
    path = pack(make_data(tmp_path / "data", 40), tmp_path / "a.tar.xz")
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda _: OfficialTasks(path).ids("valid_seen"), range(6)))
    assert len(found[0]) == 40 and set(found) == {found[0]}
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_a_zip_that_python_cannot_unpack_names_the_game(tmp_path, monkeypatch):
    games = ZipGames(pack(make_data(tmp_path / "data", 1), tmp_path / "a.zip"))

    def read(self, name):
        raise NotImplementedError("That compression method is not supported")

    monkeypatch.setattr(zipfile.ZipFile, "read", read)
    with pytest.raises(DataError, match=r"trial_0/game\.tw-pddl: the archive cannot be unpacked \(That compression"):
        games.read(games.names[0])


def test_a_damaged_member_of_a_zip_names_the_game(tmp_path):
    path = pack(make_data(tmp_path / "data", 1), tmp_path / "a.zip")
    games = ZipGames(path)
    data = bytearray(path.read_bytes())
    at = data.index(b"game.tw-pddl") + 200
    data[at : at + 50] = bytes(50)
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="trial_0") as caught:
        ZipGames(path).read(games.names[0])
    assert "damaged" in str(caught.value)


def test_an_unreadable_game_names_itself(tmp_path):
    games = FolderGames(make_data(tmp_path / "data") / "json_2.1.1")
    (tmp_path / "data/json_2.1.1" / games.names[0] / "game.tw-pddl").unlink()
    with pytest.raises(DataError, match=r"trial_0/game\.tw-pddl: it cannot be read"):
        games.read(games.names[0])


def test_where_data_is_looked_for(tmp_path, monkeypatch):
    assert find_data() is None
    assert isinstance(find_tasks(), GeneratedTasks)
    with pytest.raises(DataError, match=r"ALFWORLD_DATA is not set.*step-envs data alfworld"):
        find_tasks(source="official")
    usual = tmp_path / "home/.cache/alfworld"
    monkeypatch.setenv("ALFWORLD_DATA", str(usual))  # as importing the package alfworld does
    assert isinstance(find_tasks(), GeneratedTasks)
    usual.mkdir(parents=True)  # as well
    assert isinstance(find_tasks(), GeneratedTasks)
    monkeypatch.delenv("ALFWORLD_DATA")
    make_data(usual)
    assert find_tasks().path == usual / "json_2.1.1"
    named = make_data(tmp_path / "named")
    monkeypatch.setenv("ALFWORLD_DATA", str(named))
    assert find_tasks().path == named / "json_2.1.1"
    assert isinstance(find_tasks(source="generated"), GeneratedTasks)
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "gone"))
    with pytest.raises(DataError, match="gone"):
        find_tasks()
    with pytest.raises(ValueError, match="asks for others"):
        find_tasks(named, "generated")
    with pytest.raises(UnknownNameError, match="source"):
        find_tasks(source="elsewhere")


def test_tasks_that_do_not_exist(tmp_path):
    tasks = OfficialTasks(make_data(tmp_path / "data"))
    for name in ("", "train/x/y", f"valid_seen/{TASK}/trial_9", "generated/pick_and_place_simple/0"):
        with pytest.raises(UnknownNameError, match="Unknown task"):
            tasks.split_of(name)


@pytest.mark.parity
def test_official_archives_are_complete_and_open_at_once(official, official_path):
    assert official.counts()["train"] == (3553, 3553) and official.counts()["valid_unseen"] == (134, 134)
    by_type = [sum(official.type_of(name) == kind for name in official.ids("train")) for kind in official.types]
    assert by_type == [790, 308, 650, 459, 533, 813]
    assert official.types[0] == "pick_and_place_simple" and official.types[5] == "pick_two_obj_and_place"


@pytest.mark.parity
def test_thousands_of_games_open_without_being_read(official, tmp_path, monkeypatch):
    folder = tmp_path / "data"
    for name in official.ids("train"):
        trial = folder / "json_2.1.1" / name
        trial.mkdir(parents=True)
        (trial / "game.tw-pddl").touch()
    task_folders = {name.rpartition("/")[0] for name in official.ids("train")}
    real, listed = os.scandir, []
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or real(path))
    monkeypatch.setattr(FolderGames, "read", lambda *_: pytest.fail("a game was read"))
    assert len(open_games(folder).names) == 3553
    assert len(listed) <= 2 + len(task_folders)  # the data, the split and each task once
