"""What an editor finds in the repository: pyright, as a language server, jumps to a class and finds all that uses it.

Every file has one place in the package; the links at the top are for the eye. Before that, an editor saw the files that a
link led to as others, and found 3 of 57 references of ``Agent``.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
LINKS = ("wrappers", "agents", "training")
BASE = ROOT / "step_envs" / "agents" / "base.py"

pytestmark = [pytest.mark.editor, pytest.mark.timeout(300)]


class LanguageServer:
    """Speaks JSON-RPC with a language server over its standard input and output."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, "-m", "pyright.langserver", "--stdio"]
        environment = os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, env=environment
        )
        self._numbers = count(1)
        folder = {"uri": root.as_uri(), "name": root.name}
        capabilities = {"workspace": {"workspaceFolders": True, "configuration": True}}
        self.ask(
            "initialize",
            {
                "processId": os.getpid(),
                "rootUri": root.as_uri(),
                "workspaceFolders": [folder],
                "capabilities": capabilities,
            },
        )
        self.tell("initialized", {})

        # Before it has listed the files of the repository, it looks for references in open files only.
        while not re.match(r"Found \d+ source files", self._receive().get("params", {}).get("message", "")):
            pass

    def ask(self, method: str, params: Any) -> Any:
        """Send a request; return its result."""
        number = next(self._numbers)
        self._write({"id": number, "method": method, "params": params})
        while True:
            message = self._receive()
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return message["result"]

    def tell(self, method: str, params: Any) -> None:
        """Send a message that has no answer."""
        self._write({"method": method, "params": params})

    def open(self, path: Path) -> None:
        """Open a file as an editor does."""
        document = {
            "uri": path.as_uri(),
            "languageId": "python",
            "version": 1,
            "text": path.read_text(encoding="utf-8"),
        }
        self.tell("textDocument/didOpen", {"textDocument": document})

    def close(self) -> None:
        self.ask("shutdown", None)
        self.tell("exit", None)
        self._process.communicate(timeout=300)

    def _receive(self) -> dict[str, Any]:
        """Return the next message that is no question; answer those that are."""
        while True:
            message = self._read()
            if "method" not in message or "id" not in message:
                return message
            # It asks for settings: none are made here, those of pyproject.toml hold.
            wanted = message["params"]["items"] if message["method"] == "workspace/configuration" else None
            self._write({"id": message["id"], "result": None if wanted is None else [{} for _ in wanted]})

    def _write(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0"} | message).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        length = 0
        while line := self._process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        assert length, "the language server has ended"
        message: dict[str, Any] = json.loads(self._process.stdout.read(length))
        return message


@pytest.fixture(scope="module")
def server() -> Iterator[LanguageServer]:
    server = LanguageServer(ROOT)
    yield server
    server.close()


def position(path: Path, text: str, word: str) -> dict[str, Any]:
    """Find a word within the first line that holds a text, as the parameters of a request."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        if text in line:
            column = line.index(word, line.index(text))
            return {"textDocument": {"uri": path.as_uri()}, "position": {"line": number, "character": column}}
    raise AssertionError(f"{path} holds no {text!r}")


def place(location: dict[str, Any]) -> tuple[Path, int, int]:
    """Read the file, line and column of a location."""
    start = location["range"]["start"]
    return Path(unquote(urlsplit(location["uri"]).path)), start["line"], start["character"]


def test_the_references_of_a_class_are_found(server: LanguageServer) -> None:
    server.open(BASE)
    asked = position(BASE, "class Agent", "Agent")
    found = [
        place(one) for one in server.ask("textDocument/references", asked | {"context": {"includeDeclaration": True}})
    ]
    assert len(set(found)) == len(found)
    files = {path for path, _, _ in found}
    assert {path.relative_to(ROOT).parts[0] for path in files}.isdisjoint(LINKS)
    assert len({path.resolve() for path in files}) == len(files)
    assert len(found) >= 35
    assert {"step_envs", "tests", "examples"} <= {path.relative_to(ROOT).parts[0] for path in files}


@pytest.mark.parametrize(
    ("example", "text", "word", "target"),
    [
        ("own_agent.py", "(Agent)", "Agent", BASE),
        ("own_teacher.py", "(Teacher)", "Teacher", ROOT / "step_envs" / "wrappers" / "teachers" / "base.py"),
    ],
)
def test_an_example_leads_to_the_definition(
    server: LanguageServer, example: str, text: str, word: str, target: Path
) -> None:
    path = ROOT / "examples" / example
    server.open(path)
    assert [place(one)[0] for one in server.ask("textDocument/definition", position(path, text, word))] == [target]
