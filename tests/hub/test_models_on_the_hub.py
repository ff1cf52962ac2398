"""A trained model goes to the hub with its card, without pickles and intermediate checkpoints, and comes back."""

import json
from pathlib import Path

import pytest
import yaml
from hub_stand_in import HubStandIn

from step_envs.errors import HubError, StoreError
from step_envs.hub import load, push

NAME = "writer/step-tiny"


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The files that ``step-envs train`` leaves; test_a_model_that_was_trained makes real ones."""
    folder = tmp_path / "model"
    (folder / "checkpoint-2").mkdir(parents=True)
    record = {"model": "x", "rows": 12, "complete": True, "versions": {"torch": "2.13.0"}}
    record["figures"] = {"steps": 2, "loss": 0.25, "seconds": 3.5}
    settings = {"runs": ["runs/boil"], "model": "Qwen/Qwen2.5-0.5B-Instruct", "recipe": "step"}
    files = {
        "train.json": settings,
        "finetune.json": record,
        "config.json": {"model_type": "qwen2"},
        "tokenizer.json": {},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 100)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "training_args.bin").write_bytes(b"a pickle")
    (folder / "checkpoint-2" / "optimizer.pt").write_bytes(b"a pickle")
    return folder


def test_a_model_comes_back_without_pickles(hub: HubStandIn, trained: Path, tmp_path: Path) -> None:
    report = push(trained, NAME, license="apache-2.0")
    assert (report.kind, report.private) == ("model", True)
    assert report.left_out == ["`checkpoint-2`", "`training_args.bin`"]
    found = load(NAME, tmp_path / "back")
    assert (found.kind, found.trajectories) == ("model", None)
    back = {file.name: file.read_bytes() for file in (tmp_path / "back").iterdir()}
    card = back.pop("README.md").decode()
    assert back == {
        file.name: file.read_bytes()
        for file in trained.iterdir()
        if file.is_file() and file.name != "training_args.bin"
    }
    metadata = yaml.safe_load(card.split("---")[1])
    assert (metadata["base_model"], metadata["license"]) == ("Qwen/Qwen2.5-0.5B-Instruct", "apache-2.0")
    assert metadata["pipeline_tag"] == "text-generation"
    assert "| loss | 0.25 |" in card
    assert "- `training_args.bin`" in card
    assert push(trained, NAME).changed == {}


def test_weights_of_an_earlier_push_go(hub: HubStandIn, trained: Path) -> None:
    push(trained, NAME)
    (trained / "model.safetensors").rename(trained / "model-00001-of-00001.safetensors")
    assert push(trained, NAME).removed == ["model.safetensors"]


def test_another_training_does_not_take_the_place_of_one(hub: HubStandIn, trained: Path) -> None:
    push(trained, NAME)
    (trained / "train.json").write_text(json.dumps({"runs": ["runs/melt"], "model": "x"}))
    with pytest.raises(
        HubError, match=rf"^{NAME} holds another training, with other settings: name another repository"
    ):
        push(trained, NAME)


def test_what_is_no_whole_model_is_refused(hub: HubStandIn, trained: Path) -> None:
    (trained / "chat_template.jinja").write_text("{# hf_" + "a" * 30 + " #}")
    with pytest.raises(
        StoreError, match=r"chat_template\.jinja holds what looks like a secret, and nothing was pushed"
    ):
        push(trained, NAME)
    (trained / "chat_template.jinja").unlink()
    record = json.loads((trained / "finetune.json").read_text())
    (trained / "finetune.json").write_text(json.dumps(record | {"complete": False}))
    with pytest.raises(
        StoreError, match=r"holds a training that is not complete: run `step-envs train` again first\.$"
    ):
        push(trained, NAME)
    (trained / "model.safetensors").unlink()
    with pytest.raises(StoreError, match=r"holds no weights \(\*\.safetensors\): the training is not complete\.$"):
        push(trained, NAME)
    assert hub.requests == []


def test_weights_that_run_code_are_not_loaded(hub: HubStandIn, tmp_path: Path) -> None:
    hub.put("writer/pickled", "model", pytorch_model_bin=b"a pickle")
    with pytest.raises(HubError, match=r"^writer/pickled holds no weights as safetensors: other forms can run code"):
        load("writer/pickled", tmp_path / "back")


@pytest.mark.train
@pytest.mark.slow
def test_a_model_that_was_trained(
    hub: HubStandIn, played: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra train")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "training"))
    from small_checkpoints import save_checkpoint
    from small_tokenizers import make_tokenizer
    from typer.testing import CliRunner

    from step_envs.cli import app

    base = save_checkpoint(make_tokenizer("bytes", "chatml"), tmp_path / "base")
    arguments = ["train", str(played), "--model", str(base), "--out", str(tmp_path / "model"), "--max-steps", "1"]
    done = CliRunner().invoke(app, [*arguments, "--max-length", "8000"])
    assert done.exit_code == 0, done.output
    report = push(tmp_path / "model", NAME)
    assert {"config.json", "model.safetensors", "tokenizer.json", "train.json", "README.md"} <= set(report.changed)
    assert "base_model" not in report.card  # a folder of this machine
    load(NAME, tmp_path / "back")
    there, back = (transformers.AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("model", "back"))
    for (name, one), other in zip(there.state_dict().items(), back.state_dict().values(), strict=True):
        assert bool((one == other).all()), name
