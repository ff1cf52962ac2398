"""What one seed of an experiment gave: everything that a report needs, in one file of some 100 KB.

The run of an experiment is large (trajectories, checkpoints) and stays where it was made. Its records are small enough
to be kept beside the report, hold every episode of every arm, and are all that a report is made from. So a reader can
compute each figure again, and seeds that were run on several machines, or on several days, can be put into one report.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from step_envs.errors import DataError, StoreError
from step_envs.file_reading import read_json
from step_envs.run_folder import read_model, write_model
from step_envs.store import read_trajectories
from step_envs.training.experiments.arms import ARM_DESIGNS
from step_envs.training.experiments.episode_figures import EpisodeFigures, measure_episode
from step_envs.training.experiments.experiment_config import Arm, ExperimentConfig
from step_envs.training.experiments.folders import ExperimentFolders
from step_envs.training.experiments.training_data import ExperimentData, load_data, read_tasks

_MAY_DIFFER = frozenset({"arms", "against", "seeds", "judged", "margin", "workers", "threads", "concurrency", "gate"})
"""Settings that experiments may differ in whose seeds are reported together."""


class EpisodeColumns(BaseModel):
    """The episodes of a run, in the order of the held-out tasks: one list a figure, without the tasks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    success: str
    score: tuple[float, ...]
    steps: tuple[int, ...]
    invalid: tuple[int, ...]
    unknown_names: tuple[int, ...]
    repeated: tuple[int, ...]
    reflections: tuple[int, ...]
    judged: tuple[int, ...]
    idle: tuple[int, ...]
    lost: tuple[int, ...]

    @classmethod
    def of(cls, episodes: Sequence[EpisodeFigures]) -> "EpisodeColumns":
        """Put episodes into columns."""
        columns: dict[str, Any] = {
            name: tuple(getattr(episode, name) for episode in episodes)
            for name in cls.model_fields
            if name != "success"
        }
        return cls(success="".join("01"[episode.success] for episode in episodes), **columns)

    def episodes(self, tasks: Sequence[str]) -> list[EpisodeFigures]:
        """Return the episodes again."""
        columns = {name: getattr(self, name) for name in EpisodeColumns.model_fields if name != "success"}
        return [
            EpisodeFigures(
                task=task, success=self.success[i] == "1", **{name: column[i] for name, column in columns.items()}
            )
            for i, task in enumerate(tasks)
        ]


class ArmRecord(BaseModel):
    """What an arm, or the base agent, was trained on, and what it did.

    Attributes:
        trajectories: Trajectories (pairs, for an arm on pairs) that it was trained on.
        tokens_in_rows: Tokens of these.
        trained_tokens_in_rows: Those with loss.
        steps: Optimizer steps.
        tokens_seen: Tokens of all steps together.
        curve: Pairs of step and training loss.
        names_right: Pairs of step and share of the names that were predicted right, where it was measured.
        episodes: Its episodes on the held-out tasks.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    trajectories: int
    tokens_in_rows: int
    trained_tokens_in_rows: int
    steps: int
    tokens_seen: int
    curve: tuple[tuple[int, float], ...]
    names_right: tuple[tuple[int, float], ...] = ()
    episodes: EpisodeColumns


class SeedRecord(BaseModel):
    """What one seed of an experiment gave.

    Attributes:
        seed: The seed.
        tasks: The held-out tasks, in order.
        parameters: Parameters of the original model.
        collected: Figures of the trajectories.
        base: The base agent.
        arms: The arms that were trained.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int
    tasks: tuple[str, ...]
    parameters: int
    collected: dict[str, Any]
    base: ArmRecord
    arms: dict[Arm, ArmRecord]

    def episodes(self, arm: Arm | Literal["base"]) -> list[EpisodeFigures]:
        """Return the episodes of an arm."""
        record = self.base if arm == "base" else self.arms[arm]
        return record.episodes.episodes(self.tasks)


def make_record(config: ExperimentConfig, out: Path, seed: int) -> SeedRecord:
    """Make the record of a seed whose steps are all done.

    Args:
        config: The experiment.
        out: Its folder.
        seed: The seed.
    """
    folders = ExperimentFolders(config, out, seed)
    tasks = tuple(read_tasks(folders)["held_out"])
    return SeedRecord(
        seed=seed,
        tasks=tasks,
        parameters=_parameters(folders.original),
        collected=_collected(load_data(config, folders)),
        base=_arm_record(folders, "base", tasks),
        arms={arm: _arm_record(folders, arm, tasks) for arm in config.arms},
    )


def write_records(config: ExperimentConfig, records: Sequence[SeedRecord], folder: Path) -> None:
    """Write records and configuration into the folder of a report."""
    folder.mkdir(parents=True, exist_ok=True)
    write_model(folder / "config.json", config)
    for record in records:
        write_model(folder / f"seed-{record.seed}.json", record)


def read_records(folders: Sequence[Path]) -> tuple[ExperimentConfig, list[SeedRecord]]:
    """Read the records of one or several reports, for one report of them all.

    Args:
        folders: Folders of reports (or of experiments, whose report is in ``report``).

    Returns:
        The configuration, with all seeds, and with the arms that every seed has; and the records by seed.

    Raises:
        StoreError: A folder holds no report.
        DataError: Two of them are of different experiments, or hold the same seed.
    """
    configs: list[ExperimentConfig] = []
    records: dict[int, SeedRecord] = {}
    for folder in folders:
        folder = folder / "report" if (folder / "report" / "config.json").exists() else folder
        absent = f"{folder} holds no report of an experiment (config.json and seed-<n>.json)."
        config = read_model(
            folder / "config.json", ExperimentConfig, "the configuration of an experiment", absent=absent
        )
        _refuse_other_experiment(configs, config, folder)
        configs.append(config)
        files = sorted(folder.glob("seed-*.json"))
        if not files:
            raise StoreError(absent)
        for file in files:
            record = read_model(file, SeedRecord, "the record of a seed")
            if record.seed in records:
                raise DataError(f"Seed {record.seed} is in {folder} and in a folder before it: name it once.")
            records[record.seed] = record
    ordered = [records[seed] for seed in sorted(records)]
    arms = tuple(
        arm
        for arm in dict.fromkeys(arm for config in configs for arm in config.arms)
        if all(arm in record.arms for record in ordered)
    )
    changes = {"seeds": tuple(sorted(records)), "arms": arms}
    return ExperimentConfig.model_validate(configs[0].model_dump() | changes), ordered


def _refuse_other_experiment(known: Sequence[ExperimentConfig], config: ExperimentConfig, folder: Path) -> None:
    if not known:
        return
    first, other = (one.model_dump(exclude=set(_MAY_DIFFER)) for one in (known[0], config))
    different = [name for name in first if first[name] != other[name]]
    if different:
        raise DataError(
            f"{folder} is of another experiment: {', '.join(different)} differ from those of the first folder. Seeds "
            "can be reported together only if nothing but seeds and arms differs."
        )


def _arm_record(folders: ExperimentFolders, arm: Arm | Literal["base"], tasks: Sequence[str]) -> ArmRecord:
    model = folders.base if arm == "base" else folders.model(arm)
    rows = read_json(model.with_name(f"{model.name}-rows.json"))
    record = read_json(model / rows.get("record", "finetune.json"))
    log: list[Mapping[str, Any]] = read_json(model / "trainer_state.json")["log_history"]
    on_pairs = arm != "base" and ARM_DESIGNS[arm].on_pairs
    trained = rows["chosen_tokens"] + rows["rejected_tokens"] if on_pairs else rows["trained_tokens"]
    return ArmRecord(
        trajectories=rows["pairs"] if on_pairs else rows["trajectories"],
        tokens_in_rows=rows["tokens"],
        trained_tokens_in_rows=trained,
        steps=record["config"]["max_steps"],
        tokens_seen=record["figures"]["tokens"],
        curve=_logged(log, "loss"),
        names_right=_logged(log, "names_right"),
        episodes=EpisodeColumns.of(_episodes(folders, arm, tasks)),
    )


def _logged(log: Sequence[Mapping[str, Any]], name: str) -> tuple[tuple[int, float], ...]:
    return tuple((int(entry["step"]), round(float(entry[name]), 5)) for entry in log if name in entry)


def _episodes(folders: ExperimentFolders, arm: Arm | Literal["base"], tasks: Sequence[str]) -> list[EpisodeFigures]:
    values = read_json(folders.values(arm)) if folders.values(arm).exists() else {}
    place = {task: index for index, task in enumerate(tasks)}
    found = [measure_episode(one, values.get(one.task_id, ())) for one in read_trajectories(folders.evaluation(arm))]
    return sorted(found, key=lambda episode: place[episode.task])


def _parameters(folder: Path) -> int:
    from math import prod

    from safetensors import safe_open

    count = 0
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(str(file), framework="np") as weights:
            count += sum(prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return count


def _collected(data: ExperimentData) -> dict[str, Any]:
    kept = data.reflected.kept
    turns = [turn for trajectory in kept for turn in trajectory.turns if turn.role == "assistant"]
    return {
        "golden": len(data.golden),
        "d1": len(data.d1()),
        "d_r": len(kept),
        "d_r_by_errors": {str(errors): n for errors, n in sorted(Counter(one.errors for one in kept).items())},
        "dropped": dict(sorted(data.reflected.dropped.items())),
        "turns": sum(turn.kind != "instruction" for turn in turns),
        "error_turns": sum(turn.kind == "error" for turn in turns),
        "error_turns_invalid": sum(turn.kind == "error" and turn.valid_action is False for turn in turns),
        "correction_turns": sum(turn.kind == "correction" for turn in turns),
        "same_tasks": len(data.golden_of_reflected_tasks()),
    }
