"""The cache of the engine's own solutions: it forgives."""

import itertools
import json
import multiprocessing
from pathlib import Path

import pytest

from step_envs.sciworld.planning.action_history import ActionHistory
from step_envs.sciworld.planning.gold_plans import GoldPlanCache

TASK = ActionHistory("boil", 3, "easy", ())


def test_cache_keeps_what_it_is_given(tmp_path: Path) -> None:
    cache = GoldPlanCache(folder=tmp_path)
    assert cache.read(TASK) is None
    cache.write(TASK, ["look around", "wait"])
    assert GoldPlanCache(folder=tmp_path).read(TASK) == ["look around", "wait"]
    assert cache.read(ActionHistory("boil", 3, "", ())) is None
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".json"]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"schema": "sciworld-gold/0"}',
        json.dumps({"schema": "sciworld-gold/2", "task": ["melt", 3, "easy"], "actions": ["wait"]}).encode(),
        json.dumps({"schema": "sciworld-gold/2", "task": ["boil", 3, "easy"], "actions": [1]}).encode(),
    ],
)
def test_cache_takes_a_damaged_file_for_an_absent_one(tmp_path: Path, damage: bytes) -> None:
    cache = GoldPlanCache(folder=tmp_path)
    cache.write(TASK, ["wait"])
    cache.path(TASK).write_bytes(damage)
    assert cache.read(TASK) is None
    cache.write(TASK, ["wait"])
    assert cache.read(TASK) == ["wait"]


def test_a_changed_plan_is_not_believed(tmp_path: Path) -> None:
    cache = GoldPlanCache(folder=tmp_path)
    cache.write(TASK, ["wait"])
    cache.path(TASK).write_text(cache.path(TASK).read_text().replace('"wait"', '"look"'))
    assert cache.read(TASK) is None


def test_cache_without_a_writable_folder_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    cache = GoldPlanCache(folder=blocked)
    cache.write(TASK, ["wait"])
    cache.write(TASK, ["wait"])
    assert cache.read(TASK) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def _write_often(folder: Path, length: int) -> None:
    for _ in range(50):
        GoldPlanCache(folder=folder).write(TASK, ["wait"] * length)


@pytest.mark.slow
def test_cache_is_whole_while_many_write(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_often, args=(tmp_path, 500 * (i + 1))) for i in range(3)]
    for writer in writers:
        writer.start()
    lengths = set()
    while any(writer.is_alive() for writer in writers):
        actions = GoldPlanCache(folder=tmp_path).read(TASK)
        lengths.add(0 if actions is None else len(actions))
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert lengths <= {0, 500, 1000, 1500}
    assert GoldPlanCache(folder=tmp_path).read(TASK)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_the_plans_of_one_task_do_not_fill_the_disk(tmp_path: Path) -> None:
    cache = GoldPlanCache(folder=tmp_path)
    names = ["teleportAction", "openDoors", "selfWateringFlowerPots", "openContainers"]
    for order in itertools.permutations(names):
        cache.write(ActionHistory("boil", 3, ",".join(order), ()), ["wait"])
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 8
    # What is there is still replaced, and other variations have files of their own.
    first = ActionHistory("boil", 3, ",".join(names), ())
    cache.write(first, ["look around"])
    assert cache.read(first) == ["look around"]
    cache.write(ActionHistory("boil", 30, "easy", ()), ["wait"])
    assert cache.read(ActionHistory("boil", 30, "easy", ())) == ["wait"]
