"""Browsing episodes in a terminal, with real keys in a real pseudo-terminal."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from sample_runs import episode, ordinary_run, write_run

from step_envs.store import TrajectoryStore

STYLES = re.compile("\x1b\\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """The command in a terminal of some size."""

    def __init__(self, *arguments: object, rows: int = 24, columns: int = 80, **environment: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.child: Any = pexpect.spawn(
            sys.executable,
            ["-m", "step_envs.cli", "view", *map(str, arguments), "--terminal"],
            env=inherited | {"TERM": "xterm-256color", "PYTHONUTF8": "1"} | environment,
            dimensions=(rows, columns),
            timeout=60,
            encoding="latin-1" if "PYTHONIOENCODING" in environment else "utf-8",
        )

    def press(self, keys: str) -> "Terminal":
        """Press keys."""
        self.child.send(keys)
        return self

    def shows(self, text: str) -> str:
        """Wait until a text is drawn; return what was drawn up to there, without its colours."""
        self.child.expect_exact(text)
        return STYLES.sub("", self.child.before + text)

    def ends(self) -> int:
        """Wait for the end; return the exit code."""
        self.child.expect(pexpect.EOF)
        self.child.close()
        return int(self.child.exitstatus if self.child.exitstatus is not None else -self.child.signalstatus)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", ordinary_run(60))


@pytest.fixture
def terminal(run: Path) -> Iterator[Terminal]:
    one = Terminal(run)
    yield one
    one.child.close(force=True)


def test_the_list_is_filtered_searched_and_left(terminal: Terminal) -> None:
    drawn = terminal.shows("q quit")
    assert "run  60 episodes, 75% successful" in drawn
    assert ">    0 success          1.00" in drawn
    terminal.press("f").shows("15 of 60: failures")
    terminal.press("/").shows("Search: ")
    drawn = terminal.press("/1\r").shows("3 of 60: failures '/1'")
    assert "out of steps" in terminal.shows("q quit")
    assert terminal.press("q").ends() == 0


def test_an_episode_is_read_turn_by_turn(terminal: Terminal) -> None:
    terminal.shows("q quit")
    terminal.press("\x1b[B\x1b[B\x1b[B\r").shows("boil/3")
    drawn = terminal.shows("Esc back")
    assert "1 error, 1 corrected" in drawn and "✘ error" in drawn and "✔ corrected" in drawn
    terminal.press("N")
    drawn = terminal.shows("Esc back")
    assert drawn.index("✘ error") < drawn.index("✔ corrected") and "I look." not in drawn
    terminal.press("]").shows("melt/4")
    terminal.press("[").shows("boil/3")
    terminal.press("?").shows("in an episode: next, previous step")
    terminal.press("x").shows("Enter open")
    # An escape character alone is a key; what a terminal sends for an unknown key is not taken for letters.
    terminal.press("\r").shows("boil/3")
    terminal.press("\x1b[99;5q")
    terminal.press("\x1b").shows("Enter open")
    assert terminal.press("q").ends() == 0


def test_a_run_grows_in_the_list_while_one_reads(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "run")
    terminal.shows("No episode is written yet.")
    file = tmp_path / "run" / "trajectories.jsonl"
    with TrajectoryStore(file) as store:
        store.append(episode(0))
        terminal.shows("boil/0")
        with file.open("a") as stream:
            stream.write(episode(1).to_json()[:300])
        terminal.press("e").shows("1 of 1: with errors")
    with TrajectoryStore(file) as store:
        store.append(episode(3))
    terminal.shows("2 of 2: with errors")
    assert terminal.press("q").ends() == 0


def test_failed_episodes_and_what_to_do(run: Path, terminal: Terminal) -> None:
    terminal.shows("q quit")
    terminal.press("x").shows("No episode has failed: each that was played has a trajectory.")
    line = '{"episode": 77, "task_id": "boil/77", "reason": "KeyError: 1", "detail": ""}\n'
    (run / "failures.jsonl").write_text(line)
    terminal.press("q")
    assert terminal.ends() == 0
    again = Terminal(run)
    again.shows("1 failed (x)")
    again.press("x").shows("1 x KeyError: 1")
    again.shows("episode 77, boil/77")
    assert again.press("q").ends() == 0


def test_a_terminal_without_utf_8_gets_ascii(run: Path) -> None:
    terminal = Terminal(run, PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    terminal.shows("q quit")
    drawn = terminal.press("\r").shows("Esc back")
    assert "x error" in drawn and "+ corrected" in drawn and "| Thought" in drawn
    assert drawn.isascii() and "\\u" not in drawn
    assert terminal.press("q").ends() == 0


def test_without_colour_the_chosen_episode_is_marked(run: Path) -> None:
    terminal = Terminal(run, "--plain")
    terminal.shows("q quit")
    assert ">    1 " in STYLES.sub("", terminal.press("j").shows("Enter open"))
    assert terminal.press("q").ends() == 0


def test_it_follows_the_size_of_the_terminal(terminal: Terminal) -> None:
    terminal.shows("q quit")
    terminal.child.setwinsize(10, 60)
    drawn = terminal.shows("Enter open")
    assert "out of steps" in drawn and len(drawn.splitlines()) <= 10


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_leave_the_terminal_as_it_was(terminal: Terminal, number: int, code: int) -> None:
    terminal.shows("q quit")
    assert terminal.child.getecho() is False
    terminal.child.kill(number)
    terminal.shows("\x1b[?1049l")
    assert terminal.ends() == code


def test_without_a_terminal_it_says_so(run: Path) -> None:
    command = [sys.executable, "-m", "step_envs.cli", "view", str(run), "--terminal"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "--terminal needs a terminal that can be drawn on, for input and output: leave it out to have the run printed, or "
        "use --watch to read it in a browser.\n"
    )
