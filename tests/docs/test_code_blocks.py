"""Run every code block of the README and the documentation, in the order of its page.

The Python blocks of a page share one namespace, and its shell blocks share one folder. If a block needs a network, a
GPU or a large download, a comment above it says so: ``<!-- skip: next "reason" -->``. Sybil reads this comment. To save
time, no run plays more than a few episodes, and every endpoint is a scripted server.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from chat_server import Answer, ChatServer, verdict
from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser
from sybil.region import Lexeme

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FIRST_PAGES = {ROOT / "README.md"}
"""What a newcomer reads first; the blocks of the other pages run with the slow tests."""
GENERATED = {ROOT / "docs" / "commands.md"}
"""Pages that a script generates from the commands; ``test_generated.py`` compares them."""
NOT_CODE = {"text", "json", "toml", "yaml", "{.python}"}
"""Languages of blocks that do not run; ``{.python}`` shows a whole file of the repository."""
MOST_EPISODES = 3
_ENDPOINT = re.compile(r"http://[\w.]+:8000/v1")
_EPISODES = re.compile(r"(--episodes[ =])(\d+)")


def cheap(text: Lexeme, url: str) -> Lexeme:
    """Use the scripted server, and play only a few episodes."""
    text_ = _ENDPOINT.sub(url, text)
    text_ = _EPISODES.sub(lambda found: f"{found[1]}{min(int(found[2]), MOST_EPISODES)}", text_)
    return Lexeme(text_, text.offset, text.line_offset)


def run_shell(example: Example) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", example.parsed], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, (
        f"{example.path}:{example.line} ended with {done.returncode}\n{done.stdout}{done.stderr}"
    )


def page_examples(path: Path) -> list[Example]:
    document = Document.parse(
        str(path),
        SkipParser(),
        PythonCodeBlockParser(),
        CodeBlockParser("sh", run_shell),
        CodeBlockParser("bash", run_shell),
    )
    document.namespace["installed"] = lambda name: find_spec(name) is not None
    return list(document)


def marks(path: Path) -> list[pytest.MarkDecorator]:
    """Leave all but the first pages to the slow tests, and those that need torch to the tests of training."""
    if re.search(r'not installed\("(torch|transformers|trl)"\)', path.read_text()):
        return [pytest.mark.train]
    return [] if path in FIRST_PAGES else [pytest.mark.slow]


EXAMPLES = [
    pytest.param(example, id=f"{path.relative_to(ROOT)}:{example.line}", marks=marks(path))
    for path in PAGES
    if path not in GENERATED
    for example in page_examples(path)
]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    def answer(request: dict[str, object]) -> Answer:
        asked = str(request["messages"])
        if "You are the teacher" in asked:
            return Answer(verdict())
        return Answer("Thought: I look first.\nAction: look around")

    with ChatServer(answer) as server:
        yield server.url


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the command ``step-envs`` of this tree, even if another version is installed."""
    folder = tmp_path_factory.mktemp("bin")
    for name, module in (("step-envs", "-m step_envs.cli"), ("python", "")):
        shim = folder / name
        path = f'PYTHONPATH={shlex.quote(str(ROOT))}"${{PYTHONPATH:+:$PYTHONPATH}}"'
        shim.write_text(f'#!/bin/sh\n{path} exec {shlex.quote(sys.executable)} {module} "$@"\n')
        shim.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folder in which the blocks of each page run; like a clone, it contains the examples."""
    made = {str(path): tmp_path_factory.mktemp(path.stem) for path in PAGES}
    for folder in made.values():
        (folder / "examples").symlink_to(ROOT / "examples")
    return made


@pytest.mark.parametrize("example", EXAMPLES)
def test_block_runs(
    example: Example,
    endpoint: str,
    command: Path,
    folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folders[example.path])
    monkeypatch.setenv("PATH", f"{command}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.syspath_prepend(ROOT / "examples")
    if isinstance(example.parsed, Lexeme):
        example.parsed = cheap(example.parsed, endpoint)
    example.evaluate()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_has_a_known_language(path: Path) -> None:
    if path in GENERATED:
        pytest.skip("generated by a script")
    text = path.read_text()
    fences = re.findall(r"^ *```+(.*)$", text, re.MULTILINE)
    opened = [info.strip().split(" ")[0] for info in fences[::2]]
    assert len(fences) % 2 == 0, f"{path.name} has a code block that does not end."
    assert set(opened) <= NOT_CODE | {"python", "sh", "bash"}, f"{path.name} has blocks of {sorted(set(opened))}."


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_skipped_block_says_why(path: Path) -> None:
    for found in re.findall(r"<!--+ *skip: *(.*?) *--+>", path.read_text()):
        assert re.search(r'^(next|start) ("[^"]{8,}"|if\(.+reason="[^"]{8,}"\))$', found) or found == "end", found
