"""The Tab key in real shells: bash, zsh and fish, each where it is installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

ROOT = Path(__file__).parents[2]

# Each Tab starts Python anew.
pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without any settings, and the command of this tree on the path."""
    (tmp_path / "bin").mkdir()
    shim = tmp_path / "bin" / "step-envs"
    shim.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m step_envs "$@"\n')
    shim.chmod(0o755)
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TERM", "dumb")
    (tmp_path / "runs").mkdir()
    return tmp_path


def install(shell: str, home: Path) -> None:
    """Install the completion as the page says, from within the shell, by whose process Typer knows it."""
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    # With `; true`, the shell stays the parent of the command, as one at a terminal does.
    done = subprocess.run(
        [shell, "-c", "step-envs --install-completion; true"],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert f"{shell} completion installed in {home}" in done.stdout, done.stderr


CASES = [
    ("step-envs col", "collect"),
    ("step-envs collect --teache", "--teacher"),
    ("step-envs tasks --env STeP-S", "STeP-SciWorld-v0"),
    ("step-envs export --format shareg", "sharegpt"),
]


def test_bash(home: Path) -> None:
    install("bash", home)
    for typed, completed in CASES:
        words = typed.split()
        script = (
            f"source .bashrc; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
            '_step_envs_completion step-envs; echo "${COMPREPLY[@]}"'
        )
        done = subprocess.run(["bash", "-c", script], cwd=home, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.split() == [completed], done.stderr


def test_bash_at_a_terminal(home: Path) -> None:
    install("bash", home)
    shell = pexpect.spawn("bash", ["-i"], cwd=str(home), encoding="utf-8", timeout=20, dimensions=(24, 200))
    try:
        shell.sendline("PS1='ready> '")
        shell.expect("\nready> ")
        shell.send("step-envs col\t")
        shell.expect_exact("step-envs collect ")
        shell.send("--out ru\t")
        shell.expect_exact("--out runs/")  # files and folders stay bash's own
    finally:
        shell.close(force=True)


def test_zsh(home: Path) -> None:
    install("zsh", home)
    shell = pexpect.spawn("zsh", ["-i"], cwd=str(home), encoding="utf-8", timeout=60, dimensions=(24, 200))
    try:
        shell.sendline("PROMPT='ready> '; bindkey '^I' complete-word; print begun")
        shell.expect("begun\r*\n")
        shell.expect("ready> ")
        shell.send("step-envs col\t")
        shell.expect_exact("\x07")  # the first Tab of a session only loads what Typer has written
        shell.send("\t")
        shell.expect_exact("lect")
        shell.send("--teache\t")
        shell.expect_exact("--teacher")
    finally:
        shell.close(force=True)


def test_fish(home: Path) -> None:
    install("fish", home)
    for typed, completed in CASES[2:]:
        done = subprocess.run(
            ["fish", "-c", f"complete -C '{typed}'"], cwd=home, capture_output=True, text=True, timeout=60, check=True
        )
        assert completed in [line.split("\t")[0] for line in done.stdout.splitlines()], done.stderr
