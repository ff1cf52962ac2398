"""Compare the generated pages with the code."""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from step_envs import TrajectoryStore
from step_envs.agents import NoviceAgent, rollout

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "scripts"))
generated_docs = pytest.importorskip("generated_docs", reason="needs griffelib, of the extra dev")


@pytest.mark.parametrize("path", generated_docs.PAGES, ids=lambda path: path.name)
def test_page_is_fresh(path: Path) -> None:
    assert path.read_text() == generated_docs.PAGES[path](), (
        f"{path.name} is stale: run `python scripts/generated_docs.py`."
    )


def test_the_home_page_begins_with_its_picture_in_words() -> None:
    picture = (ROOT / "docs" / "images" / "overview.svg").read_text()
    alt = ElementTree.fromstring(picture).findtext("{http://www.w3.org/2000/svg}title")
    assert (ROOT / "docs" / "index.md").read_text().startswith(f"# step-envs\n\n![{alt}](images/overview.svg)\n")


def test_each_picture_of_the_report_is_small_and_stands_below_its_command() -> None:
    page = (ROOT / "docs" / "viewing.md").read_text()
    pictures = sorted((ROOT / "docs" / "images").glob("report-*.png"))
    assert len(pictures) == 5
    for picture in pictures:
        assert picture.stat().st_size < 64_000
        before, linked, _ = page.partition(f"](images/{picture.name})")
        section = before.rpartition("\n### ")[2]
        assert linked and "```sh\nstep-envs " in section and "![" in section


def test_every_field_of_the_schema_is_described() -> None:
    schema = json.loads((ROOT / "docs" / "trajectory.schema.json").read_text())
    for model in (schema, *schema["$defs"].values()):
        missing = [name for name, field in model["properties"].items() if not field.get("description")]
        assert not missing, f"{model['title']} does not say what {missing} are."


def test_recorded_trajectories_match_the_schema(tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema, of the extra dev")
    import gymnasium as gym

    from step_envs.wrappers import ReActWrapper, RecordTrajectory, TeacherMonitorWrapper
    from step_envs.wrappers.teachers import OracleTeacher

    schema = json.loads((ROOT / "docs" / "trajectory.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    env = TeacherMonitorWrapper(ReActWrapper(gym.make("STeP-ALFWorld-v0")), OracleTeacher())
    with TrajectoryStore(tmp_path / "trajectories.jsonl") as store:
        kept = RecordTrajectory(env, store)
        for seed in range(5):
            rollout(kept, NoviceAgent(0.3), seed=seed)
    lines = (tmp_path / "trajectories.jsonl").read_text().splitlines()
    assert len(lines) == 5
    for line in lines:
        validator.validate(json.loads(line))
    wrong = json.loads(lines[0]) | {"stop_reason": "boredom"}
    assert [error.json_path for error in validator.iter_errors(wrong)] == ["$.stop_reason"]
