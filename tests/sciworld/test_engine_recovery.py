"""Episodes survive what happens to the Java process: killed, hung, forked away from, interrupted."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from children import suspend

from step_envs.errors import EngineError
from step_envs.sciworld.engine import Backend, EngineReply, Simulator
from step_envs.sciworld.java.engine_copy import EngineCopy

pytestmark = pytest.mark.slow

TASK = ("grow-fruit", 7, "easy")
ACTIONS = [
    "teleport to greenhouse",
    "pick up flower pot",
    "0",
    "wait",
    "look around",
    "pick up flower pot",
    "1",
    "wait1",
]


# Tasks whose gold path takes the backend a while, and not too long.
SLOW_GOLD_PATH: dict[Backend, tuple[str, int, str]] = {
    "fast": ("mendelian-genetics-known-plant", 0, "easy"),
    "stock": ("boil", 0, "easy"),
}


# What does not depend on how a backend keeps its engines is tried in one of them; the stock one takes five times as long.
IN_ONE_BACKEND = pytest.mark.parametrize("backend", ["fast"], indirect=True)


@pytest.fixture(scope="module", params=["fast", "stock"])
def backend(request: pytest.FixtureRequest) -> Backend:
    name: Backend = request.param
    return name


@pytest.fixture
def simulator(backend: Backend) -> Iterator[Simulator]:
    one = Simulator(backend=backend)
    yield one
    one.close()


@pytest.fixture(scope="module", autouse=True)
def expected(backend: Backend) -> Iterator[list[EngineReply]]:
    """What the episode gives undisturbed. Its simulator keeps the Java process for the tests that do not kill it."""
    one = Simulator(backend=backend)
    yield [one.load(*TASK), *map(one.step, ACTIONS)]
    one.close()


def gone(pid: int) -> bool:
    """Whether a child process has ended, or ends soon."""
    try:
        psutil.Process(pid).wait(5)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


def pid_of(simulator: Simulator) -> int:
    copy = simulator._holder.engine
    assert copy is not None
    return copy.jvm.pid


def kill(simulator: Simulator) -> int:
    pid = pid_of(simulator)
    os.kill(pid, signal.SIGKILL)
    return pid


def test_an_episode_goes_on_after_its_process_is_killed(simulator: Simulator, expected: list[EngineReply]) -> None:
    found, pids = [simulator.load(*TASK)], set()
    for index, action in enumerate(ACTIONS):
        if index in (2, 6):  # with a question pending
            pids.add(kill(simulator))
        found.append(simulator.step(action))
    assert found == expected
    asked = simulator.valid_actions(), simulator.look(), simulator.goal_progress()
    pids.add(kill(simulator))
    assert (simulator.valid_actions(), simulator.look(), simulator.goal_progress()) == asked
    assert pid_of(simulator) not in pids
    assert all(gone(pid) for pid in pids)


@IN_ONE_BACKEND
def test_a_task_is_loaded_though_the_process_was_killed(simulator: Simulator, expected: list[EngineReply]) -> None:
    simulator.load("boil", 0, "")
    kill(simulator)
    assert simulator.load(*TASK) == expected[0]


@IN_ONE_BACKEND
def test_a_process_killed_while_it_works_is_replaced_too(simulator: Simulator, expected: list[EngineReply]) -> None:
    simulator.load(*TASK)
    for action in ACTIONS[:-1]:
        simulator.step(action)
    paths: list[list[str]] = []
    worker = threading.Thread(target=lambda: paths.append(simulator.gold_path()))
    pid = pid_of(simulator)
    worker.start()
    time.sleep(0.1)
    assert worker.is_alive()
    os.kill(pid, signal.SIGKILL)
    worker.join()
    assert len(paths[0]) > 40
    assert pid_of(simulator) != pid
    assert simulator.step(ACTIONS[-1]) == expected[-1]


def test_all_simulators_of_a_killed_process_go_on(
    simulator: Simulator, expected: list[EngineReply], backend: Backend
) -> None:
    other = Simulator(backend=backend)
    found: dict[str, list[EngineReply]] = {"one": [simulator.load(*TASK)], "other": [other.load(*TASK)]}
    killed = kill(simulator)

    def work(name: str, one: Simulator) -> None:
        found[name] += map(one.step, ACTIONS)

    threads = [threading.Thread(target=work, args=item) for item in (("one", simulator), ("other", other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"one": expected, "other": expected}
    assert pid_of(simulator) == pid_of(other) != killed
    other.close()


@IN_ONE_BACKEND
def test_a_question_that_kills_the_process_is_asked_twice_and_no_more(
    simulator: Simulator, expected: list[EngineReply], monkeypatch: pytest.MonkeyPatch, backend: Backend
) -> None:
    bystander = Simulator(backend=backend)
    bystander.load(*TASK)
    simulator.load(*TASK)
    real, killed = EngineCopy.step, []

    def step(self: EngineCopy, action: str) -> EngineReply:
        if action == "die":
            killed.append(self.jvm.pid)
            os.kill(self.jvm.pid, signal.SIGKILL)
        return real(self, action)

    monkeypatch.setattr(EngineCopy, "step", step)
    with pytest.raises(EngineError, match=r"died again and again \(action 'die', step 1 of grow-fruit/7\): .*SIGKILL"):
        simulator.step("die")
    assert len(set(killed)) == len(killed) == 2
    with pytest.raises(EngineError, match="No ScienceWorld task is loaded"):
        simulator.look()
    assert simulator.load(*TASK) == expected[0]
    assert [*map(bystander.step, ACTIONS)] == expected[1:]
    bystander.close()


def test_a_hung_process_is_given_up_and_the_others_recover(expected: list[EngineReply], backend: Backend) -> None:
    impatient, patient = Simulator(backend=backend), Simulator(backend=backend)
    impatient.load(*TASK)
    patient.load(*TASK)
    copy = impatient._holder.engine
    assert copy is not None
    copy._connection.set_timeout(1.5)
    replies = [*map(patient.step, ACTIONS[:4])]
    pid = pid_of(impatient)
    suspend(pid)
    with pytest.raises(EngineError, match=r"no answer within 1.5 s \(action 'wait', step 1 of grow-fruit/7\).*killed"):
        impatient.step("wait")
    assert gone(pid)
    with pytest.raises(EngineError, match="No ScienceWorld task is loaded"):
        impatient.step("wait")
    assert [*replies, *map(patient.step, ACTIONS[4:])] == expected[1:]
    assert impatient.load(*TASK) == expected[0]
    assert pid_of(impatient) == pid_of(patient)
    for one in (impatient, patient):
        one.close()


def test_a_process_hung_before_a_simulator_reached_it_is_given_up_too(simulator: Simulator, backend: Backend) -> None:
    simulator.load(*TASK)
    late = Simulator(timeout=1.0, backend=backend)
    pid = pid_of(simulator)
    suspend(pid)
    with pytest.raises(EngineError, match=r"no answer within 1 s \(load of grow-fruit/7\)"):
        late.load(*TASK)
    assert gone(pid)
    late.close()


def test_two_simulators_work_at_the_same_time(simulator: Simulator, backend: Backend) -> None:
    other = Simulator(backend=backend)
    other.load(*TASK)
    simulator.load(*SLOW_GOLD_PATH[backend])
    worker = threading.Thread(target=simulator.gold_path)
    worker.start()
    time.sleep(0.1)
    other.look()
    assert worker.is_alive()
    worker.join()
    other.close()


def test_a_simulator_takes_the_calls_of_several_threads_one_at_a_time(simulator: Simulator) -> None:
    simulator.load("boil", 0, "easy")
    threads = [threading.Thread(target=lambda: [simulator.step("wait1") for _ in range(5)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert simulator.step("look around").moves == 30


def test_an_interrupted_call_leaves_the_episode_as_it_was(simulator: Simulator, expected: list[EngineReply]) -> None:
    found = [simulator.load(*TASK), *map(simulator.step, ACTIONS[:5])]

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.03)
        with pytest.raises(KeyboardInterrupt):
            simulator.gold_path()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert [*found, *map(simulator.step, ACTIONS[5:])] == expected


def test_an_answer_that_was_not_recorded_is_taken_back(simulator: Simulator, expected: list[EngineReply]) -> None:
    found = [simulator.load(*TASK), *map(simulator.step, ACTIONS[:5])]
    copy = simulator._holder.engine
    assert copy is not None
    copy.step("wait")  # as if an interrupt had come between the answer and the record
    assert [*found, *map(simulator.step, ACTIONS[5:])] == expected


def test_an_exception_in_the_engine_is_an_engine_error_with_its_words(
    simulator: Simulator, expected: list[EngineReply], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [simulator.load(*TASK), *map(simulator.step, ACTIONS[:3])]
    with monkeypatch.context() as patch:
        patch.setattr(
            EngineCopy, "step", lambda self, action: self._connection.gateway.jvm.java.lang.Integer.parseInt(action)
        )
        with pytest.raises(EngineError, match=r"action 'wait', step 4 of .*NumberFormatException.*\"wait\""):
            simulator.step("wait")
    assert [*found, *map(simulator.step, ACTIONS[3:])] == expected


@IN_ONE_BACKEND
def test_a_replay_that_comes_out_different_is_an_error_and_not_a_result(
    simulator: Simulator, expected: list[EngineReply]
) -> None:
    simulator.load(*TASK)
    simulator.step("wait")
    assert simulator._record is not None
    simulator._record.actions[0] = "wait1"
    kill(simulator)
    with pytest.raises(EngineError, match="step 1 of grow-fruit/7 differently when it was replayed"):
        simulator.goal_progress()  # a look is remembered
    # Nor does it stand in the way of the next task.
    assert simulator.load(*TASK) == expected[0]
    assert [*map(simulator.step, ACTIONS)] == expected[1:]


def in_child(work: Callable[[], bool]) -> int:
    """Exit status of a forked child: 0 where the work returns true."""
    child = os.fork()
    if child == 0:
        status = 2
        try:
            status = 0 if work() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_a_process_of_its_own(
    simulator: Simulator, expected: list[EngineReply], backend: Backend
) -> None:
    found = [simulator.load(*TASK), *map(simulator.step, ACTIONS[:5])]
    parents = pid_of(simulator)

    def child() -> bool:
        rest = [simulator.step(action) for action in ACTIONS[5:]]
        new = Simulator(backend=backend)
        same = new.load(*TASK) == expected[0] and pid_of(new) == pid_of(simulator) != parents
        own = psutil.Process(pid_of(simulator)).ppid() == os.getpid()
        simulator.close()
        return rest == expected[6:] and same and own

    assert in_child(child) == 0
    assert pid_of(simulator) == parents
    assert [*found, *map(simulator.step, ACTIONS[5:])] == expected
    assert pid_of(simulator) == parents


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@IN_ONE_BACKEND
def test_a_fork_in_the_middle_of_another_threads_call_does_no_harm(simulator: Simulator, backend: Backend) -> None:
    simulator.load(*SLOW_GOLD_PATH[backend])
    paths: list[list[str]] = []
    worker = threading.Thread(target=lambda: paths.append(simulator.gold_path()))
    worker.start()
    time.sleep(0.1)
    assert worker.is_alive()
    assert in_child(lambda: simulator.step("look around").moves == 0) == 0
    worker.join()
    assert paths[0] == simulator.gold_path()


def test_closed_simulators_leave_no_classes_behind(simulator: Simulator, backend: Backend) -> None:
    simulator.load(*TASK)
    copy = simulator._holder.engine
    assert copy is not None
    java = copy._connection.gateway.jvm.java

    def classes() -> int:
        java.lang.System.gc()
        return int(java.lang.management.ManagementFactory.getClassLoadingMXBean().getLoadedClassCount())

    counts = []
    for _ in range(3):
        other = Simulator(backend=backend)
        other.load("boil", 0, "")
        other.close()
        counts.append(classes())
    assert counts[-1] < counts[0] + 200


def test_a_simulator_that_nobody_holds_is_closed(backend: Backend) -> None:
    one = Simulator(backend=backend)
    one.load("boil", 0, "")
    shared, holders = one._holder.shared, one._holder.shared._holders
    del one
    assert shared._holders == holders - 1
