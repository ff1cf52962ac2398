"""The folders of an experiment: one for each seed, and one for the files that all seeds share.

Every seed is a replication of the whole experiment: it draws its own tasks, makes its own original model, trains its own
base agent and collects its own D_r. ``ExperimentConfig.shared`` makes exceptions. Files of one seed are in ``seed-<n>``,
and shared files are in ``shared``.

- ``text/play``, ``text/samples``: pretraining text of a tiny model; ``original/``, ``pretrained/``: that model
- ``tasks.json``: U1, U2 and the held-out tasks; ``golden/<part>``: runs of the oracle over U1 and U2
- ``base/``: the base agent; ``base-evaluation/``: its run over the held-out tasks
- ``collected/<part>``: its runs over U2 under the teacher; ``explored/<part>``: its runs over U2 alone
- ``scripted/<part>``: a scripted agent's runs over U2 under the teacher; ``valued/<part>``: the collected runs with values
- ``arms/<arm>/model``, ``arms/<arm>/evaluation``: the model of every arm and its run over the held-out tasks
- ``base-evaluation-values.json``, ``arms/<arm>/evaluation-values.json``: values of the judged episodes of these runs
"""

from pathlib import Path
from typing import Literal, get_args

from step_envs.training.experiments.experiment_config import Arm, ExperimentConfig

Scope = int | Literal["shared"]
"""The owner of a folder: one training seed, or all seeds together."""

Group = Literal["original", "data", "arms"]
"""Files that are shared together: the original model; tasks, trajectories and base agent; trained arms."""


def scope_name(scope: Scope) -> str:
    """Return the name of a scope in names of steps and folders: ``shared`` or ``seed-<n>``."""
    return "shared" if scope == "shared" else f"seed-{scope}"


def read_scope(name: str) -> Scope:
    """Read what ``scope_name`` wrote."""
    return "shared" if name == "shared" else int(name.removeprefix("seed-"))


def scope_of(config: ExperimentConfig, group: Group, seed: Scope) -> Scope:
    """Return whose files a seed uses.

    Args:
        config: The experiment.
        group: Which files.
        seed: The seed; ``shared`` for a step that all seeds share.
    """
    if group == "arms":
        return seed
    if config.shared == "data" or (group == "original" and (config.shared == "original" or config.model is not None)):
        return "shared"
    return seed


class ExperimentFolders:
    """The folders that a training seed uses.

    Args:
        config: The experiment.
        out: Its folder.
        seed: The seed, or ``shared``.

    Attributes:
        data: Folder of tasks, trajectories and base agent.
        arms: Folder of the trained arms.
        draw: Number by which data is drawn.
        original_draw: Number by which the original model is made.
        seed: Seed of the training of arms.
    """

    def __init__(self, config: ExperimentConfig, out: Path, seed: Scope) -> None:
        self._config = config
        owners: dict[Group, Scope] = {group: scope_of(config, group, seed) for group in get_args(Group)}
        self._original = out / scope_name(owners["original"])
        self.data = out / scope_name(owners["data"])
        self.arms = out / scope_name(owners["arms"]) / "arms"
        self.draw, self.original_draw, self.seed = (
            config.seed if owners[group] == "shared" else int(owners[group]) for group in ("data", "original", "arms")
        )

    @property
    def text(self) -> Path:
        """Folder of the texts that a tiny model is made from."""
        return self._original / "text"

    @property
    def untrained(self) -> Path:
        """Folder of the tiny model with random weights."""
        return self._original / "original"

    @property
    def original(self) -> Path:
        """Folder of the original model, which every arm begins with."""
        made = self._config.pretraining
        if made is not None:
            return self.untrained if made.training is None else self._original / "pretrained"
        from step_envs.agents.local.checkpoint import checkpoint_folder

        assert self._config.model is not None
        return checkpoint_folder(self._config.model, download=self._config.download)

    @property
    def tasks(self) -> Path:
        """File with the tasks of U1 and U2 and the held-out tasks."""
        return self.data / "tasks.json"

    @property
    def base(self) -> Path:
        """Folder of the base agent."""
        return self.data / "base"

    def model(self, arm: Arm) -> Path:
        """Return the folder of an arm's model."""
        return self.arms / arm / "model"

    def evaluation(self, arm: Arm | Literal["base"]) -> Path:
        """Return the run of an arm, or of the base agent, over the held-out tasks."""
        return self.data / "base-evaluation" if arm == "base" else self.arms / arm / "evaluation"

    def values(self, arm: Arm | Literal["base"]) -> Path:
        """Return the file with the values of the judged episodes of that run: task -> values of its turns."""
        evaluation = self.evaluation(arm)
        return evaluation.with_name(f"{evaluation.name}-values.json")
