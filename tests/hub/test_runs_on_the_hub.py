"""A run goes to the hub and comes back byte for byte; what is there is not sent twice, and nobody's work is lost."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from hub_stand_in import READER, STRANGER, WRITER, Fault, HubStandIn

from step_envs.collection import CollectConfig, collect
from step_envs.errors import HubError, StoreError, UnknownNameError
from step_envs.hub import load, push
from step_envs.store import read_trajectories

NAME = "writer/boxes"


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("in_parts", [False, True])
def test_a_run_comes_back_byte_for_byte(hub: HubStandIn, played: Path, tmp_path: Path, in_parts: bool) -> None:
    hub.in_parts = in_parts
    report = push(played, NAME)
    assert (report.kind, report.created, report.private, report.removed) == ("dataset", True, True, [])
    assert report.url == f"{hub.url}/datasets/{NAME}"
    found = load(NAME, tmp_path / "back")
    assert (found.kind, found.trajectories, found.commit) == ("dataset", 4, report.commit)
    assert contents(tmp_path / "back") == contents(played)


def test_a_run_that_was_loaded_can_be_continued(hub: HubStandIn, played: Path, tmp_path: Path) -> None:
    push(played, NAME)
    load(NAME, tmp_path / "back")
    collect(
        CollectConfig.read(tmp_path / "back" / "config.json").model_copy(update={"episodes": 5}),
        tmp_path / "back",
        resume=True,
    )
    assert len(list(read_trajectories(tmp_path / "back"))) == 5


def test_the_same_push_again_sends_nothing(hub: HubStandIn, played: Path) -> None:
    first = push(played, NAME)
    hub.requests.clear()
    again = push(played, NAME)
    assert (again.changed, again.removed, again.commit) == ({}, [], first.commit)
    assert again.unchanged == len(first.changed)
    assert hub.sent("POST", "PUT") == []
    assert len(hub.repositories["dataset", NAME].commits) == 2  # the hub's own first one, and the push


def test_a_run_that_went_on_sends_what_changed(hub: HubStandIn, played: Path, tmp_path: Path) -> None:
    push(played, NAME)
    longer = Path(shutil.copytree(played, tmp_path / "longer"))
    collect(CollectConfig.read(longer / "config.json").model_copy(update={"episodes": 6}), longer, resume=True)
    report = push(longer, NAME)
    assert not report.created
    assert {"run/trajectories.jsonl", "data/train.parquet", "README.md", "run/summary.json"} <= set(report.changed)
    load(NAME, tmp_path / "back")
    assert contents(tmp_path / "back") == contents(longer)


def test_a_push_that_was_cut_off_goes_on(hub: HubStandIn, played: Path, tmp_path: Path) -> None:
    hub.faults.append(Fault("POST", "/commit/", status=503))
    with pytest.raises(
        HubError, match=r"^The hub answered with an error of its own \(503\)\. Run the same command again"
    ):
        push(played, NAME)
    hub.requests.clear()
    report = push(played, NAME)
    assert hub.sent("PUT") == []  # the large files had arrived
    assert not report.created
    load(NAME, tmp_path / "back")
    assert contents(tmp_path / "back") == contents(played)


def test_an_upload_that_fails_once_is_tried_again(hub: HubStandIn, played: Path, tmp_path: Path) -> None:
    hub.faults.append(Fault("PUT", "/storage/", status=500))
    push(played, NAME)
    load(NAME, tmp_path / "back")
    assert contents(tmp_path / "back") == contents(played)


def test_half_a_line_is_not_pushed(hub: HubStandIn, played: Path, tmp_path: Path) -> None:
    killed = Path(shutil.copytree(played, tmp_path / "killed"))
    with (killed / "trajectories.jsonl").open("a") as file:
        file.write('{"schema": "step-traj')
    push(killed, NAME)
    load(NAME, tmp_path / "back")
    assert (tmp_path / "back" / "trajectories.jsonl").read_bytes() == (played / "trajectories.jsonl").read_bytes()


def test_another_run_does_not_take_the_place_of_one(hub: HubStandIn, played: Path, tmp_path: Path) -> None:
    push(played, NAME)
    other = tmp_path / "other"
    collect(CollectConfig(env="STeP-ALFWorld-v0", split="valid_seen", episodes=1, seed=7), other)
    with pytest.raises(
        HubError,
        match=rf"^{NAME} holds another run, with other settings: name another repository, or add --overwrite \(in Python, "
        r"overwrite=True\); its history keeps the old one\.$",
    ):
        push(other, NAME)
    report = push(other, NAME, overwrite=True)
    assert report.removed == ["data/train.parquet"]
    assert "data/valid_seen.parquet" in report.changed
    load(NAME, tmp_path / "new")
    assert contents(tmp_path / "new") == contents(other)
    first = hub.repositories["dataset", NAME].commits[1][0]
    load(NAME, tmp_path / "old", revision=first)
    assert contents(tmp_path / "old") == contents(played)


def test_the_files_of_others_are_left_alone(hub: HubStandIn, played: Path) -> None:
    hub.put(NAME, README_md=b"", data__mine_csv=b"a,b\n")
    with pytest.raises(
        HubError, match=rf"^{NAME} holds a data set that step-envs did not push: name another repository"
    ):
        push(played, NAME)
    assert hub.sent("PUT", "POST") == []


def test_what_people_write_on_the_hub_stays(hub: HubStandIn, played: Path) -> None:
    push(played, NAME)
    repository = hub.repositories["dataset", NAME]
    files = dict(repository.files("main") or {})
    card = files["README.md"].decode()
    assert "license" not in card
    files["README.md"] = (
        card.replace("---\n", "---\nlicense: mit\n", 1).replace("\n---\n", "\n---\n\nMy own words.\n", 1).encode()
    )
    repository.commit("by hand", files)
    push(played, NAME)
    renewed = (repository.files("main") or {})["README.md"].decode()
    assert "\nlicense: mit\n" in renewed
    assert renewed.index("My own words.") < renewed.index("# boxes")
    count = len(repository.commits)
    push(played, NAME)
    assert len(repository.commits) == count
    push(played, NAME, license="cc-by-4.0")
    assert "\nlicense: cc-by-4.0\n" in (repository.files("main") or {})["README.md"].decode()


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        (None, r"Pushing to the hub needs a token that may write: run `hf auth login`, or set HF_TOKEN \(https://"),
        (STRANGER, r"The hub does not know this token: run `hf auth login`, or set HF_TOKEN to one that is valid\.$"),
        (
            READER,
            r"The token may not write to writer/boxes \(you must use a write token to write to a repository\): use one",
        ),
    ],
)
def test_tokens_that_do_not_fit(
    hub: HubStandIn, played: Path, monkeypatch: pytest.MonkeyPatch, token: str | None, sentence: str
) -> None:
    if token is None:
        monkeypatch.delenv("HF_TOKEN")
    else:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(HubError, match=f"^{sentence}") as caught:
        push(played, NAME)
    assert token is None or token not in str(caught.value)
    assert hub.repositories == {}


def test_a_name_that_belongs_to_others(hub: HubStandIn, played: Path) -> None:
    with pytest.raises(
        HubError, match=r"^The token may not write to somebody/boxes \(You don't have the rights to create"
    ):
        push(played, "somebody/boxes")


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (
            Fault("GET", "/api/datasets", status=500),
            r"The hub answered with an error of its own \(500\)\. Run the same",
        ),
        (Fault("GET", "/api/datasets", status=429), r"The hub takes no more requests for now \(429\)\. Run the same"),
        (
            Fault("POST", "/commit/", status=409),
            r"writer/boxes was changed by somebody else at the same time, and nothing",
        ),
        (Fault("POST", "/repos/create", status=402), r"The hub refused the request about writer/boxes \(402\)"),
        (
            Fault("GET", "/api/datasets"),
            r"The hub cannot be reached \(.*disconnected.*\)\. Run the same command again later",
        ),
        (
            Fault("GET", "/api/datasets", seconds=3),
            r"The hub cannot be reached \(.*timed out\)\. Run the same command again",
        ),
        (
            Fault("POST", "/commit/", seconds=3),
            r"The hub cannot be reached \(.*timed out\)\. Run the same command again",
        ),
    ],
)
def test_faults_of_the_hub_are_one_sentence(
    hub: HubStandIn, played: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault, sentence: str
) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1")
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    hub.faults.append(fault)
    with pytest.raises(HubError, match=f"^{sentence}") as caught:
        push(played, NAME)
    assert "\n" not in str(caught.value)
    push(played, NAME)
    assert ("dataset", NAME) in hub.repositories


def test_a_commit_in_between_is_not_overwritten(hub: HubStandIn, played: Path) -> None:
    push(played, NAME)
    repository = hub.repositories["dataset", NAME]
    theirs = {**(repository.files("main") or {}), "run/summary.json": b"{}"}
    hub.meanwhile = lambda: repository.commit("theirs", theirs)
    with pytest.raises(HubError, match="was changed by somebody else at the same time, and nothing was written"):
        push(played, NAME, license="mit")
    assert repository.files("main") == theirs


def test_private_repositories_are_seen_with_a_token_only(
    hub: HubStandIn, played: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(played, NAME)
    push(played, "writer/open", public=True)
    monkeypatch.delenv("HF_TOKEN")
    sentence = (
        rf"^There is no {NAME} on the hub that this token may see: check the name, or log in with `hf auth login`"
    )
    with pytest.raises(HubError, match=sentence):
        load(NAME, tmp_path / "back")
    load("writer/open", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(played)


def test_loading_what_is_not_there(hub: HubStandIn, played: Path, tmp_path: Path) -> None:
    hub.put("writer/table", data__mine_csv=b"a,b\n")
    push(played, NAME)
    with pytest.raises(HubError, match=r"^There is no writer/nothing on the hub that this token may see"):
        load("writer/nothing", tmp_path / "back")
    with pytest.raises(
        HubError, match=r"^writer/boxes has no such revision: name a branch, a tag or a commit of it\.$"
    ):
        load(NAME, tmp_path / "back", revision="v2")
    with pytest.raises(
        HubError, match=r"^writer/table is a data set without run/trajectories\.jsonl, so `step-envs push`"
    ):
        load("writer/table", tmp_path / "back")
    with pytest.raises(ValueError, match=r"^'boxes' is no name of a repository: write USER/NAME, with letters, digits"):
        load("boxes", tmp_path / "back")
    with pytest.raises(UnknownNameError, match=r"^Unknown kind of repository 'space'\. Known: dataset, model\.$"):
        load(NAME, tmp_path / "back", kind="space")
    (tmp_path / "back").mkdir()
    with pytest.raises(StoreError, match=r"back is already there: name another folder\.$"):
        load(NAME, tmp_path / "back")


def test_a_file_that_arrives_damaged_is_found(hub: HubStandIn, played: Path, tmp_path: Path) -> None:
    push(played, NAME)
    files = hub.repositories["dataset", NAME].files("main") or {}
    name = "run/trajectories.jsonl"
    digest = hashlib.sha256(files[name]).hexdigest()
    hub.objects[digest] = files[name].replace(b'"loss":1.0', b'"loss":0.0')
    with pytest.raises(HubError, match=rf"^{name} of {NAME} arrived damaged: delete .* and load again\.$"):
        load(NAME, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_keys_do_not_leave_this_machine(
    hub: HubStandIn, played: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_API_KEY", "a-very-own-secret-of-mine")
    lines = (played / "trajectories.jsonl").read_text().splitlines()
    for number, secret in enumerate(["sk-proj-12345678901234567890", "a-very-own-secret-of-mine", WRITER]):
        leaky = Path(shutil.copytree(played, tmp_path / f"leaky-{number}"))
        record = json.loads(lines[1])
        record["turns"][3]["content"] = f"Thought: the key is {secret}.\nAction: look"
        (leaky / "trajectories.jsonl").write_text("\n".join([lines[0], json.dumps(record)]) + "\n")
        for dry_run in (True, False):
            with pytest.raises(StoreError) as caught:
                push(leaky, NAME, dry_run=dry_run)
            assert str(caught.value) == (
                f"Line 2 of {leaky}/trajectories.jsonl holds what looks like a secret (at turns[3].content), and "
                "nothing was pushed: take it out first."
            )
    config = json.loads((played / "config.json").read_text())
    leaky = Path(shutil.copytree(played, tmp_path / "config"))
    (leaky / "config.json").write_text(json.dumps(config | {"env_options": {"api_key": "something"}}))
    with pytest.raises(StoreError, match=r"config\.json holds what looks like a secret \(at env_options\.api_key\)"):
        push(leaky, NAME)
    assert hub.requests == []


def test_a_dry_run_asks_the_hub_nothing(hub: HubStandIn, played: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    report = push(played, NAME, dry_run=True)
    assert hub.requests == []
    assert report.commit is None
    names = {"README.md", "data/train.parquet", "run/config.json", "run/summary.json", "run/trajectories.jsonl"}
    assert set(report.changed) == names
    assert report.changed["run/trajectories.jsonl"] == (played / "trajectories.jsonl").stat().st_size


def test_a_folder_that_is_no_run(hub: HubStandIn, tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match=r"is neither a run \(it has no trajectories\.jsonl\) nor a model of `step-envs"
    ):
        push(tmp_path, NAME)
    (tmp_path / "trajectories.jsonl").write_text("")
    with pytest.raises(StoreError, match=r"trajectories\.jsonl holds no trajectory: there is nothing to push\.$"):
        push(tmp_path, NAME)
