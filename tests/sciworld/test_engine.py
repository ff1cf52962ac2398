"""The simulator plays the engine as it is: byte for byte, alone or among others, whoever looks on."""

import hashlib
import json
import lzma
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from step_envs.errors import EngineError, UnknownNameError
from step_envs.sciworld.engine import EngineReply, Simulator, _utf8_text
from step_envs.sciworld.java.jvm import shared_jvm
from step_envs.sciworld.java.stock_copy import StockCopy

ROOT = Path(__file__).parents[2]

# Bees fly through the open doors of this episode. Where they are depends on every random number drawn so far.
BEES = ("test-conductivity", 502, "openContainers,openDoors")
BEES_ACTIONS = [
    "move orange in inventory to outside", "pour ceramic cup into stove", "use lighter on cup containing nothing in table",
    "pour cup containing nothing in table into sewer", "connect outside to cupboard", "connect sink to hallway", "wait1",
    "connect bowl to apple", "connect outside to metal pot", "move potato to stove", "pour orange juice into glass jar",
    "pour orange juice into tin cup", "connect cup containing orange juice to sink", "OBJECTS", "Look  Around",
    "disconnect outside", "task", "pour banana into sewer", "connect orange to lighter", "objects", "look at chair",
    "connect metal pot to adult bee", "use lighter on inventory", "0", "connect agent to bowl", "wait", "look around",
]  # fmt: skip
PLANTS = ("grow-fruit", 7, "easy")
PLANTS_ACTIONS = ["teleport to greenhouse", "look around", "pick up flower pot", "0", "wait", "look around", "wait1"]
CIRCUIT = ("power-component", 2, "")
CIRCUIT_ACTIONS = ["open door to kitchen", "open door", "1", "open door", "look around", "go to kitchen", "wait1"]
EPISODES = [(BEES, BEES_ACTIONS), (PLANTS, PLANTS_ACTIONS), (CIRCUIT, CIRCUIT_ACTIONS)]


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    one = Simulator()
    yield one
    one.close()


@pytest.fixture(scope="module", params=["fast", "stock"])
def either(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """A simulator of each backend in turn."""
    one = Simulator(backend=request.param)
    yield one
    one.close()


def play(simulator: Simulator, task: tuple[str, int, str], actions: list[str]) -> list[EngineReply]:
    return [simulator.load(*task), *(simulator.step(action) for action in actions)]


@pytest.fixture(scope="module")
def solo(simulator: Simulator) -> list[list[EngineReply]]:
    """What the episodes give, each played alone from start to end."""
    return [play(simulator, task, actions) for task, actions in EPISODES]


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


def transcripts(test_data: Path) -> list[dict[str, Any]]:
    path = test_data / "parity" / "sciworld.jsonl.xz"
    if not path.is_file():
        pytest.skip(f"no transcripts at {path}")
    with lzma.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.slow
@pytest.mark.parity
def test_every_transcript_replays_in_all_that_was_recorded(either: Simulator, test_data: Path) -> None:
    simulator = either

    def check(reply: EngineReply, recorded: dict[str, Any], where: str) -> None:
        found = {
            "obs": reply.observation,
            "score": reply.score,
            "moves": reply.moves,
            "look": simulator.look(),
            "inv": simulator.inventory(),
        }
        valid = simulator.valid_actions()
        found |= {"n_valid": len(valid), "valid_sha1": sha1("\n".join(valid))}
        if "valid" in recorded:
            found["valid"] = list(valid)
        assert found == {key: recorded[key] for key in found}, where

    for number, episode in enumerate(transcripts(test_data)):
        reply = simulator.load(episode["task"], episode["variation"], episode["simplification"])
        check(reply, episode["reset"], f"episode {number}, reset")
        assert simulator.task_description() == episode["taskDesc"]
        for step, recorded in enumerate(episode["steps"]):
            before, where = reply, f"episode {number}, step {step}, {recorded['action']!r}"
            reply = simulator.step(recorded["action"])
            check(reply, recorded, where)
            assert reply.score - before.score == recorded["reward"], where
            assert reply.done == (recorded["completed"] or recorded["score"] < 0), where
            assert sha1(simulator.goal_progress()) == recorded["progress_sha1"], where
        assert simulator.goal_progress() == episode["goal_progress"]
        assert simulator.task_description() == episode["task_after"]


@pytest.mark.slow
@pytest.mark.parity
def test_every_transcript_replays_where_nobody_asks_for_more(either: Simulator, test_data: Path) -> None:
    for number, episode in reversed(list(enumerate(transcripts(test_data)))):
        task = (episode["task"], episode["variation"], episode["simplification"])
        replies = play(either, task, [step["action"] for step in episode["steps"]])
        found = [(reply.observation, reply.score, reply.moves) for reply in replies]
        recorded = [(step["obs"], step["score"], step["moves"]) for step in [episode["reset"], *episode["steps"]]]
        assert found == recorded, f"episode {number}"


STOCK = """
import json, sys
from scienceworld import ScienceWorldEnv
env = ScienceWorldEnv(envStepLimit=10**6)
task, actions = json.loads(sys.argv[1])
env.load(*task)
observation, info = env.reset()
out = [[observation, info["score"], info["moves"], info["look"], info["valid"]]]
for action in actions:
    observation, _, _, info = env.step(action)
    out.append([observation, info["score"], info["moves"], info["look"], info["valid"]])
print(json.dumps(out))
"""


@pytest.mark.slow
def test_it_is_the_stock_library_that_it_equals(simulator: Simulator) -> None:
    from step_envs.sciworld.java.installation import find_java

    environment = {
        **os.environ,
        "PATH": f"{find_java().parent}{os.pathsep}{os.environ['PATH']}",
        "JDK_JAVA_OPTIONS": "-XX:+UnlockExperimentalVMOptions -XX:hashCode=2 -Xmx256m",
    }
    command = [sys.executable, "-c", STOCK, json.dumps([BEES, BEES_ACTIONS])]
    out = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=True).stdout
    stock = json.loads(out)
    found = []
    for action in [None, *BEES_ACTIONS]:
        reply = simulator.load(*BEES) if action is None else simulator.step(action)
        valid = list(simulator.valid_actions())
        found.append([reply.observation, reply.score, reply.moves, simulator.look(), valid])
    assert found == stock


@pytest.mark.slow
def test_looking_on_changes_nothing(simulator: Simulator, solo: list[list[EngineReply]]) -> None:
    for (task, actions), alone in zip(EPISODES, solo, strict=True):
        rng = random.Random(7)
        questions = (
            simulator.valid_actions, simulator.look, simulator.inventory, simulator.goal_progress,
            simulator.task_description,
        )  # fmt: skip
        watched = [simulator.load(*task)]
        for action in actions:
            for question in rng.choices(questions, k=4):
                assert question() == question()
            watched.append(simulator.step(action))
        assert watched == alone


@pytest.mark.slow
def test_interleaved_episodes_equal_episodes_played_alone(solo: list[list[EngineReply]]) -> None:
    several = [Simulator() for _ in EPISODES]
    found = [[one.load(*task)] for one, (task, _) in zip(several, EPISODES, strict=True)]
    for step in range(max(len(actions) for _, actions in EPISODES)):
        for one, (_, actions), replies in zip(several, EPISODES, found, strict=True):
            if step < len(actions):
                replies.append(one.step(actions[step]))
    assert found == solo
    for one in several:
        one.close()


@pytest.mark.slow
def test_parallel_episodes_equal_episodes_played_alone(simulator: Simulator, solo: list[list[EngineReply]]) -> None:
    several = [Simulator() for _ in EPISODES]
    found: dict[int, list[EngineReply]] = {}

    def work(index: int) -> None:
        found[index] = play(several[index], *EPISODES[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(several))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[index] for index in range(len(several))] == solo
    pids = {one._holder.engine.jvm.pid for one in [simulator, *several] if one._holder.engine}
    assert len(pids) == 1
    for one in several:
        one.close()


@pytest.mark.slow
def test_simulators_differ_in_their_simplifications(simulator: Simulator) -> None:
    other = Simulator()
    simulator.load("use-thermometer", 0, "easy")
    assert len(simulator.valid_actions()) == 115
    other.load("use-thermometer", 0, "")
    assert len(other.valid_actions()) == 417
    simulator.step("look around")
    assert len(simulator.valid_actions()) == 115
    other.close()


def test_stock_simulators_share_the_library_and_not_the_generator() -> None:
    several = [Simulator(backend="stock") for _ in range(2)]
    loads = [one.load("boil", 0, "") for one in several]
    assert loads[0] == loads[1]

    def is_private(one: Simulator, name: str) -> bool:
        copy = one._holder.engine
        assert copy is not None
        loaders = copy._connection.gateway.jvm.java.lang.ClassLoader
        own = copy._server.getClass().getClassLoader()
        return not own.loadClass(name).getClassLoader().equals(loaders.getSystemClassLoader())

    for name, private in [
        ("scala.Option", False),
        ("scala.collection.mutable.HashSet", False),
        ("scala.util.Random", True),
        ("scala.util.Random$", True),
        ("scienceworld.runtime.AgentInterface", True),
        ("util.UniqueIdentifier", True),
    ]:
        assert [is_private(one, name) for one in several] == [private, private], name
    for one in several:
        one.close()


@pytest.mark.slow
def test_without_the_shared_half_it_is_the_same(solo: list[list[EngineReply]], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    digests = _elsewhere({"STEP_ENVS_CACHE": str(tmp_path / "file")}, [0, 1, 2])
    assert digests == [_digest(replies) for replies in solo]


PLAY = """
import json, sys
sys.path.insert(0, "tests/sciworld")
import test_engine as test
from step_envs.sciworld.engine import Simulator
simulator = Simulator()
out = {}
for index in json.loads(sys.argv[1]):
    out[index] = test._digest(test.play(simulator, *test.EPISODES[index]))
print(json.dumps([out[index] for index in sorted(out)]))
"""


def _digest(replies: list[EngineReply]) -> str:
    return sha1(repr(replies))


def _elsewhere(environment: dict[str, str], order: list[int]) -> list[str]:
    """Digests of the episodes, played in another process in a certain order."""
    command = [sys.executable, "-c", PLAY, json.dumps(order)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    run = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    digests: list[str] = json.loads(run.stdout)
    return digests


@pytest.mark.slow
def test_another_process_another_order_the_same_bytes(solo: list[list[EngineReply]]) -> None:
    """Nor do options that the user's shell has for every Java program make a difference."""
    hostile = "-XX:+UnlockExperimentalVMOptions -XX:hashCode=5 -Dfile.encoding=ISO-8859-1 -Duser.language=tr"
    inherited = {"JDK_JAVA_OPTIONS": hostile, "JAVA_TOOL_OPTIONS": hostile, "LC_ALL": "C", "PYTHONHASHSEED": "3"}
    assert _elsewhere(inherited, [2, 1, 0, 1]) == [_digest(replies) for replies in solo]


@pytest.mark.parametrize(
    ("action", "ticks"),
    [
        ("wait1", 2), ("wait", 11), ("look around", 0), ("inventory", 0), ("task", 0), ("help", 0), ("objects", 0),
        ("  HELP\t", 0), ("", 0), ("xyzzy", 0), ("0", 0), ("open door", 0), ("open door to kitchen", 1),
        ("OPEN   Door To  KITCHEN", 1), (" go to kitchen ", 1), ("focus on agent", 1), ("reset task", 1),
    ],
)  # fmt: skip
def test_ticks(action: str, ticks: int, simulator: Simulator) -> None:
    assert simulator.load("use-thermometer", 0, "openContainers").moves == 0
    assert simulator.step(action).moves == ticks


def test_an_ambiguous_request_waits_for_a_number(simulator: Simulator) -> None:
    simulator.load("use-thermometer", 0, "openContainers")
    before = simulator.valid_actions()
    prompt = simulator.step("open door")
    assert prompt.observation.startswith("Ambiguous request: Please enter the number")
    assert simulator.valid_actions() == ("0", "1", "2", "3", "4", "5")
    assert simulator.valid_actions() != before
    assert simulator.step("0") == EngineReply("The door is now open.", 0, False, 1)
    assert simulator.step("0") == EngineReply("No known action matches that input.", 0, False, 1)


@pytest.mark.parametrize("answer", ["look around", "", "7", "no", "open door to kitchen"])
def test_anything_else_cancels_the_request_and_is_lost(answer: str, simulator: Simulator) -> None:
    simulator.load("use-thermometer", 0, "openContainers")
    simulator.step("open door")
    reply = simulator.step(answer)
    assert reply.observation.startswith("Unknown action.  Type 'help' for a list of actions, and 'objects' for")
    assert reply.moves == 1
    assert "door is not open" not in simulator.look()
    assert simulator.look().count("(that is closed)") == 6
    assert simulator.step("look around").observation.startswith("This room is called the hallway.")


def test_questions_to_the_engine_leave_a_pending_request_pending(simulator: Simulator) -> None:
    simulator.load("use-thermometer", 0, "openContainers")
    simulator.step("open door")
    assert simulator.step("task").observation.startswith("Task description:\nYour task is to")
    assert simulator.step("0").observation == "The door is now open."


def test_a_wrong_focus_fails_and_a_reset_of_the_task_forgives(simulator: Simulator) -> None:
    simulator.load("boil", 0, "easy")
    simulator.step("go to kitchen")
    assert simulator.step("focus on thermometer") == EngineReply("You focus on the thermometer.", -100, True, 2)
    assert simulator.step("look around").score == -100
    assert simulator.step("help").done
    assert simulator.step("reset task") == EngineReply("You reset the goal progress and focus.", 0, False, 3)


def test_easy_opens_doors_and_not_containers(simulator: Simulator) -> None:
    simulator.load("boil", 0, "easy")
    assert "A door to the kitchen (that is open)" in simulator.look()
    simulator.step("teleport to kitchen")
    assert "The fridge door is closed." in simulator.look()
    simulator.load("boil", 0, "openContainers")
    simulator.step("open door to kitchen")
    simulator.step("go to kitchen")
    assert "The fridge door is open." in simulator.look()


@pytest.mark.slow
def test_a_gold_path_succeeds_and_asking_for_it_changes_nothing(simulator: Simulator) -> None:
    simulator.load("find-plant", 4, "easy")
    first = simulator.step("look around")
    simulator.step("open door to kitchen")
    path = simulator.gold_path()
    assert simulator.step("task").moves == 1
    assert simulator.gold_path() == path
    assert simulator.load("find-plant", 4, "easy") == first
    replies = [simulator.step(action) for action in path]
    assert max(reply.score for reply in replies) == 100
    assert replies[-1].done


@pytest.mark.slow
def test_after_a_gold_path_other_episodes_are_what_they_were(
    simulator: Simulator, solo: list[list[EngineReply]]
) -> None:
    simulator.load("melt", 1, "easy")
    assert simulator.gold_path()
    assert [play(simulator, *episode) for episode in EPISODES] == solo


STRINGS = [
    "", " ", "\0", "\n", "\r\n", "look\naround", "look around\n", "a\\nb", "\\", "\t\v\f\x1b[0m\x7f", "\u2028\u2029\x85",
    "\ud800", "x\udfff", "\ud83d\ude00", "𝄞 to kitchen", "смотри", "看看", "שלום", "ſKİß", "focus on " * 5000,
    "x" * 1_000_000,
    "look around " * 80_000, "\n" * 200_000, "${x} %s {0} (((", "e\n", "y\n", "s\nlook around\ne\n",
]  # fmt: skip


@pytest.mark.parametrize("action", STRINGS, ids=lambda text: ascii(text[:20]))
def test_any_string_is_answered(action: str, simulator: Simulator) -> None:
    start = simulator.load("boil", 0, "easy")
    reply = simulator.step(action)
    assert reply.observation
    assert reply.moves == 0
    assert simulator.step("look around").observation == start.observation


def test_text_comes_back_as_it_was_sent(simulator: Simulator) -> None:
    simulator.load("boil", 0, "easy")
    copy = simulator._holder.engine
    assert copy is not None
    echo = copy._connection.gateway.jvm.java.util.Objects.toString
    for text in STRINGS:
        assert echo(_utf8_text(text)) == _utf8_text(text)


def test_only_lone_surrogates_are_changed() -> None:
    assert _utf8_text("a\ud800b\udfff") == "a\ufffdb\ufffd"
    assert _utf8_text("\ud83d\ude00") == "\U0001f600"
    assert all(_utf8_text(text) == text for text in STRINGS if not any("\ud800" <= char <= "\udfff" for char in text))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("boli", 0, ""), "Unknown ScienceWorld task 'boli'. Did you mean 'boil'"),
        (("boil", 30, ""), "Task 'boil' has variations 0 to 29, and no 30"),
        (("boil", -1, ""), "no -1"),
        (("boil", 0, "esy"), "Unknown simplification 'esy'. Did you mean 'easy'"),
        (("boil", 0, "easy,openDors"), "openDoors"),
        (("power-component", 0, "openDoors,noElectricalAction"), "cannot be done with noElectricalAction"),
    ],
)
def test_a_task_that_does_not_exist_is_refused_and_the_episode_goes_on(
    arguments: tuple[str, int, str], message: str, simulator: Simulator
) -> None:
    simulator.load("boil", 0, "easy")
    simulator.step("wait1")
    with pytest.raises(UnknownNameError, match=message):
        simulator.load(*arguments)
    assert simulator.step("look around").moves == 2


def test_a_simulator_without_a_task_says_what_to_do() -> None:
    one = Simulator()
    for call in (one.look, one.valid_actions, one.gold_path, lambda: one.step("look around")):
        with pytest.raises(EngineError, match=r"is loaded.*call reset\(\).*or load\(\) of the simulator"):
            call()
    one.close()
    with pytest.raises(EngineError, match="closed"):
        one.load("boil", 0, "")
    one.close()


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
def test_a_timeout_must_be_above_zero(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        Simulator(timeout=timeout)


@pytest.mark.slow
def test_sixteen_simulators_fit_in_a_gigabyte() -> None:
    several = [Simulator() for _ in range(16)]
    for index, one in enumerate(several):
        one.load(*EPISODES[index % 3][0])
        one.valid_actions()
    copy = several[0]._holder.engine
    assert copy is not None
    assert psutil.Process(copy.jvm.pid).memory_info().rss < 1.0e9
    assert len({one._holder.engine.jvm.pid for one in several if one._holder.engine}) == 1
    for one in several:
        one.close()


def test_no_more_questions_are_under_way_than_there_are_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the processors can work on would each take so long that they seem to hang."""
    simulators = [Simulator(backend="stock") for _ in range(3)]
    under_way, most = 0, 0
    look = StockCopy.look

    def slow_look(copy: StockCopy) -> str:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        time.sleep(0.2)
        under_way -= 1
        return look(copy)

    monkeypatch.setattr(StockCopy, "look", slow_look)
    monkeypatch.setattr(shared_jvm(), "call_slots", threading.Semaphore(2))
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda simulator: simulator.load("boil", 0), simulators))
        looks = list(pool.map(Simulator.look, simulators))
    assert most == 2 and len(set(looks)) == 1
    for simulator in simulators:
        simulator.close()
