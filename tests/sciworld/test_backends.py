"""The fast backend of ScienceWorld gives the bytes of the stock engine, and is refused where it cannot."""

import importlib.util
import multiprocessing
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import pytest
from backend_comparison import BackendPair, ComparedEpisode, compare

import step_envs  # noqa: F401  (registers the ids)
from step_envs.errors import EngineError, UnknownNameError
from step_envs.sciworld.engine import Simulator
from step_envs.sciworld.java import jars, jvm
from step_envs.sciworld.java.class_file import ClassFile
from step_envs.sciworld.java.engine_patch import patched_classes
from step_envs.sciworld.java.installation import find_engine_jar, find_java
from step_envs.sciworld.java.jvm import shared_jvm
from step_envs.sciworld.java.lanes import Lanes

ROOT = Path(__file__).parents[2]
TASK = ("find-plant", 3, "easy")
ACTIONS = [
    "open door to kitchen",
    "go to kitchen",
    "wait1",
    "open cupboard",
    "look around",
    "teleport to outside",
    "wait",
]
ID = "STeP-SciWorld-v0"


@pytest.fixture(scope="module")
def pair() -> Iterator[BackendPair]:
    one = BackendPair()
    yield one
    one.close()


def test_two_short_episodes_are_equal_in_all_that_can_be_asked(pair: BackendPair) -> None:
    pair.play_at_random(ComparedEpisode("test-conductivity", 502, "easy"), 6)
    pair.play_at_random(ComparedEpisode("grow-fruit", 7, ""), 6)
    assert pair.comparison.differences == []
    assert pair.comparison.counts["step"] == 12
    assert pair.comparison.counts["list"] > 2


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.timeout(1800)
def test_a_tenth_of_the_comparison_finds_no_difference() -> None:
    comparison = None
    for comparison in compare(0.1):
        assert comparison.differences == []
    assert comparison is not None
    assert comparison.counts["step"] >= 1000


@pytest.mark.slow
def test_a_snapshot_of_one_backend_restores_in_the_other() -> None:
    envs: list[Any] = [gym.make(ID, backend=backend).unwrapped for backend in ("stock", "fast")]
    states = []
    for env, other in (envs, reversed(envs)):
        env.reset(options={"task_id": "find-plant/3"})
        for action in ACTIONS[:3]:
            env.step(action)
        saved = env.snapshot()
        other.restore(saved)
        assert other.snapshot() == saved
        states.append([other.step(action) for action in ACTIONS[3:]])
    assert states[0] == states[1]
    assert envs[0].provenance() == envs[1].provenance()
    for env in envs:
        env.close()


def test_a_backend_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Unknown ScienceWorld backend 'quick'"):
        gym.make(ID, backend="quick")


def test_another_engine_is_refused_and_the_stock_backend_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "ENGINE_DIGEST", "0" * 64)
    message = (
        r"patches the engine of scienceworld 1\.2\.3, and .*scienceworld\.jar is another one .*backend=\"stock\"\."
    )
    with pytest.raises(EngineError, match=message):
        Simulator(backend="fast")
    Simulator(backend="stock").close()


def test_missing_classes_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(jars, "LANES_JAR", tmp_path / "lanes.jar")
    with pytest.raises(EngineError, match=r'lacks .*lanes\.jar: install step-envs again, or use backend="stock"\.'):
        Simulator(backend="fast")


def test_the_patched_classes_are_always_the_same_bytes() -> None:
    first = patched_classes(find_engine_jar())
    assert patched_classes(jars.engine_jars().own) == first
    assert len(first) < 200_000


def test_a_method_that_is_not_there_cannot_be_replaced() -> None:
    file = ClassFile(zipfile.ZipFile(find_engine_jar()).read("util/UniqueTypeID$.class"))
    assert file.name == "util/UniqueTypeID$"
    with pytest.raises(ValueError, match=r"util/UniqueTypeID\$ has 0 methods named 'store', not one"):
        file.do_nothing("store")


def test_a_damaged_half_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP_ENVS_CACHE", str(tmp_path))
    halves = jars.engine_jars()
    assert halves.shared is not None
    for path, length in ((halves.own, 0), (halves.own, 1000), (halves.shared, 1_000_000)):
        whole = path.read_bytes()
        path.write_bytes(whole[:length])
        assert jars.engine_jars() == halves
        assert path.read_bytes() == whole


def make_halves(cache: str) -> None:
    os.environ["STEP_ENVS_CACHE"] = cache
    jars.engine_jars()


@pytest.mark.slow
def test_several_processes_make_the_halves_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = multiprocessing.get_context("spawn")
    makers = [context.Process(target=make_halves, args=(str(tmp_path),)) for _ in range(3)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert [maker.exitcode for maker in makers] == [0, 0, 0]
    monkeypatch.setenv("STEP_ENVS_CACHE", str(tmp_path))
    halves = jars.engine_jars()
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {halves.own, halves.shared}


def test_a_lane_with_a_fault_is_replaced_and_its_simulators_go_on() -> None:
    several = [Simulator(backend="fast") for _ in range(3)]
    for one in several:
        one._holder.lane = several[0]._holder.lane  # whatever lanes other tests have left
    expected = [several[0].load(*TASK), *map(several[0].step, ACTIONS)]
    found = [[one.load(*TASK), *map(one.step, ACTIONS[:4])] for one in several]
    copy = several[0]._holder.engine
    assert copy is not None
    pid = copy.jvm.pid
    with pytest.raises(Exception, match="no such task"):
        copy._server.load("no such task", 0, "")
    for one, replies in zip(several, found, strict=True):
        replies += map(one.step, ACTIONS[4:])
    assert found == [expected] * 3
    assert copy.jvm.pid == pid and copy.jvm.alive
    for one in several:
        one.close()


def test_waiting_for_a_lane_is_no_engine_call_that_takes_too_long() -> None:
    simulator = Simulator(backend="fast")
    expected = [simulator.load(*TASK), *map(simulator.step, ACTIONS)]
    simulator.load(*TASK)
    holder = simulator._holder
    assert holder.engine is not None and holder.lane is not None
    holder.engine._connection.set_timeout(1.0)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with holder.shared.lanes.turn(holder.lane):
            held.set()
            done.wait(1.5)

    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    assert simulator.step(ACTIONS[0]) == expected[1]
    done.set()
    other.join()
    simulator.close()


def test_lanes_fill_up_before_there_is_another() -> None:
    lanes = Lanes(3)
    assert [lanes.join() for _ in range(9)] == [0, 0, 1, 1, 2, 2, 0, 1, 2]
    lanes.leave(1)
    assert lanes.join() == 1
    with lanes.gold_turn() as gold:
        assert gold == 3


def test_no_file_of_the_engine_is_left_behind() -> None:
    simulator = Simulator(backend="fast")
    folder = Path(shared_jvm().running()._folder)
    (folder / "object_type_ids.tsv").unlink(missing_ok=True)  # the stock backend of other tests
    simulator.load("boil", 0, "")
    simulator.valid_actions()
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    simulator.close()
    assert names == {"patched_classes.jar"}


def jar_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sciworld_jars", ROOT / "scripts" / "sciworld_jars.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("variable", ["TMPDIR", "XDG_CACHE_HOME"])
def test_folders_of_any_name_hold_the_engine(variable: str, locale: str, tmp_path: Path) -> None:
    folder = tmp_path / "a b:c é%20"
    folder.mkdir()
    code = "import gymnasium, step_envs; print(gymnasium.make('STeP-SciWorld-v0').reset(seed=0)[0][:7])"
    environment = os.environ | {variable: str(folder), "LC_ALL": locale, "PYTHONUTF8": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout == "This ro\n", done.stderr


def test_a_jar_that_java_cannot_be_told_of_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    odd = tmp_path / "a:b" / "lanes.jar"
    monkeypatch.setattr(jvm, "LANES_JAR", odd)
    with pytest.raises(EngineError, match=rf"^Java cannot load {odd}, which has ':' in its name: move it to another"):
        jvm.Jvm(find_java())


@pytest.mark.slow
def test_the_jars_in_the_package_are_what_the_sources_give(tmp_path: Path) -> None:
    script = jar_script()
    javac = script.find_compiler()
    if javac is None:
        pytest.skip(f"no javac {script.RELEASE} on the PATH")
    script.build(javac, tmp_path)
    for name in script.JARS:
        kept = (script.JAVA / "classes" / name).read_bytes()
        assert (tmp_path / name).read_bytes() == kept, f"{name} is not what python scripts/sciworld_jars.py gives"
