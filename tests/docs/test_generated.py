"""Compare the generated pages with the code."""

import json
import sys
from pathlib import Path

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
