"""How good is an agent? Episodes played without a teacher, their success and reward with intervals, and its behaviour.

An evaluation is a run folder as ``collect`` writes it, which can be killed and resumed, and ``evaluation.json`` beside it.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import gymnasium as gym
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from step_envs.collection.collector import Progress, collect
from step_envs.collection.config import CollectConfig
from step_envs.endpoint import EndpointConfig
from step_envs.errors import StoreError, first_fault
from step_envs.registration import list_tasks
from step_envs.statistics import Interval, clustered_bootstrap, task_mean, wilson
from step_envs.store import read_trajectories
from step_envs.training.behaviour import REFLECTION, Behaviour, measure_behaviour
from step_envs.trajectory import Trajectory

FILE = "evaluation.json"
_SCIWORLD = "STeP-SciWorld-v0"
_ETO_OPTIONS: dict[str, dict[str, Any]] = {_SCIWORLD: {"simplification": "easy", "max_ticks": 200}}
_SET_BY_ETO = ("max_steps", "simplification", "max_ticks")


class EvalConfig(BaseModel):
    """Everything that decides an evaluation.

    Attributes:
        env: Id of the environment.
        env_options: Further keyword arguments of the environment.
        split: The split; None is the environment's default.
        tasks: Play these tasks only, whatever split they are of; None plays those of ``split``.
        episodes: How many of the tasks, in an order decided by the seed; None plays every task.
        per_task: Episodes of each task.
        agent: Agent as ``name`` or ``name:option=value,...``.
        protocol: ``own`` is the environment's own reward, limits and options. ``eto`` is ETO's (arXiv 2403.02502): its
            step limits and options, and in ScienceWorld the highest score that was reached on the way.
        style: Prompt style; see ``ReActWrapper``.
        seed: Decides the order of tasks and the agents' random streams.
        reflection: Regular expression that finds a reflection in a thought; see ``Behaviour``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    env: str
    env_options: dict[str, Any] = Field(default_factory=dict)
    split: str | None = None
    tasks: tuple[str, ...] | None = Field(None, min_length=1)
    episodes: int | None = Field(None, ge=1)
    per_task: int = Field(1, ge=1)
    agent: str = "oracle"
    protocol: Literal["own", "eto"] = "own"
    style: Literal["eto", "system", "plain"] = "eto"
    seed: int = Field(0, ge=0)
    reflection: str = REFLECTION

    def run(self) -> CollectConfig:
        """Give the collection that plays the episodes.

        Raises:
            UnknownNameError: The environment's split, a task or a task type does not exist.
            ValueError: The protocol sets an option that was given.
        """
        options = dict(self.env_options)
        if self.protocol == "eto":
            for name in _SET_BY_ETO:
                if name in options:
                    raise ValueError(f"ETO's protocol sets {name}: leave it out, or evaluate with the protocol own.")
            options |= _ETO_OPTIONS.get(self.env, {})
        # Named and played in one order, so that a task does not come again before all have been played.
        whole = CollectConfig(
            env=self.env, env_options=options, split=self.split, tasks=self.tasks, episodes=1, agent=self.agent
        )
        number = len(self.tasks or list_tasks(self.env, split=self.split, **options))
        if self.episodes is not None and self.episodes > number:
            raise ValueError(
                f"There are {number} tasks to play, not {self.episodes}: ask for fewer episodes, or for several of each "
                "task (per_task)."
            )
        tasks = self.tasks
        if self.episodes is not None and self.episodes < number:
            first = whole.model_copy(update={"episodes": self.episodes, "seed": self.seed}).episodes_to_play()
            tasks = tuple(plan.task_id for plan in first)
        return CollectConfig(
            env=self.env,
            env_options=options,
            split=self.split,
            tasks=tasks,
            episodes=(self.episodes or number) * self.per_task,
            agent=self.agent,
            teacher=None,
            style=self.style,
            seed=self.seed,
        )


class Figures(BaseModel):
    """Success and reward of some episodes, with 95 % intervals.

    Attributes:
        episodes: How many.
        tasks: Of how many tasks.
        success: Share that succeeded; Wilson's interval, or, where tasks came several times, the wider of the two below.
        success_wilson: The same, as if all episodes were of different tasks.
        success_clustered: The same, drawn by task.
        reward: Average reward of the protocol; where it is 0 or 1 and no task came twice, with Wilson's interval, else
            drawn by task.
        steps: Average number of steps.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    episodes: int
    tasks: int
    success: Interval
    success_wilson: Interval
    success_clustered: Interval
    reward: Interval
    steps: float | None


class Evaluation(BaseModel):
    """What an evaluation found.

    Attributes:
        config: What was asked.
        agent: Who played: name, model and parameters.
        failed: Episodes that could not be played; they are missing in all figures.
        overall: Figures of all episodes.
        by_task_type: Figures of each type.
        stop_reasons: How many episodes ended for which reason.
        behaviour: How the agent behaved.
        seconds: Time that the episodes took, added up.
        prompt_tokens: Tokens that a model read.
        completion_tokens: Tokens that it wrote.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)

    schema_name: Literal["step-evaluation/1"] = Field("step-evaluation/1", alias="schema")
    config: EvalConfig
    agent: dict[str, Any]
    failed: int
    overall: Figures
    by_task_type: dict[str, Figures]
    stop_reasons: dict[str, int]
    behaviour: Behaviour
    seconds: float
    prompt_tokens: int
    completion_tokens: int

    def write(self, out: Path) -> None:
        """Write it into a run folder, whole or not at all."""
        write_json(out / FILE, self)

    @classmethod
    def read(cls, out: Path) -> Self:
        """Read what ``write`` wrote.

        Raises:
            StoreError: There is none, or it is not readable.
        """
        try:
            return cls.model_validate_json((out / FILE).read_bytes())
        except FileNotFoundError as error:
            raise StoreError(
                f"{out} holds no evaluation ({FILE}): make one with `step-envs eval --out {out}`."
            ) from error
        except OSError as error:
            raise StoreError(f"Cannot read {out / FILE}: {error.strerror}.") from error
        except ValidationError as error:
            raise StoreError(f"{out / FILE} is not an evaluation: {first_fault(error)}.") from error


def evaluate(
    config: EvalConfig,
    out: Path,
    *,
    resume: bool = False,
    concurrency: int = 1,
    access: EndpointConfig | None = None,
    on_start: Callable[[Progress], object] = lambda progress: None,
    on_progress: Callable[[Progress, Trajectory | None], object] = lambda progress, trajectory: None,
) -> Evaluation:
    """Play the episodes of an evaluation and work out its figures.

    Args:
        config: What to evaluate.
        out: Folder of the run; ``evaluation.json`` is written into it at the end.
        resume: Go on with a run that is there.
        concurrency: Episodes in flight at once; a local model answers them in one batch.
        access: How models behind endpoints are asked.
        on_start: Called when the run begins; see ``collect``.
        on_progress: Called after every episode; see ``collect``.

    Raises:
        StoreError: See ``collect``.
        BudgetSpentError: The budget is spent; what was played is kept.
        EndpointError: A model cannot be asked; what was played is kept.
        KeyboardInterrupt: Ctrl-C, after everything was put in order.
    """
    run = config.run()
    progress = collect(
        run,
        out,
        resume=resume,
        concurrency=concurrency,
        access=access,
        on_start=on_start,
        on_progress=on_progress,
    )
    found = summarize(config, list(read_trajectories(out)), make_world=lambda: make_world(run))
    found = found.model_copy(update={"failed": progress.planned - progress.kept})
    found.write(out)
    return found


def summarize(
    config: EvalConfig,
    trajectories: Sequence[Trajectory],
    *,
    make_world: Callable[[], gym.Env[Any, Any]] | None = None,
) -> Evaluation:
    """Work out the figures of episodes that were played.

    Args:
        config: What was asked.
        trajectories: The episodes.
        make_world: See ``behaviour``.
    """
    ordered = sorted(trajectories, key=lambda one: one.episode or 0)
    by_type: dict[str, list[Trajectory]] = {}
    stopped: dict[str, int] = {}
    for one in ordered:
        by_type.setdefault(one.task_type, []).append(one)
        stopped[one.stop_reason] = stopped.get(one.stop_reason, 0) + 1
    actor = ordered[0].agent.model_dump() if ordered else {}
    # What belongs to one episode alone says nothing of the agent.
    actor.get("params", {}).pop("episode_seed", None)
    return Evaluation(
        config=config,
        agent=actor,
        failed=0,
        overall=_figures(config, ordered),
        by_task_type={name: _figures(config, by_type[name]) for name in sorted(by_type)},
        stop_reasons=dict(sorted(stopped.items())),
        behaviour=measure_behaviour(ordered, reflection=config.reflection, make_world=make_world),
        seconds=sum(one.usage.seconds for one in ordered),
        prompt_tokens=sum(one.usage.prompt_tokens for one in ordered),
        completion_tokens=sum(one.usage.completion_tokens for one in ordered),
    )


def reward_of(trajectory: Trajectory, protocol: Literal["own", "eto"]) -> float:
    """Give the reward of an episode under a protocol."""
    if protocol == "eto" and trajectory.env_id == _SCIWORLD:
        return max([0.0, *(turn.score for turn in trajectory.turns if turn.score is not None)])
    return trajectory.reward


def make_world(run: CollectConfig) -> gym.Env[Any, Any]:
    """Make the bare world of a run, without a step limit."""
    options = run.env_options if run.split is None else run.env_options | {"split": run.split}
    return gym.make(run.env, **(options | {"max_steps": None}))


def write_json(file: Path, what: BaseModel) -> None:
    """Write a model as JSON, whole or not at all."""
    temporary = file.with_suffix(".tmp")
    with temporary.open("w") as target:
        target.write(json.dumps(what.model_dump(mode="json", by_alias=True), indent=2) + "\n")
        target.flush()
        os.fsync(target.fileno())
    temporary.replace(file)


def _figures(config: EvalConfig, trajectories: Sequence[Trajectory]) -> Figures:
    tasks = [one.task_id for one in trajectories]
    plain = wilson(sum(one.success for one in trajectories), len(trajectories))
    clustered = clustered_bootstrap([float(one.success) for one in trajectories], tasks)
    return Figures(
        episodes=len(trajectories),
        tasks=len(set(tasks)),
        success=plain if len(set(tasks)) == len(tasks) else _wider(plain, clustered),
        success_wilson=plain,
        success_clustered=clustered,
        reward=task_mean([reward_of(one, config.protocol) for one in trajectories], tasks),
        steps=sum(one.steps for one in trajectories) / len(trajectories) if trajectories else None,
    )


def _wider(first: Interval, second: Interval) -> Interval:
    if first.low is None or second.low is None or first.high is None or second.high is None:
        return first
    return Interval(first.value, min(first.low, second.low), max(first.high, second.high))
