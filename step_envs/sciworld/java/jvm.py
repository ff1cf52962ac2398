"""The Java process that runs ScienceWorld: started, shared by all simulators, and replaced when it is dead.

One process serves every simulator of a Python process. We start it ourselves, because the launcher of the package
``scienceworld`` cannot set the flag that makes the engine deterministic, leaves the heap unbounded, and opens a second port
for callbacks that nobody uses.

The process cannot outlive its parent: it reads a pipe whose only writer is the parent, and exits when the pipe closes,
which the kernel does however the parent ends. A forked child closes its copy of that pipe and starts a process of its own.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from step_envs.errors import EngineError
from step_envs.sciworld.java.installation import find_gateway_jar, find_java
from step_envs.sciworld.java.jars import LANES_JAR, EngineJars, engine_jars, lane_class_path
from step_envs.sciworld.java.lanes import Lanes
from step_envs.worker_processes import processors

HEAP_VARIABLE = "STEP_ENVS_JAVA_HEAP"
"""Environment variable with the heap limit of the Java process in MiB."""

DEFAULT_HEAP_MIB = 2048
"""Enough for about 180 simulators of 11 MiB each; memory is taken only as it is needed, see ``GarbageLimit``."""

_YOUNG_MIB = 16
_GARBAGE_BYTES = 24 * 1024 * 1024
_START_SECONDS = 60.0
_STOP_SECONDS = 5.0

# Options that a user's shell may hand to every Java program. They could undo the flags below.
_INHERITED_OPTIONS = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH", "JAVA_OPTIONS")


def heap_mib() -> int:
    """Return the heap limit of the Java process in MiB: ``STEP_ENVS_JAVA_HEAP`` or the default.

    Raises:
        EngineError: The variable is not a number of at least 64.
    """
    text = os.environ.get(HEAP_VARIABLE, "").strip()
    if not text:
        return DEFAULT_HEAP_MIB
    if not text.isascii() or not text.isdigit() or int(text) < 64:
        raise EngineError(f"{HEAP_VARIABLE}={text!r} is not a number of MiB of at least 64.")
    return int(text)


class JvmDeadError(Exception):
    """The Java process is dead, or the connection to it is broken."""


class JvmTimeoutError(Exception):
    """The Java process did not answer in time."""


class LaneLostError(Exception):
    """The lane of a simulator was given up after a fault in a call of another simulator."""


@dataclass(frozen=True)
class Address:
    """The port of a gateway, and the token that it asks for."""

    host: str
    port: int
    token: str


class GarbageLimit:
    """Says when the Java process should collect what nobody needs any more.

    Java's collector would rather take more memory than look for garbage among old objects, so that a heap of which 80 MiB
    are in use grows to its limit of two gigabytes. A low limit would stop that, but also the hundredth simulator. So the
    process is asked to collect once the heap has grown by half of what was in use after the last time, and some more. A
    collection stops all simulators. It takes longer if more is in use: half a second with 64 simulators.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._collect_at = _GARBAGE_BYTES

    def reached(self, heap_bytes: int) -> bool:
        """Return True, to one caller only, if the heap has grown to the limit."""
        with self._lock:
            if heap_bytes < self._collect_at:
                return False
            self._collect_at = sys.maxsize  # until the caller has collected
            return True

    def collected(self, used_bytes: int) -> None:
        """Set the next limit by what is still in use after a collection."""
        with self._lock:
            self._collect_at = used_bytes + used_bytes // 2 + _GARBAGE_BYTES


def _class_path(jars: list[Path]) -> str:
    """Return the value of Java's option ``-cp``.

    Raises:
        EngineError: A name contains what separates names.
    """
    for jar in jars:
        if os.pathsep in str(jar):
            raise EngineError(
                f"Java cannot load {jar}, which has {os.pathsep!r} in its name: move it to another folder."
            )
    return os.pathsep.join(map(str, jars))


class Jvm:
    """A running Java process with a py4j gateway that listens on loopback only.

    Args:
        java: The Java executable.

    Attributes:
        address: Where to connect.
        jars: What to load the engine from; the shared half is loaded already.
        owner: Process id of the Python process that started it.
        garbage_limit: When to ask the process to collect garbage.
        stdout_closed: Whether standard output has been turned off; the first engine copy does that.
    """

    def __init__(self, java: Path) -> None:
        self.owner = os.getpid()
        self.jars: EngineJars = engine_jars()
        self.stdout_closed = False
        self.garbage_limit = GarbageLimit()
        self._garbage: list[str] = []
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        # One thread may ask how the process ended while another one already replaces it.
        self._log_lock = threading.Lock()
        self._message_at_stop = "stopped"
        classpath = _class_path([jar for jar in (find_gateway_jar(), self.jars.shared, LANES_JAR) if jar is not None])
        self._lane_class_path: str | None = None
        environment = {k: v for k, v in os.environ.items() if k not in _INHERITED_OPTIONS}
        # In the locale C, Java would not find files with letters beyond ASCII in their names.
        environment["LC_ALL"] = "C.UTF-8"
        # Java's memory that is not heap: the C library would keep a pool for each thread.
        environment.setdefault("MALLOC_ARENA_MAX", "2")
        # The engine writes a file into the temporary folder with every task, under the same name for all users.
        folder = tempfile.mkdtemp(prefix="step-envs-java-")
        self._folder = folder
        self._remove_folder = weakref.finalize(self, _remove_folder, folder, self.owner)
        try:
            self._process = subprocess.Popen(
                [
                    str(java),
                    *_flags(),
                    f"-Djava.io.tmpdir={folder}",
                    "-cp",
                    classpath,
                    "py4j.GatewayServer",
                    "--die-on-broken-pipe",
                    "--enable-auth",
                    "0",
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=environment,
                cwd=folder,
                # Ctrl-C in a terminal goes to the whole process group: Python should handle it, not Java.
                start_new_session=True,
            )
        except OSError as error:
            self._log.close()
            self._remove_folder()
            raise EngineError(f"Java at {java} cannot be started: {error}.") from error
        self.address = self._read_address(java)

    @property
    def pid(self) -> int:
        """Process id of the Java process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """True if the process runs and belongs to this Python process, not to one that this was forked from."""
        return self.owner == os.getpid() and self._process.poll() is None

    def lane_class_path(self) -> str:
        """Return what a lane of the fast backend loads its classes from.

        Raises:
            EngineError: The installed engine is not the one that the fast backend was made for.
        """
        if self._lane_class_path is None:
            self._lane_class_path = lane_class_path(self.jars, Path(self._folder))
        return self._lane_class_path

    def discard(self, objects: list[str]) -> None:
        """Record Java objects that nobody needs any more; the next engine copy frees them.

        Freeing needs a connection, and the one that the objects belonged to is closed by then.
        """
        self._garbage.extend(objects)

    def take_garbage(self) -> list[str]:
        """Return the objects to be freed, and forget them."""
        taken, self._garbage = self._garbage, []
        return taken

    def wait_until_dead(self) -> None:
        """Wait until a process that broke a connection has ended, for some seconds at most."""
        if self.alive:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)

    def stop(self) -> None:
        """Kill the process and wait for its end. Does nothing if another Python process owns it."""
        if self.owner != os.getpid():
            return
        if self._process.poll() is None:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        else:
            self._message_at_stop = self.exit_message()
        self._close_files()
        self._remove_folder()

    def forget(self) -> None:
        """Close the files of a process inherited through fork, and leave the process alone."""
        self._log_lock = threading.Lock()  # the parent's may have been locked at the fork, and would stay so here
        self._close_files()
        # Otherwise Popen warns, when it is deleted, that the process still runs; but it is not ours to wait for.
        self._process.returncode = 0

    def exit_message(self) -> str:
        """Return the end of what the process printed (at most 2000 characters), or else how it ended."""
        with self._log_lock:
            if self._log.closed:
                return self._message_at_stop
            size = self._log.seek(0, os.SEEK_END)
            self._log.seek(max(0, size - 2000))
            text = self._log.read().decode("utf-8", "replace").strip()
        if text:
            return text
        code = self._process.poll()
        if code is None:
            return "it is still running"
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit status {code}"

    def _read_address(self, java: Path) -> Address:
        """Read the port and the token that the gateway prints when it is ready."""
        stdout = self._process.stdout
        assert stdout is not None
        # A time limit for reading: when the process is killed, the read ends.
        timer = threading.Timer(_START_SECONDS, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            port, token = stdout.readline().strip(), stdout.readline().strip()
        finally:
            timer.cancel()
        if not port.isdigit() or not token:
            self._process.kill()
            self._process.wait()
            words = self.exit_message()
            self._close_files()
            self._remove_folder()
            raise EngineError(f"Java at {java} did not start ScienceWorld's gateway: {words}")
        return Address("127.0.0.1", int(port), token.decode("ascii"))

    def _close_files(self) -> None:
        with self._log_lock:
            for file in (self._process.stdin, self._process.stdout, self._log):
                if file is not None:
                    with contextlib.suppress(OSError):
                        file.close()


def _remove_folder(folder: str, owner: int) -> None:
    # A forked child also forgets the process, and the folder is not its own.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _flags() -> list[str]:
    """Return the flags of the Java process; each is explained beside it."""
    return [
        # The engine's sets are ordered by identity hash; a constant hash makes that the order of insertion.
        "-XX:+UnlockExperimentalVMOptions",
        "-XX:hashCode=2",
        f"-Xmx{heap_mib()}m",
        "-XX:+UseSerialGC",
        # Begin small, and give memory back after a collection, see GarbageLimit.
        "-Xms32m",
        f"-Xmn{_YOUNG_MIB}m",
        "-XX:MinHeapFreeRatio=5",
        "-XX:MaxHeapFreeRatio=10",
        # Smaller objects, where this Java knows how (from 25 on).
        "-XX:+IgnoreUnrecognizedVMOptions",
        "-XX:+UseCompactObjectHeaders",
        # A process that is out of memory may answer wrongly; when it is dead the episode is replayed.
        "-XX:+ExitOnOutOfMemoryError",
        # Leave no files behind: no counters, crash reports or core dumps.
        "-XX:-UsePerfData",
        # Otherwise Java's own warnings come on standard output, before the port.
        "-XX:+DisplayVMOutputToStderr",
        "-XX:+ErrorFileToStderr",
        "-XX:-CreateCoredumpOnCrash",
        # Letter case and the encoding of text must not depend on the user's locale.
        "-Duser.language=en",
        "-Duser.country=US",
        "-Dfile.encoding=UTF-8",
        "-Djava.awt.headless=true",
    ]


class SharedJvm:
    """The one Java process of a Java executable, counted by users.

    It starts with the first call of ``running``, is replaced when it is dead, and stops when its last user releases it.

    Args:
        java: The Java executable.

    Attributes:
        call_slots: Must be held during a call of the stock backend. More calls at once than processors would not end
            sooner, and each would take so long that it seems to hang.
        lanes: The lanes of the fast backend; the turn of a lane must be held during a call into it.
    """

    def __init__(self, java: Path) -> None:
        self.java = java
        self.call_slots = _call_slots()
        self.lanes = Lanes(processors())
        self._lock = threading.RLock()
        self._holders = 0
        self._jvm: Jvm | None = None

    def hold(self) -> None:
        """Count one more user."""
        with self._lock:
            self._holders += 1

    def release(self) -> None:
        """Count one user less, and stop the process with the last one."""
        with self._lock:
            self._holders -= 1
            if self._holders <= 0:
                self.stop()

    def running(self) -> Jvm:
        """Return a running process; start one if there is none.

        Raises:
            EngineError: Java does not start.
            DependencyNotInstalled: A part that is needed to start it is missing.
        """
        with self._lock:
            if self._jvm is None or not self._jvm.alive:
                self.stop()
                self._jvm = Jvm(self.java)
            return self._jvm

    def stop(self) -> None:
        """Stop the process if there is one."""
        with self._lock:
            if self._jvm is not None:
                self._jvm.stop()
                self._jvm = None

    def after_fork(self) -> None:
        """Forget the parent's process in a forked child, and replace locks that nobody would ever release there."""
        self.call_slots = _call_slots()
        self.lanes.after_fork()
        self._lock = threading.RLock()
        if self._jvm is not None:
            self._jvm.forget()
            self._jvm = None


def _call_slots() -> threading.Semaphore:
    return threading.Semaphore(processors() + 1)


_shared: dict[Path, SharedJvm] = {}
_shared_lock = threading.Lock()


def shared_jvm(java: str | os.PathLike[str] | None = None) -> SharedJvm:
    """Return the shared process of a Java executable; see ``find_java`` for the argument and the errors."""
    path = find_java(java)
    with _shared_lock:
        return _shared.setdefault(path, SharedJvm(path))


def _after_fork_in_child() -> None:
    global _shared_lock
    _shared_lock = threading.Lock()
    for shared in _shared.values():
        shared.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
