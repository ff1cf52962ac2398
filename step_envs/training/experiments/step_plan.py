"""The steps of an experiment, and which of them each one needs.

The name of a step says what it does and for which seed, e.g. ``train:dagger@seed-3``, ``golden:0@shared``. Steps of one
seed come before those of the next, so that an experiment that is stopped holds whole seeds.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, Self

from step_envs.training.experiments.arms import ARM_DESIGNS
from step_envs.training.experiments.experiment_config import Arm, ExperimentConfig
from step_envs.training.experiments.folders import Group, Scope, read_scope, scope_name, scope_of


class _Add(Protocol):
    """Adds a step, and returns its name."""

    def __call__(self, group: Group, kind: str, argument: str = "", needs: tuple[str, ...] = ()) -> str: ...


class ExperimentStep(NamedTuple):
    """A step of an experiment.

    Attributes:
        kind: What it does, e.g. ``train``.
        argument: What with: an arm, or the number of a part; empty for most kinds.
        scope: For which seed.
        needs: Names of the steps that have to be done before.
    """

    kind: str
    argument: str
    scope: Scope
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the step."""
        what = f"{self.kind}:{self.argument}" if self.argument else self.kind
        return f"{what}@{scope_name(self.scope)}"

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read the name of a step; what it needs is not in it."""
        what, _, scope = name.partition("@")
        kind, _, argument = what.partition(":")
        return cls(kind, argument, read_scope(scope))


def plan_steps(config: ExperimentConfig) -> list[ExperimentStep]:
    """List the steps in the order in which they are started once the steps that they need are done."""
    steps: dict[str, ExperimentStep] = {}
    for seed in config.seeds:
        for step in _steps_of(config, seed):
            # What seeds share is planned with the first of them.
            steps.setdefault(step.name, step)
    return list(steps.values())


def _steps_of(config: ExperimentConfig, seed: int) -> list[ExperimentStep]:
    """List all steps that a seed depends on, those that it shares included."""
    steps: list[ExperimentStep] = []

    def add(group: Group, kind: str, argument: str = "", needs: tuple[str, ...] = ()) -> str:
        step = ExperimentStep(kind, argument, scope_of(config, group, seed), needs)
        steps.append(step)
        return step.name

    def add_parts(kind: str, needs: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(add("data", kind, str(part), needs) for part in range(config.workers))

    def add_evaluation(group: Group, model: str, trained: str) -> str:
        evaluated = add(group, "evaluate", model, (trained,))
        if config.judged:
            add(group, "judge", model, (evaluated,))
        return evaluated

    original = _add_original(config, add)
    tasks = add("data", "tasks")
    golden = add_parts("golden", (tasks,))
    base = add("data", "base", needs=(original, *golden))
    evaluated = add_evaluation("data", "base", base)
    stops = config.gate is not None and config.gate.stop
    ready = (base, add("data", "gate", needs=(evaluated,))) if stops else (base,)
    wanted = {part for arm in config.arms for part in ARM_DESIGNS[arm].parts}
    # D_r is always collected: every report says what it holds.
    collected = add_parts("collect", (base,))
    made = {"same-tasks": collected, "reflected": collected}
    if "explored" in wanted:
        made["explored"] = add_parts("explore", (base,))
    if "scripted" in wanted:
        made["scripted"] = add_parts("scripted", (tasks,))
    if "valued" in wanted:
        made["valued"] = add_parts("value", collected)
    for arm in config.arms:
        trained = add("arms", "train", arm, (original, *golden, *ready, *_needs(arm, made)))
        add_evaluation("arms", arm, trained)
    return steps


def _add_original(config: ExperimentConfig, add: _Add) -> str:
    made = config.pretraining
    if made is None:
        return add("original", "original")
    needs = [add("original", "samples")]
    if made.play:
        needs.append(add("original", "play"))
    original = add("original", "original", needs=tuple(needs))
    if made.training is None:
        return original
    return add("original", "pretrain", needs=(original,))


def _needs(arm: Arm, made: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the steps that an arm needs beside golden trajectories; ``made`` maps a part of the data to its steps."""
    # Several parts can come from the same steps.
    return tuple(dict.fromkeys(name for part in ARM_DESIGNS[arm].parts for name in made.get(part, ())))
