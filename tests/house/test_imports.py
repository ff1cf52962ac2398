"""Imports point one way: no circle between modules, and no arrow from a lower floor of the house to a higher one.

The imports are read from the syntax tree, those inside functions included: an import that hides in a function still ties
its module to the other one. So does a table of names that ``__getattr__`` looks up on first use (``_LAZY``).
What only a type checker imports (``if TYPE_CHECKING``) is looked at in a test of its own.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "step_envs"

FLOORS: list[list[str]] = [
    [
        *("errors", "confidential", "text", "files", "file_locks", "file_reading", "specs", "cache", "download"),
        *("official_data", "options", "worker_processes"),
    ],
    ["react_format", "replies", "world_state", "run_folder", "runs"],
    ["loss_weights", "trajectory", "token_logprobs", "store", "outcomes", "statistics", "figure_style"],
    [
        "brief_texts",
        "spaces",
        "world_traits",
        "tasks",
        "snapshots",
        "oracle",
        "rendering",
        "core",
        "batched_info",
        "vector",
        "registration",
    ],
    ["testing", "alfworld", "webshop", "sciworld"],
    ["endpoint"],
    ["wrappers"],
    ["agents"],
    ["collection"],
    ["credit"],
    ["report"],
    # An export of pairs makes them as training does.
    ["training", "exports"],
    ["serve", "viewer", "integrations", "hub"],
    ["cli", "__main__"],
]
"""Modules and packages of ``step_envs``, the lowest floor first; each may import its own floor and those below."""

WORLDS = ("alfworld", "webshop", "sciworld")

LAZY = {
    # Earlier versions had both in ``step_envs.agents``; they are looked up on first use.
    ("step_envs.agents", "step_envs.collection"),
}
"""The one arrow that points up."""


@dataclass(frozen=True, order=True)
class Import:
    """One import: who imports what, in which line, and whether only a type checker does."""

    source: str
    target: str
    line: int
    typing: bool

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


def modules() -> dict[str, Path]:
    """Map the dotted name of every module of the package to its file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports_of(name: str) -> Iterator[Import]:
    """Read the imports of a module from its syntax tree."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        for target in targets(node):
            if target != name:
                yield Import(name, target, node.lineno, id(node) in for_types)  # type: ignore[attr-defined]


def targets(node: ast.AST) -> Iterator[str]:
    """Name the modules of the package that a node imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in MODULES)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: imports are absolute"
        for alias in node.names:
            submodule = f"{node.module}.{alias.name}"
            if submodule in MODULES:
                yield submodule
            elif node.module in MODULES:
                yield node.module
    elif isinstance(node, ast.Dict):
        named = {value.value for value in node.values if isinstance(value, ast.Constant)}
        yield from sorted(named & set(MODULES), key=str)


IMPORTS = [found for name in MODULES for found in imports_of(name)]


def room(name: str) -> str:
    """Name the module or package right below ``step_envs`` that a module belongs to."""
    return name.split(".")[1] if "." in name else ""


def floor(name: str) -> int:
    """Find the floor of a module; the package itself is on that of the contract, which it re-exports."""
    return next(i for i, rooms in enumerate(FLOORS) if (room(name) or "registration") in rooms)


def circles(imports: list[Import]) -> list[list[str]]:
    """Find sets of modules that import one another, directly or by way of others (Tarjan's algorithm)."""
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for found in imports:
        graph[found.source].add(found.target)
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            cut = stack.index(name)
            component = stack[cut:]
            del stack[cut:]
            if len(component) > 1:
                components.append(sorted(component))

    for name in graph:
        if name not in index:
            visit(name)
    return components


def test_every_module_has_a_floor() -> None:
    rooms = [room for rooms in FLOORS for room in rooms]
    assert len(set(rooms)) == len(rooms)
    assert {room(name) for name in MODULES} - {""} == set(rooms)


def test_the_reader_sees_what_there_is() -> None:
    """A test that reads nothing would find nothing wrong."""
    found = {(one.source, one.target) for one in IMPORTS}
    assert ("step_envs.agents.novice", "step_envs.agents.base") in found
    assert ("step_envs.agents", "step_envs.collection") in found
    assert len(found) > 400


KINDS = pytest.mark.parametrize(
    "imports",
    [
        pytest.param([one for one in IMPORTS if not one.typing], id="at run time"),
        pytest.param(IMPORTS, id="with those for types"),
    ],
)


@KINDS
def test_no_circles(imports: list[Import]) -> None:
    assert circles([one for one in imports if (one.source, one.target) not in LAZY]) == []


@KINDS
def test_no_arrow_points_up(imports: list[Import]) -> None:
    wrong = [str(one) for one in imports if floor(one.target) > floor(one.source)]
    allowed = [str(one) for one in imports if (one.source, one.target) in LAZY]
    assert sorted(set(wrong) - set(allowed)) == []


@KINDS
def test_worlds_do_not_know_one_another(imports: list[Import]) -> None:
    wrong = [
        str(one)
        for one in imports
        if room(one.source) in WORLDS and room(one.target) in WORLDS and room(one.source) != room(one.target)
    ]
    assert wrong == []
