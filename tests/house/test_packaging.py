"""The package is whole however it is installed: from files without links, a source archive, a wheel or a git address.

What is committed is installed, for real and with all that it depends on, into an environment of its own. Then the main job
runs in another folder, where nothing but the installed package can be imported.
"""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINKS = {"wrappers", "agents", "training"}

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(1800)]


def call(*command: object, folder: Path) -> str:
    """Run a command in a folder, without this repository on its path; return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True, timeout=1700, check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed files as Python's zipfile unpacks them: a link becomes a small file that holds its target."""
    folder = tmp_path_factory.mktemp("zip")
    call("git", "-C", ROOT, "archive", "--format=zip", f"--output={folder / 'archive.zip'}", "HEAD", folder=folder)
    with zipfile.ZipFile(folder / "archive.zip") as archive:
        archive.extractall(folder / "files")
    for name in LINKS:
        assert (folder / "files" / name).read_text() == f"step_envs/{name}"
    return folder / "files"


@pytest.fixture(scope="module")
def built(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the source archive, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    builder = tmp_path_factory.mktemp("builder")
    call(sys.executable, "-m", "venv", builder, folder=folder)
    call(builder / "bin" / "python", "-m", "pip", "install", "--quiet", "build", folder=folder)
    call(builder / "bin" / "python", "-m", "build", "--outdir", folder, unpacked, folder=folder)
    return folder


def sdist_of(built: Path) -> Path:
    [path] = built.glob("*.tar.gz")
    return path


def wheel_of(built: Path) -> Path:
    [path] = built.glob("*.whl")
    return path


@pytest.fixture(params=["zip", "sdist", "wheel", "git"])
def source(request: pytest.FixtureRequest) -> str:
    """What is given to ``pip install``."""
    ways: dict[str, Callable[[], object]] = {
        "zip": lambda: request.getfixturevalue("unpacked"),
        "sdist": lambda: sdist_of(request.getfixturevalue("built")),
        "wheel": lambda: wheel_of(request.getfixturevalue("built")),
        "git": lambda: f"git+file://{ROOT}",
    }
    return str(ways[request.param]())


def test_an_install_is_whole_and_does_the_main_job(source: str, tmp_path: Path) -> None:
    call(sys.executable, "-m", "venv", tmp_path / "venv", folder=tmp_path)
    python, command = tmp_path / "venv" / "bin" / "python", tmp_path / "venv" / "bin" / "step-envs"
    install = ["install", "--quiet", "--constraint", ROOT / "constraints.txt", source]
    call(python, "-m", "pip", *install, folder=tmp_path)
    where = call(python, "-c", "import step_envs; print(step_envs.__file__)", folder=tmp_path)
    assert Path(where.strip()).is_relative_to(tmp_path / "venv")
    found = json.loads(call(command, "doctor", "--json", folder=tmp_path))
    assert found["ok"]
    assert all(check["status"] == "ok" for check in found["checks"] if check["name"] == "step-envs")
    run = ["--env", "STeP-ALFWorld-v0", "--episodes", "2", "--agent", "novice:error_rate=0.3", "--teacher", "oracle"]
    summary = json.loads(call(command, "collect", *run, "--seed", "1", "--out", "run", "--json", folder=tmp_path))
    assert summary["trajectories"] == 2
    kept = [json.loads(line) for line in (tmp_path / "run" / "trajectories.jsonl").read_text().splitlines()]
    assert [one["teacher"]["name"] for one in kept] == ["oracle", "oracle"]


def test_the_archives_hold_each_file_once(built: Path) -> None:
    names = ["step_envs", "step_envs_verifiers.py"]
    committed = call("git", "-C", ROOT, "ls-tree", "-r", "--name-only", "HEAD", *names, folder=built).splitlines()
    with zipfile.ZipFile(wheel_of(built)) as archive:
        in_wheel = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert sorted(in_wheel) == sorted(committed)
    with tarfile.open(sdist_of(built)) as archive:
        in_sdist = [name.partition("/")[2] for name in archive.getnames()]
    assert sorted(name for name in in_sdist if name in set(committed)) == sorted(committed)
    assert not [name for name in in_sdist if name.partition("/")[0] in LINKS and "/" in name]
