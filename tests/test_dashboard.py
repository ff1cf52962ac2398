"""What one sees of a collection while it runs."""

import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pexpect
import pytest
from rich.console import Console

from step_envs.cli.dashboard import Dashboard
from step_envs.collection.progress import Progress
from step_envs.trajectory import Usage

STYLES = re.compile("\x1b\\[[0-9;?]*[a-zA-Z]")


def drawn(dashboard: Dashboard, *, width: int = 100) -> str:
    console = Console(width=width, record=True, file=StringIO())
    console.print(dashboard.draw())
    return console.export_text()


@pytest.fixture
def progress() -> Progress:
    return Progress(planned=50, kept=20, successes=15, errors=12, corrections=10, reward=16.0)


def test_figures_and_time_left(progress: Progress) -> None:
    now = [100.0]
    dashboard = Dashboard(Console(file=StringIO()), "runs/x: a world", clock=lambda: now[0])
    dashboard.begin(Progress(planned=50, kept=10))
    now[0] += 65
    dashboard.note(progress, None)
    text = drawn(dashboard)
    assert "runs/x: a world" in text
    # Ten episodes in 65 seconds: those that were there before do not count as fast ones.
    assert re.search(r"episodes +[━╸╺ ]+ +20 of 50 +│", text)
    assert re.search(r"time +1:05, 9\.23 a minute, about 3:15 left", text)
    assert re.search(r"success +75%  between 53% and 89%", text)
    assert re.search(r"errors +0\.60 an episode, 10 of 12 corrected", text)
    for absent in ("no verdict", "failed", "paid"):
        assert absent not in text


def test_what_needs_attention_and_money(progress: Progress) -> None:
    progress.unknown, progress.failed = 3, 1
    progress.paid = Usage(prompt_tokens=12_000, completion_tokens=500, cost=2.0)
    dashboard = Dashboard(Console(file=StringIO()), "x")
    dashboard.begin(progress)
    text = drawn(dashboard)
    assert re.search(r"no verdict +3 steps", text)
    assert re.search(r"failed +1 episode", text)
    assert re.search(r"paid +12,000 tokens read, 500 written, \$2\.00 \(about \$5\.00 in all\)", text)


def test_before_the_first_episode(progress: Progress) -> None:
    dashboard = Dashboard(Console(file=StringIO()), "x")
    dashboard.begin(Progress(planned=5))
    text = drawn(dashboard, width=60)
    assert "0 of 5" in text and "success" not in text
    assert max(map(len, text.splitlines())) <= 60


def collect(*arguments: object) -> list[str]:
    main = "import own_world; from step_envs.cli import main; main()"
    return ["-c", main, "collect", "--env", "Coin-v0", "--seed", "1", *map(str, arguments)]


@pytest.fixture
def environment() -> dict[str, str]:
    root = Path(__file__).parents[1]
    return os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'examples'}", "COLUMNS": "100", "TERM": "xterm"}


def test_in_a_terminal_it_shows_and_then_makes_room(tmp_path: Path, environment: dict[str, str]) -> None:
    child = pexpect.spawn(
        sys.executable,
        collect("--episodes", 40, "--out", tmp_path / "run"),
        env=environment,
        timeout=60,
        dimensions=(40, 100),
        encoding="utf-8",
    )
    child.expect(r"of 40")
    child.expect("Trajectories:")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_refusals_come_without_it(tmp_path: Path, environment: dict[str, str]) -> None:
    for sentence in (None, "already holds a run"):
        child = pexpect.spawn(
            sys.executable, collect("--episodes", 1, "--out", tmp_path), env=environment, timeout=60, encoding="utf-8"
        )
        child.expect(pexpect.EOF)
        child.close()
        if sentence is not None:
            text = STYLES.sub("", child.before)
            assert child.exitstatus == 2 and sentence in text
            assert text.strip().startswith(str(tmp_path)) and "episodes" not in text


def test_it_is_quiet_where_nobody_looks(tmp_path: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, *collect("--episodes", 3, "--out", tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    first, table = done.stdout.split("\n", 1)
    assert first == f"{tmp_path / 'run'}: Coin-v0, novice, teacher oracle: 0 of 3 episodes; 0:00"
    assert (
        re.match(r"3 of 3 episodes; 0:0\d, [\d,.e+]+ a minute; success .*\n\s*Trajectories", table)
        and "━" not in done.stdout
    )


def test_where_there_is_no_terminal_a_line_comes_now_and_then(progress: Progress) -> None:
    now, file = [100.0], StringIO()
    dashboard = Dashboard(Console(file=file, width=60), "runs/x", clock=lambda: now[0])

    def printed() -> list[str]:
        text = file.getvalue()
        file.seek(0)
        file.truncate()
        return text.splitlines()

    dashboard.begin(Progress(planned=50, kept=10, successes=5))
    assert printed() == [
        "runs/x: 10 of 50 episodes; 0:00; success 50%  between 24% and 76%; errors 0.00 an episode, 0 of 0 corrected"
    ]
    dashboard.note(progress, None)
    now[0] += 29
    dashboard.tick()
    assert printed() == []
    now[0] += 1
    dashboard.tick()
    figures = "success 75%  between 53% and 89%; errors 0.60 an episode, 10 of 12 corrected"
    assert printed() == [f"20 of 50 episodes; 0:30, 20 a minute, about 1:30 left; {figures}"]
    progress.failed, progress.reasons["EndpointDownError: it is\ndown"] = 1, 1
    dashboard.note(progress, None)
    dashboard.note(progress, None)
    assert printed() == ["An episode failed: EndpointDownError: it is down"]
    progress.interrupts, progress.in_flight = 1, 2
    dashboard.tick()
    assert printed() == [
        "Stopping: waiting for 2 episodes in play to end; press Ctrl-C again to leave them. Nothing that is written is "
        "lost."
    ]
    progress.interrupts = 2
    dashboard.tick()
    assert printed() == ["Stopping: leaving 2 episodes. Nothing that is written is lost; --resume plays them again."]
    dashboard.close()
    assert [line[:17] for line in printed()] == ["20 of 50 episodes"]


def test_the_panel_says_what_ctrl_c_waits_for_and_leaves_room_for_it(progress: Progress) -> None:
    progress.interrupts, progress.in_flight = 1, 3
    dashboard = Dashboard(Console(file=StringIO(), force_terminal=True), "x")
    dashboard.begin(progress)
    text = drawn(dashboard, width=80)
    dashboard.close()
    assert "waiting for 3 episodes in play" in " ".join(text.split())
