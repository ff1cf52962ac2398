"""Loads a run or a model from the hub into a folder: checked against what the hub says it holds, whole or not at all."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from step_envs.errors import HubError, StoreError, unknown_name
from step_envs.files import replacing
from step_envs.hub.client import check_name, hub_errors, is_same_file, make_client, patience
from step_envs.hub.contents import MODEL_FILES, RUN
from step_envs.hub.model_facts import CARD
from step_envs.hub.run_facts import PUSHED
from step_envs.store import read_trajectories

KINDS = ("dataset", "model")
_RUN_FILES = {f"{RUN}/{name}" for name in ("trajectories.jsonl", *PUSHED)}


@dataclass
class LoadReport:
    """What was loaded.

    Attributes:
        repo: Name of the repository.
        kind: ``dataset`` or ``model``.
        out: The folder.
        commit: The commit that was loaded.
        files: Number of files.
        bytes: Their size.
        trajectories: Number of trajectories of a run; None for a model.
        left_out: Files of the repository that were not loaded.
    """

    repo: str
    kind: str
    out: Path
    commit: str
    files: int
    bytes: int
    trajectories: int | None
    left_out: list[str]


def load(
    repo: str,
    out: str | os.PathLike[str],
    *,
    kind: str | None = None,
    revision: str | None = None,
    on_file: Callable[[str], object] = lambda name: None,
) -> LoadReport:
    """Load a run or a model that was pushed with ``push``.

    Args:
        repo: Name of the repository, ``USER/NAME``.
        out: The folder to make. Of a data set, it is a run folder with the very bytes that were pushed.
        kind: ``dataset`` or ``model``; None takes the data set of this name, or else the model.
        revision: A branch, tag or commit; None is the newest state.
        on_file: Called with the name of each file before it is downloaded.

    Returns:
        What was loaded.

    Raises:
        StoreError: ``out`` is already there or cannot be written, or the run cannot be read.
        HubError: There is no such repository, it holds no run or model, the hub cannot be reached, or a file is damaged.
        UnknownNameError: There is no such kind.
        gymnasium.error.DependencyNotInstalled: ``huggingface_hub`` is missing.
    """
    check_name(repo)
    if kind is not None and kind not in KINDS:
        raise unknown_name("kind of repository", kind, KINDS)
    out = Path(out)
    if out.exists():
        raise StoreError(f"{out} is already there: name another folder.")
    client = make_client("Loading from the hub", writes=False)
    with hub_errors(repo, writes=False):
        kind, info = _find(client, repo, kind, revision)
    files, left_out = _chosen(repo, kind, info)
    with replacing(out) as temporary:
        temporary.mkdir()
        for name, entry in sorted(files.items()):
            on_file(name)
            with hub_errors(repo, writes=False):
                # Through the cache of the hub's own library, where a download that was cut off goes on.
                got = Path(client.hf_hub_download(repo, name, repo_type=kind, revision=info.sha))
            target = temporary / name.removeprefix(f"{RUN}/")
            shutil.copyfile(got, target)
            if not is_same_file(entry, target):
                raise HubError(f"{name} of {repo} arrived damaged: delete {got} and load again.")
        count = sum(1 for _ in read_trajectories(temporary)) if kind == "dataset" else None
        size = sum(file.stat().st_size for file in temporary.iterdir())
    return LoadReport(repo, kind, out, info.sha, len(files), size, count, left_out)


def _find(client: Any, repo: str, kind: str | None, revision: str | None) -> tuple[str, Any]:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    for one in KINDS if kind is None else (kind,):
        try:
            return one, client.repo_info(
                repo, repo_type=one, revision=revision, files_metadata=True, timeout=patience()
            )
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:
            if one == KINDS[-1] or kind is not None:
                raise
    raise AssertionError("unreachable")


def _chosen(repo: str, kind: str, info: Any) -> tuple[dict[str, Any], list[str]]:
    """Choose the files to load: none from anywhere else in the repository, and none that would run code."""
    there = {entry.rfilename: entry for entry in info.siblings or []}
    if kind == "dataset":
        files = {name: entry for name, entry in there.items() if name in _RUN_FILES}
        if f"{RUN}/trajectories.jsonl" not in files:
            raise HubError(
                f"{repo} is a data set without {RUN}/trajectories.jsonl, so `step-envs push` did not make it: read it with "
                "datasets.load_dataset."
            )
        return files, []
    files = {
        name: entry
        for name, entry in there.items()
        if Path(name).name == name and not name.startswith(".") and (name.endswith(MODEL_FILES) or name == CARD)
    }
    if not any(name.endswith(".safetensors") for name in files):
        raise HubError(f"{repo} holds no weights as safetensors: other forms can run code when they are loaded.")
    return files, sorted(set(there) - set(files) - {".gitattributes"})
