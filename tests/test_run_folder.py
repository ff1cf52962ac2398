"""A run's folder: who may write into it, and what a run that continues must have in common with the one that began."""

import json
import math
from pathlib import Path

import pytest
from pydantic import BaseModel

from step_envs.errors import StoreError
from step_envs.run_folder import RunFolder, first_difference, read_model, write_model
from step_envs.training.finetuning import FinetuneConfig, TrainingRecord

CONFLICT = "{folder} has {field}={saved}, not {asked}"


class Inner(BaseModel):
    steps: int = 1


class Settings(BaseModel):
    name: str = "a"
    tasks: tuple[str, ...] = ("x",)
    inner: Inner = Inner()
    speed: int = 1


def claim(path: Path, settings: Settings, *, resume: bool = True, product: str | None = None) -> Settings | None:
    folder = RunFolder(path, noun="a run", product=product, conflict=CONFLICT)
    return folder.claim(settings, resume=resume, meaning="settings", may_differ={"speed"})


def test_the_first_claims_and_the_same_goes_on(tmp_path: Path) -> None:
    assert claim(tmp_path / "run", Settings(), resume=False) is None
    with pytest.raises(StoreError, match="already holds a run: add --resume to go on with it, or name another folder"):
        claim(tmp_path / "run", Settings(), resume=False)
    assert claim(tmp_path / "run", Settings()) == Settings()
    assert claim(tmp_path / "run", Settings(speed=9)) == Settings()


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (Settings(name="b", tasks=("y",)), "name='a', not 'b'"),
        (Settings(tasks=("x", "y")), "tasks=('x',), not ('x', 'y')"),
        (Settings(inner=Inner(steps=2)), "inner.steps=1, not 2"),
    ],
)
def test_the_first_field_that_differs_is_named(tmp_path: Path, other: Settings, sentence: str) -> None:
    claim(tmp_path, Settings())
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(StoreError) as error:
        claim(tmp_path, other)
    assert str(error.value) == f"{tmp_path} has {sentence}"
    assert (tmp_path / "config.json").read_bytes() == before


def test_a_field_that_is_new_in_this_version_is_its_default(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"name": "a", "tasks": ["x"]}))
    assert claim(tmp_path, Settings()) == Settings()
    with pytest.raises(StoreError, match=r"inner\.steps=1, not 3"):
        claim(tmp_path, Settings(inner=Inner(steps=3)))


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("x")
    with pytest.raises(StoreError, match=r"is not empty and holds no config\.json of a run: name another folder"):
        claim(tmp_path, Settings())
    assert claim(tmp_path, Settings(), product="lines.jsonl") is None
    (tmp_path / "config.json").unlink()
    (tmp_path / "lines.jsonl").write_text("{}\n")
    with pytest.raises(StoreError, match=r"holds lines without a config\.json: name another folder"):
        claim(tmp_path, Settings(), product="lines.jsonl")


def test_who_was_killed_while_claiming_can_claim_again(tmp_path: Path) -> None:
    (tmp_path / ".config.json.0123456789ab.tmp").write_text("{")
    assert claim(tmp_path, Settings()) is None
    assert claim(tmp_path, Settings()) == Settings()


def test_who_waits_for_a_claim_that_does_not_come_is_told(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, noun="a run", conflict=CONFLICT)
    with pytest.raises(StoreError, match=r"The first process did not claim .* within 0 seconds: see what stopped it"):
        folder.wait_until_claimed(0)
    claim(tmp_path, Settings())
    folder.wait_until_claimed(0)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_model(tmp_path / "settings.json", Settings(name="\u00e9"))
    assert read_model(tmp_path / "settings.json", Settings, "settings") == Settings(name="\u00e9")
    (tmp_path / "settings.json").write_text('{"speed": "x"}')
    with pytest.raises(StoreError, match=r"settings\.json is not settings: .* \(at speed\)\.$"):
        read_model(tmp_path / "settings.json", Settings, "settings")
    with pytest.raises(StoreError, match=r"^Cannot read .*: No such file"):
        read_model(tmp_path / "none.json", Settings, "settings")
    with pytest.raises(StoreError, match=r"^make one$"):
        read_model(tmp_path / "none.json", Settings, "settings", absent="make one")


def test_a_loss_that_is_not_a_number_is_read_as_one(tmp_path: Path) -> None:
    figures = {"steps": 3, "loss": math.nan}
    record = TrainingRecord(model="m", rows=1, fingerprint="0", config=FinetuneConfig(), complete=True, figures=figures)
    write_model(tmp_path / "finetune.json", record)
    for read in (
        read_model(tmp_path / "finetune.json", TrainingRecord, "a training").figures,
        json.loads((tmp_path / "finetune.json").read_text())["figures"],
    ):
        assert read is not None
        assert f"{read['loss']:.3f}" == "nan"


def test_options_with_other_names_are_shown_whole() -> None:
    assert first_difference({"a": {"x": 1}}, {"a": {"x": 2}}) == ("a.x", 1, 2)
    assert first_difference({"a": {"x": 1}}, {"a": {}}) == ("a", {"x": 1}, {})
    assert first_difference({"a": 1}, {"a": 1}) is None
