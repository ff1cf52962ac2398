"""Evaluate an agent: play episodes without a teacher; compute success and reward with intervals, and figures of behaviour.

An evaluation is a collection without a teacher, so it is played by ``collect`` and lives in the same run folder: it can be
killed and resumed, and looked at with ``step-envs view``. The figures are written beside it, as ``evaluation.json``.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import gymnasium as gym
from pydantic import BaseModel, ConfigDict, Field

from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.collection.progress import Progress
from step_envs.collection.run_settings import RunSettings, execution_settings
from step_envs.registration import env_class, known_class, list_tasks
from step_envs.replies import ReplyFormatName
from step_envs.run_folder import read_model, write_model
from step_envs.statistics import Interval, clustered_bootstrap, task_mean, wilson
from step_envs.store import read_trajectories
from step_envs.training.behaviour import REFLECTION, Behaviour, measure_behaviour
from step_envs.trajectory import Trajectory

FILE = "evaluation.json"


class EvalConfig(RunSettings):
    """Everything that an evaluation is started with.

    The fields below decide the result; those of ``RunSettings`` decide how the evaluation is carried out, and may
    differ when it is resumed.

    Attributes:
        env: Id of the environment.
        env_options: Further keyword arguments of the environment.
        split: The split; None is the environment's default.
        tasks: Play these tasks only, whatever their split; None plays those of ``split``.
        episodes: Number of tasks to play, drawn with the seed; None plays every task.
        per_task: Episodes of each task.
        agent: Agent as ``name`` or ``name:option=value,...``.
        protocol: ``own``: the environment's own reward, limits and options. ``eto``: those of ETO (arXiv 2403.02502); see
            ``TextEnv.eto_options`` and ``TextEnv.eto_reward``.
        style: Prompt style; see ``ReActWrapper``.
        reply_format: How a reply names its action: ``react``, ``action-tags`` or ``tool-calls``; see ``ReActWrapper``.
        tolerant: Also take actions in common variants of that form; see ``ReActWrapper``.
        think_actions: Answer actions that only think with "OK.", at no step of the world; see ``ReActWrapper``.
        seed: Decides the order of tasks and the agents' random streams.
        reflection: Regular expression that finds a reflection in a thought; see ``Behaviour``.
    """

    env: str
    env_options: dict[str, Any] = Field(default_factory=dict)
    split: str | None = None
    tasks: tuple[str, ...] | None = Field(None, min_length=1)
    episodes: int | None = Field(None, ge=1)
    per_task: int = Field(1, ge=1)
    agent: str = "oracle"
    protocol: Literal["own", "eto"] = "own"
    style: Literal["eto", "system", "plain"] = "eto"
    reply_format: ReplyFormatName = "react"
    tolerant: bool = False
    think_actions: bool = False
    seed: int = Field(0, ge=0)
    reflection: str = REFLECTION

    def run(self) -> CollectConfig:
        """Return the configuration of the collection that plays the episodes.

        Raises:
            UnknownNameError: The environment's split, a task or a task type does not exist.
            ValueError: The protocol sets an option that was given.
        """
        # Without a list of tasks, the episodes are the first of those of a longer evaluation, so that it can be resumed
        # with more of them. Tasks that are played several times have to be listed, and then more times can be added.
        return self._collection(listed=self.per_task > 1)

    def begun_in(self, out: Path) -> CollectConfig:
        """Return the same as ``run``, in the order in which the evaluation in a folder was begun.

        Earlier versions listed the tasks of every evaluation that played a part of them.
        """
        run, record = self.run(), out / "config.json"
        if not record.exists():
            return run
        listed = self._collection(listed=True)
        return listed if CollectConfig.read(record).tasks == listed.tasks else run

    def _collection(self, *, listed: bool) -> CollectConfig:
        options = dict(self.env_options)
        if self.protocol == "eto":
            of_eto = env_class(self.env).eto_options
            for name in ("max_steps", *of_eto):
                if name in options:
                    raise ValueError(f"ETO's protocol sets {name}: leave it out, or evaluate with the protocol own.")
            options |= of_eto
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
        if listed and self.episodes is not None and self.episodes < number:
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
            reply_format=self.reply_format,
            tolerant=self.tolerant,
            think_actions=self.think_actions,
            seed=self.seed,
            **execution_settings(self),
        )


class Figures(BaseModel):
    """Success and reward of some episodes, with 95 % intervals.

    Attributes:
        episodes: How many.
        tasks: Of how many tasks.
        success: Share of episodes that succeeded, with Wilson's interval; if tasks were played several times, with the
            wider of the two intervals below.
        success_wilson: The same with Wilson's interval, which treats all episodes as independent.
        success_clustered: The same with a bootstrap interval that draws whole tasks.
        reward: Average reward of the protocol. The interval is Wilson's if every reward is 0 or 1 and no task was played
            twice, else a bootstrap that draws whole tasks.
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
    """Result of an evaluation.

    Attributes:
        config: The settings of the evaluation.
        agent: The agent: name, model and parameters.
        failed: Episodes that could not be played; they are missing from all figures.
        overall: Figures of all episodes.
        by_task_type: Figures of each type.
        stop_reasons: How many episodes ended for which reason.
        behaviour: How the agent behaved.
        seconds: Sum of the times of all episodes.
        prompt_tokens: Tokens that models read.
        completion_tokens: Tokens that models wrote.
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
        """Write the result into a run folder, whole or not at all."""
        write_model(out / FILE, self)

    @classmethod
    def read(cls, out: Path) -> Self:
        """Read what ``write`` wrote.

        Raises:
            StoreError: There is none, or it is not readable.
        """
        absent = f"{out} holds no evaluation ({FILE}): make one with `step-envs eval --out {out}`."
        return read_model(out / FILE, cls, "an evaluation", absent=absent)


def evaluate(
    config: EvalConfig,
    out: Path,
    *,
    resume: bool = False,
    on_start: Callable[[Progress], object] = lambda progress: None,
    on_progress: Callable[[Progress, Trajectory | None], object] = lambda progress, trajectory: None,
    **changes: Any,
) -> Evaluation:
    """Play the episodes of an evaluation and compute its figures.

    Args:
        config: What to evaluate, and how.
        out: Folder of the run; ``evaluation.json`` is written into it at the end.
        resume: Continue the run in the folder; with more ``episodes`` (where each task is played once) or a higher
            ``per_task``, those that were played are the first of the longer evaluation.
        on_start: Called when the run begins; see ``collect``.
        on_progress: Called after every episode; see ``collect``.
        **changes: Fields of the configuration to replace, e.g. ``concurrency=64``; see ``collect``.

    Raises:
        ValueError: A change does not fit the configuration.
        StoreError: See ``collect``.
        BudgetSpentError: The budget is spent; what was played is kept.
        EndpointError: A model cannot be asked; what was played is kept.
        KeyboardInterrupt: Ctrl-C was pressed; everything in the folder is whole.
    """
    config = config.with_changes(**changes)
    run = config.begun_in(out) if resume else config.run()
    progress = collect(run, out, resume=resume, on_start=on_start, on_progress=on_progress)
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
    """Compute the figures of episodes that were played.

    Args:
        config: The settings of the evaluation.
        trajectories: The episodes.
        make_world: See ``measure_behaviour``.
    """
    ordered = sorted(trajectories, key=lambda one: one.episode or 0)
    by_type: dict[str, list[Trajectory]] = {}
    stopped: dict[str, int] = {}
    for one in ordered:
        by_type.setdefault(one.task_type, []).append(one)
        stopped[one.stop_reason] = stopped.get(one.stop_reason, 0) + 1
    actor = ordered[0].agent.model_dump() if ordered else {}
    # The seed of one episode says nothing about the agent.
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
    """Return the reward of an episode under a protocol."""
    if protocol == "eto" and known_class(trajectory.env_id).eto_reward == "highest":
        return max([0.0, *(turn.score for turn in trajectory.turns if turn.score is not None)])
    return trajectory.reward


def make_world(run: CollectConfig) -> gym.Env[Any, Any]:
    """Make the environment of a run without wrappers and without a step limit."""
    options = run.env_options if run.split is None else run.env_options | {"split": run.split}
    return gym.make(run.env, **(options | {"max_steps": None}))


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
