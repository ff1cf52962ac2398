"""Nothing that only POSIX has is needed at import, and a run is collected where none of it is there."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from step_envs.file_locks import lock_file

POSIX_ONLY = ("fcntl", "pwd", "grp", "resource", "termios", "tty", "pty")
SLOW = ("torch", "transformers", "trl", "datasets")

# Runs in a process of its own, for what is taken away is taken away for good.
WITHOUT_POSIX = (
    textwrap.dedent(
        """
    import importlib, os, pkgutil, sys, types

    # What others need of POSIX is theirs to replace on Windows, and they do: they are imported before it is taken away.
    import asyncio, concurrent.futures, multiprocessing, subprocess, tempfile
    import gymnasium, numpy, platformdirs, pydantic, rapidfuzz, regex, rich.console, typer
    import openai, starlette.applications, uvicorn

    # "import fcntl" is an error from here on, and so is what takes long to import and has nothing to do with it.
    for name in {posix_only} + {slow}:
        sys.modules[name] = None
    for name in ("pread", "pwrite", "fork", "getuid", "killpg", "setsid", "O_CLOEXEC"):
        delattr(os, name)
    locks = []
    windows = types.ModuleType("msvcrt")
    windows.LK_NBLCK = 2

    def locking(handle, mode, count):
        place = (os.fstat(handle).st_ino, os.lseek(handle, 0, os.SEEK_CUR))
        if place in locks:
            raise PermissionError(13, "Permission denied")
        locks.append(place)

    windows.locking = locking
    sys.modules["msvcrt"] = windows

    import step_envs
    from gymnasium.error import DependencyNotInstalled
    names = [module.name for module in pkgutil.walk_packages(step_envs.__path__, "step_envs.")]
    for name in names:
        if not name.endswith("__main__"):
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                if error.name.partition(".")[0] not in {slow}:
                    raise
            except DependencyNotInstalled:
                # An adapter for a tool says so if the tool is missing.
                assert name.startswith("step_envs.integrations."), name
    print(len(names), "modules")

    from pathlib import Path
    from step_envs.collection.collector import collect
    from step_envs.collection.config import CollectConfig
    from step_envs.errors import StoreError
    from step_envs.store import TrajectoryStore, read_trajectories

    out = Path(sys.argv[1])
    collect(CollectConfig(env="STeP-WebShop-v0", episodes=2, agent="novice", teacher="oracle"), out)
    print(len(list(read_trajectories(out))), "trajectories")
    locks.clear()
    with TrajectoryStore(out / "trajectories.jsonl") as store:
        assert store.path.read_bytes(), "what is locked can be read"
        try:
            TrajectoryStore(out / "trajectories.jsonl")
        except StoreError as error:
            print(error)
    """
    )
    .replace("{posix_only}", repr(POSIX_ONLY))
    .replace("{slow}", repr(SLOW))
)


@pytest.mark.slow
def test_a_system_without_posix(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_POSIX, str(tmp_path / "run")], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    modules, trajectories, refusal = done.stdout.strip().splitlines()[-3:]
    assert int(modules.split()[0]) > 150
    assert trajectories == "2 trajectories"
    assert refusal.startswith("Another process is writing to ")


@pytest.mark.skipif(sys.platform == "win32", reason="flock is of POSIX")
def test_the_lock_is_the_one_that_older_versions_take(tmp_path: Path) -> None:
    import fcntl

    with (tmp_path / "x").open("wb") as ours, (tmp_path / "x").open("rb") as theirs:
        lock_file(ours.fileno())
        with pytest.raises(BlockingIOError):
            fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours.close()
        fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with (tmp_path / "x").open("rb") as again, pytest.raises(BlockingIOError):
            lock_file(again.fileno())
