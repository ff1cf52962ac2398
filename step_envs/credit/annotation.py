"""Write values into the trajectories of runs: what each state was worth.

The result is a run of its own, with one line for every line of its sources, in the same order. So an annotation that was
stopped goes on after the lines that are there, and the sources stay as they were collected.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from step_envs.collection.run_settings import RunSettings
from step_envs.credit.advantages import TOLERANCE, step_advantages
from step_envs.credit.rollout_value import RolloutValue
from step_envs.credit.value_functions import ValueFunction, make_value_function
from step_envs.credit.value_workers import ValueProcesses, ValueThreads, ValueWorkers
from step_envs.endpoint import Gateway, UsesChatModel
from step_envs.errors import StoreError, quoted
from step_envs.registration import known_class
from step_envs.run_folder import RunFolder, write_json
from step_envs.runs import run_names
from step_envs.store import TrajectoryStore, read_trajectories
from step_envs.trajectory import Actor, Trajectory
from step_envs.worker_processes import processors

_CONFLICT = (
    "{folder} was annotated with {field}={saved}, not {asked}: go on with the same options, or name another folder."
)
_MAY_DIFFER = frozenset(RunSettings.model_fields)


class AnnotateConfig(RunSettings):
    """Everything that an annotation is started with; kept as ``config.json``.

    Attributes:
        runs: Run folders or files to annotate.
        value: Value function as ``name`` or ``name:option=value,...``.
        env_options: Options of the environments that differ from the recorded ones, e.g. ``data_path``.
        engine: Where values are computed: ``threads`` or ``processes`` of this machine; ``auto`` takes processes where
            world and value function are plain Python.
    """

    runs: tuple[Path, ...] = Field(min_length=1)
    value: str = "oracle"
    env_options: dict[str, Any] = Field(default_factory=dict)
    engine: str = "auto"

    @field_validator("engine")
    @classmethod
    def _is_here(cls, engine: str) -> str:
        if engine not in ("threads", "processes", "auto"):
            raise ValueError(f"values are computed on this machine, in threads or processes, got {engine!r}")
        return engine


@dataclass
class AnnotationFigures:
    """Figures of an annotation.

    Attributes:
        trajectories: Trajectories that were written.
        unvalued: Those without any value.
        values: Values that were written.
        compared: Kind of turn -> how many turns have an advantage; see ``step_advantages``.
        fell: Kind of turn -> how many of these advantages are below 0.
    """

    trajectories: int = 0
    unvalued: int = 0
    values: int = 0
    compared: Counter[str] = field(default_factory=Counter)
    fell: Counter[str] = field(default_factory=Counter)

    def add(self, trajectory: Trajectory) -> None:
        """Add a trajectory."""
        known = sum(turn.value is not None for turn in trajectory.turns)
        self.trajectories += 1
        self.values += known
        self.unvalued += known == 0
        for turn, advantage in zip(trajectory.turns, step_advantages(trajectory), strict=True):
            if advantage is not None:
                self.compared[turn.kind] += 1
                self.fell[turn.kind] += advantage < -TOLERANCE

    def summary(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}


def annotate(
    config: AnnotateConfig,
    out: str | os.PathLike[str],
    *,
    resume: bool = False,
    on_progress: Callable[[AnnotationFigures], object] = lambda figures: None,
    **changes: Any,
) -> AnnotationFigures:
    """Write the trajectories of runs, with values, into a new run.

    Args:
        config: What to annotate, and how.
        out: Folder of the result: ``config.json``, ``trajectories.jsonl`` and ``summary.json``.
        resume: Go on with what is in the folder; if False, a folder that holds a run is refused.
        on_progress: Called with the figures before the first trajectory and after each.
        **changes: Fields of the configuration to replace, e.g. ``concurrency=8``.

    Returns:
        The figures of everything in the folder.

    Raises:
        ValueError: A change does not fit, or the value function cannot be made.
        DataError: A world answers differently than in the record.
        StoreError: A source cannot be read or changed meanwhile, or the folder holds something else.
        EndpointError: A model cannot be asked.
        BudgetSpentError: The budget is spent.
        ClusterError: A worker process ended.
            After each of these, what was written is kept.
    """
    out, config = Path(out), config.with_changes(**changes)
    run_names(config.runs)  # raises an error if a run is named twice
    function = make_value_function(config.value)
    folder = RunFolder(out, noun="a run", product="trajectories.jsonl", conflict=_CONFLICT)
    meaning = "the configuration of an annotation"
    folder.check(config, resume=resume, meaning=meaning, may_differ=_MAY_DIFFER)
    figures = AnnotationFigures()
    with ExitStack() as stack:
        # The lock on the store comes first: if two processes start at once in one folder, only one may look at its content.
        stack.callback(function.close)
        store = stack.enter_context(TrajectoryStore(out / "trajectories.jsonl"))
        folder.claim(config, resume=resume, meaning=meaning, may_differ=_MAY_DIFFER)
        store.repair()
        remaining = _not_annotated(config.runs, out, figures)
        on_progress(figures)
        stack.callback(lambda: write_json(out / "summary.json", figures.summary()))
        workers = stack.enter_context(_workers(config, function, out, stack))
        for trajectory, values in workers.in_order(remaining):
            valued = with_values(trajectory, values, function.describe())
            store.append(valued)
            figures.add(valued)
            on_progress(figures)
    return figures


def with_values(trajectory: Trajectory, values: Sequence[float | None], valued_by: Actor) -> Trajectory:
    """Return a trajectory with values.

    Args:
        trajectory: The episode.
        values: One for each turn, as from ``ValueFunction.values``.
        valued_by: What they come from.

    Raises:
        ValueError: A value is not from 0 to 1, or their number is wrong.
    """
    if len(values) != len(trajectory.turns):
        raise ValueError(f"{valued_by.name} gave {len(values)} values for {len(trajectory.turns)} turns.")
    for value in values:
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{valued_by.name} gave the value {value}: values are from 0 to 1.")
    turns = tuple(
        turn.model_copy(update={"value": value}) for turn, value in zip(trajectory.turns, values, strict=True)
    )
    return trajectory.model_copy(update={"turns": turns, "valued_by": valued_by})


def _not_annotated(runs: Sequence[Path], out: Path, figures: AnnotationFigures) -> Iterator[Trajectory]:
    """Add what has been written to the figures, and return the trajectories that have not.

    Raises:
        StoreError: What has been written does not come from these runs.
    """
    sources = (trajectory for run in runs for trajectory in read_trajectories(run))
    for number, written in enumerate(read_trajectories(out), 1):
        source = next(sources, None)
        if source is None or _identity(source) != _identity(written):
            raise StoreError(
                f"Line {number} of {out / 'trajectories.jsonl'} is {quoted(written.task_id)}, and the runs to annotate "
                f"have {'no such line' if source is None else quoted(source.task_id)} there: they have changed. Name "
                "another folder."
            )
        figures.add(written)
    return sources


def _identity(trajectory: Trajectory) -> tuple[Any, ...]:
    said = tuple(turn.content for turn in trajectory.turns)
    return trajectory.env_id, trajectory.task_id, trajectory.episode, trajectory.seed, said


def _workers(config: AnnotateConfig, function: ValueFunction, out: Path, stack: ExitStack) -> ValueWorkers:
    if config.engine == "processes" or (config.engine == "auto" and _is_plain_python(config, function)):
        return ValueProcesses(config.value, config.env_options, min(processors(), config.concurrency))
    gateway: Gateway | None = None
    if isinstance(function, RolloutValue) and isinstance(function.agent, UsesChatModel):
        gateway = config.endpoint_config().open(out)
        stack.callback(gateway.close)
    return ValueThreads(config.value, config.env_options, config.concurrency, gateway)


def _is_plain_python(config: AnnotateConfig, function: ValueFunction) -> bool:
    """Return True if threads would take turns at one processor; one trajectory of every run tells its world."""
    if not function.plain_python or min(config.concurrency, processors()) == 1:
        return False
    firsts = [next(read_trajectories(run), None) for run in config.runs]
    return not any(one is not None and known_class(one.env_id).waits_outside_python for one in firsts)
