"""The command as a whole: help, wrong input, and terminals of all kinds."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cli_calls import COMMAND, DANGEROUS, STYLES, VERBS, call, process

from step_envs import __version__


def test_version() -> None:
    assert call("--version").output == f"step-envs {__version__}\n"


def test_help_names_every_verb_and_each_verb_explains_itself() -> None:
    overview = call("--help")
    assert overview.exit_code == 0
    for verb in VERBS:
        assert re.search(rf"^  {verb} +\w", overview.output, re.MULTILINE)
        text = call(verb, "--help").output
        assert "Exit codes:" in text and f"step-envs {verb}" in text and "--json" in text
        assert all(len(line) <= 80 for line in text.splitlines())


def test_the_index_says_of_each_verb_what_it_does_in_a_whole_sentence() -> None:
    index = call("--help").output.partition("Commands:\n")[2]
    said = dict(re.findall(r"^  (\S+) +((?:.|\n {16})+)$", index, re.MULTILINE))
    assert set(said) == set(VERBS)
    for verb, sentence in said.items():
        assert re.fullmatch(r"[A-Z].*[^.]\.", sentence, re.DOTALL), f"{verb}: {sentence}"
    page = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
    listed = page.partition("**Commands**:\n\n")[2].partition("\n\n")[0].splitlines()
    assert len(listed) == len(VERBS) and all(re.fullmatch(r"\* `[\w-]+`: [A-Z].*[^.]\.", line) for line in listed)


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    heavy = ("pydantic", "pyarrow", "datasets", "torch", "scienceworld", "py4j", "step_envs.sciworld.env")
    code = f"import sys, step_envs.cli; print(len(sys.modules), *[name for name in {heavy} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    count, *found = answer.stdout.split()
    assert found == []
    assert int(count) < 650  # 452 when this was written


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tasks", "--split", "trian"], "Unknown split 'trian'. Did you mean 'train' or 'eto_train'?"),
        (["tasks", "--task-type", "boill"], "Unknown task type 'boill'. Did you mean 'boil'?"),
        (["tasks", "--counts", "--task-type", "boill"], "Unknown task type 'boill'. Did you mean 'boil'?"),
        (["tasks", "--counts", "--split", "dve"], "Unknown split 'dve'. Did you mean 'dev'?"),
        (["tasks", "--env", "STeP-SciWord-v0"], "Unknown environment 'STeP-SciWord-v0'. Did you mean 'STeP-SciWorld-v0'"),
        (["tasks", "--env", "CartPole-v1"], "CartPole-v1 is not a text environment; there are"),
        (["view", "nowhere"], "Cannot read nowhere: No such file or directory."),
        (["view", "nowhere", "--outcome", "sucess"], "Unknown outcome 'sucess'. Did you mean 'success'"),
        (["export", "nowhere", "--out", "x.jsonl"], "Cannot read nowhere: No such file or directory."),
        (["export", "nowhere", "--out", "x", "--format", "parket"], "Unknown format 'parket'. Did you mean 'parquet'"),
        (["play", "--agent", "novise"], "Unknown agent 'novise'. Did you mean 'novice'?"),
        (["play", "--agent", "novice:rate=1"], "The agent 'novice' cannot be made from 'rate=1'"),
        (["play", "--teacher", "orakel"], "Unknown teacher 'orakel'. Did you mean 'oracle'?"),
        (["play", "--split", "dve"], "Unknown split 'dve'. Did you mean 'dev'?"),
        (["play", "--env", "nope"], "Unknown environment 'nope'."),
        (["collect", "--out", "x", "--intervene", "never"], "intervene: Input should be 'after' or 'before', got 'never'."),
    ],
)  # fmt: skip
def test_wrong_input_is_one_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stdout == "" and len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize("verb", [["view"], ["report"], ["export", "--out", "x"]])
def test_a_name_that_no_file_can_have_is_wrong_input(verb: list[str]) -> None:
    result = call(*verb, "a" * 300)
    assert result.exit_code == 2
    assert result.stderr.endswith("File name too long.\n") and len(result.stderr.splitlines()) == 1


def test_an_unknown_task_is_told_by_name(tmp_path: Path) -> None:
    result = call("play", "--task", "boil/99", "--agent", "oracle")
    assert result.exit_code == 2 and "Unknown task 'boil/99'. Did you mean 'boil/29'" in result.stderr


def test_a_misspelt_verb_names_the_nearest() -> None:
    result = call("taks")
    assert result.exit_code == 2 and "'tasks'" in result.stderr


def test_the_sentence_is_red_and_cannot_steer_the_terminal() -> None:
    answer = process("tasks", "--split", "\u202e[bold]\x1b[2J", FORCE_COLOR="1", TERM="xterm")
    assert answer.returncode == 2 and "Traceback" not in answer.stderr
    assert answer.stderr.startswith("\x1b[31mUnknown split")
    rest = STYLES.sub("", answer.stderr)
    assert "[bold]" in rest and not DANGEROUS.search(rest)


def test_debug_shows_the_traceback() -> None:
    answer = process("--debug", "tasks", "--split", "trian")
    assert answer.returncode != 0 and "Traceback" in answer.stderr and "UnknownNameError" in answer.stderr


def test_a_reader_that_leaves_early_is_no_error() -> None:
    line = f"{' '.join(map(shlex.quote, COMMAND))} tasks | head -1"
    reader = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=True)
    assert reader.stdout == "boil/0\n" and "Traceback" not in reader.stderr


def test_a_terminal_that_knows_ascii_alone_gets_escapes(run: Path) -> None:
    answer = process("view", run, "--episode", 0, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert answer.returncode == 0 and answer.stdout.isascii() and "Boil water" in answer.stdout
