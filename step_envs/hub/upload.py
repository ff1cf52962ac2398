"""Pushes a run or a model in one commit, and only what has changed.

The hub is asked what it holds before anything is sent. So a repeated push sends nothing, a push that was cut off goes on
where it stopped, and a repository that holds something else is left alone. The commit names the state that was looked at:
if somebody else has changed it meanwhile, the hub refuses it.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from step_envs.collection.run_settings import RunSettings
from step_envs.confidential import note_environment
from step_envs.errors import HubError
from step_envs.file_reading import read_json, read_text
from step_envs.hub.cards import merge_cards
from step_envs.hub.client import check_name, hub_errors, import_hub, is_same_file, make_client, patience
from step_envs.hub.contents import RUN, Contents, prepare
from step_envs.hub.model_facts import CARD

_MARKS = {"dataset": f"{RUN}/trajectories.jsonl", "model": "train.json"}
"""The file by which a repository of each kind is known to be ours."""
_SETTINGS = {"dataset": f"{RUN}/config.json", "model": "train.json"}
_NOBODYS = frozenset({".gitattributes", CARD})
"""Files that the hub makes by itself."""
_MAY_DIFFER = frozenset(RunSettings.model_fields) | {"episodes"}
"""Settings in which a run that went on differs from what was pushed of it before."""
_WORDS = {"dataset": "data set", "model": "model"}


@dataclass
class PushReport:
    """What was pushed, or would be.

    Attributes:
        repo: Name of the repository.
        kind: ``dataset`` or ``model``.
        url: Its page.
        private: Only its owner can see it; None where the hub was not asked.
        created: The repository is new.
        changed: Files that were written, with their bytes; all files, where the hub was not asked.
        removed: Files that were removed, because the folder no longer has them.
        unchanged: Number of files that were on the hub already.
        left_out: What of the folder was not pushed, one phrase each.
        card: Text of README.md.
        commit: The commit that holds all this; None where the hub was not asked.
    """

    repo: str
    kind: str
    url: str
    private: bool | None = None
    created: bool = False
    changed: dict[str, int] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    unchanged: int = 0
    left_out: list[str] = field(default_factory=list)
    card: str = ""
    commit: str | None = None


def push(
    folder: str | os.PathLike[str],
    repo: str,
    *,
    public: bool = False,
    license: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
) -> PushReport:
    """Push a run as a data set, or a trained model as a model, with a card.

    Args:
        folder: A run folder, a file of trajectories, or a model that ``step-envs train`` made.
        repo: Name of the repository, ``USER/NAME``. It is made if it is not there.
        public: Everybody may see a repository that is made. One that is there stays as visible as it is.
        license: Id of the licence for the card, e.g. ``mit``. None leaves it to the card on the hub.
        overwrite: Replace another run or model that the repository holds. Its history keeps the old one.
        dry_run: Prepare and check everything, and ask the hub nothing.

    Returns:
        What was pushed.

    Raises:
        StoreError: The folder cannot be read, or holds a secret.
        HubError: The hub refuses it, cannot be reached, or holds something else under this name; there is no token.
        gymnasium.error.DependencyNotInstalled: The extra ``data`` is missing.
    """
    check_name(repo)
    note_environment()
    hub = import_hub("Pushing to the hub")
    client = None if dry_run else make_client("Pushing to the hub", writes=True)
    with tempfile.TemporaryDirectory(prefix="step-envs-push-") as temporary:
        contents = prepare(Path(folder), repo, Path(temporary), license=license)
        from huggingface_hub import constants

        prefix = "datasets/" if contents.kind == "dataset" else ""
        report = PushReport(repo, contents.kind, f"{constants.ENDPOINT}/{prefix}{repo}", left_out=contents.left_out)
        if client is None:
            report.card = contents.card
            report.changed = {name: path.stat().st_size for name, path in contents.files.items()}
            report.changed[CARD] = len(contents.card.encode())
            return report
        with hub_errors(repo, writes=True):
            options = {"public": public, "overwrite": overwrite, "licensed": license is not None}
            _push(hub, client, contents, report, Path(temporary), **options)
    return report


def _push(
    hub: Any,
    client: Any,
    contents: Contents,
    report: PushReport,
    temporary: Path,
    *,
    public: bool,
    overwrite: bool,
    licensed: bool,
) -> None:
    about: dict[str, Any] = {"repo_id": report.repo, "repo_type": contents.kind}
    info = _look(hub, client, about)
    if info is None:
        client.create_repo(**about, private=not public, exist_ok=True)
        report.created = True
        info = client.repo_info(**about, files_metadata=True, timeout=patience())
    report.private = info.private
    there = {entry.rfilename: entry for entry in info.siblings or []}
    if not overwrite:
        _refuse_others(client, contents, about, set(there), info.sha)
    report.card = contents.card
    if CARD in there:
        existing = read_text(client.hf_hub_download(**about, filename=CARD, revision=info.sha), fault=HubError)
        report.card = merge_cards(contents.card, existing, set_license=licensed)
    card = temporary / CARD
    card.write_text(report.card, encoding="utf-8", newline="\n")
    files = contents.files | {CARD: card}
    changed = [name for name, path in files.items() if name not in there or not is_same_file(there[name], path)]
    report.changed = {name: files[name].stat().st_size for name in changed}
    report.unchanged = len(files) - len(changed)
    report.removed = sorted(name for name in there if name not in files and _is_ours(name, contents.kind))
    report.commit = info.sha
    if not changed and not report.removed:
        return
    operations = [hub.CommitOperationAdd(name, str(files[name])) for name in changed]
    operations += [hub.CommitOperationDelete(name) for name in report.removed]
    done = client.create_commit(
        **about,
        operations=operations,
        commit_message=f"Push {len(changed)} files with step-envs",
        parent_commit=info.sha,
    )
    report.commit = done.oid


def _look(hub: Any, client: Any, about: Mapping[str, Any]) -> Any:
    """Ask what a repository holds; None where there is none."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        return client.repo_info(**about, files_metadata=True, timeout=patience())
    except GatedRepoError:
        raise
    except RepositoryNotFoundError:
        return None


def _is_ours(name: str, kind: str) -> bool:
    """Return True for a file that an earlier push may have written, and that this one would have to write anew."""
    if kind == "dataset":
        return name.startswith(f"{RUN}/") or (name.startswith("data/") and name.endswith(".parquet"))
    return "/" not in name and name.endswith((".safetensors", ".safetensors.index.json"))


def _refuse_others(client: Any, contents: Contents, about: Mapping[str, Any], there: set[str], sha: str) -> None:
    """Refuse to push onto something else: other people's files, another run, another training."""
    if not there - _NOBODYS:
        return
    repo, word = about["repo_id"], _WORDS[contents.kind]
    if _MARKS[contents.kind] not in there:
        raise HubError(
            f"{repo} holds a {word} that step-envs did not push: name another repository, or add --overwrite (in Python, "
            "overwrite=True)."
        )
    settings = _SETTINGS[contents.kind]
    saved: Any = {}
    if settings in there:
        saved = read_json(client.hf_hub_download(**about, filename=settings, revision=sha), fault=HubError)
    if _compared(saved) != _compared(contents.settings):
        noun = "run" if contents.kind == "dataset" else "training"
        raise HubError(
            f"{repo} holds another {noun}, with other settings: name another repository, or add --overwrite (in Python, "
            "overwrite=True); its history keeps the old one."
        )


def _compared(settings: Any) -> Any:
    if not isinstance(settings, dict):
        return settings
    return {name: value for name, value in settings.items() if name not in _MAY_DIFFER}
