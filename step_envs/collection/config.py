"""The configuration of a collection, and the episodes, environments and agents that follow from it.

All settings are in one validated object, which is kept in the run folder as ``config.json``. So a run can be repeated or
resumed from its folder alone, and nothing that decided its content is known only to the shell that started it.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import gymnasium as gym
import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from step_envs.agents.base import Agent, make_agent
from step_envs.collection.run_settings import RunSettings
from step_envs.confidential import refuse_secrets
from step_envs.endpoint import AskedModel, Gateway, UsesChatModel, asks_endpoint
from step_envs.registration import env_class, list_tasks
from step_envs.replies import ReplyFormatName
from step_envs.run_folder import read_model, write_model
from step_envs.wrappers.react import ReActWrapper
from step_envs.wrappers.record import RecordTrajectory
from step_envs.wrappers.teacher_monitor import TeacherMonitorWrapper
from step_envs.wrappers.teachers.base import Teacher
from step_envs.wrappers.teachers.making import make_teacher
from step_envs.wrappers.teaching_schedule import TeachingSchedule


class EpisodePlan(NamedTuple):
    """One episode of a collection: its number, its task and its seed."""

    episode: int
    task_id: str
    seed: int


MEANING = "the configuration of a collection"
"""What ``config.json`` is, for error messages."""


_RENAMED = {"step_envs.agents.misled.misled:": "step_envs.agents.error_injection.inject_error:"}
"""Beginnings of specifications that earlier versions wrote into the folders of runs -> what they are called now."""


def _read_teacher(value: Any) -> Any:
    return None if value == "none" else value


def _read_agent(value: Any) -> Any:
    for old, new in _RENAMED.items():
        if isinstance(value, str) and value.startswith(old):
            return new + value.removeprefix(old)
    return value


def _read_schedule(text: str) -> str:
    return str(TeachingSchedule.parse(text))


class CollectConfig(RunSettings):
    """Everything that a collection is started with; kept verbatim as ``config.json``.

    The fields below decide what is collected and must stay the same when a run is resumed; those of ``RunSettings`` decide
    how, and may differ.

    Attributes:
        env: Id of the environment.
        env_options: Further keyword arguments of the environment, e.g. ``{"task_types": ["boil"]}``.
        split: The split; None is the environment's default.
        tasks: Play these tasks only, whatever their split; None plays those of ``split``.
        episodes: Number of episodes. If there are fewer tasks, they are repeated, in another order each time.
        agent: Agent as ``name`` or ``name:option=value,...``.
        teacher: Teacher in the same form; None, or ``"none"``, records the agent alone.
        intervene: When the teacher steps in; see ``TeacherMonitorWrapper``.
        max_errors: See ``TeacherMonitorWrapper``.
        on_unknown: ``continue`` or ``discard``; see ``TeacherMonitorWrapper``.
        teach: Which steps the teacher judges: ``all``, ``share:0.5``, ``every:3``, ...; see ``TeacherMonitorWrapper``.
        style: Prompt style; see ``ReActWrapper``.
        reply_format: How a reply names its action: ``react``, ``action-tags`` or ``tool-calls``; see ``ReActWrapper``.
        tolerant: Also take actions in common variants of that form; see ``ReActWrapper``.
        think_actions: Answer actions that only think with "OK.", at no step of the world; see ``ReActWrapper``.
        logprobs: Record the logprobs of the tokens that the agent sampled; see ``Turn.logprobs``.
        seed: Decides the order of tasks and the agents' random streams.
    """

    env: str
    env_options: dict[str, Any] = Field(default_factory=dict)
    split: str | None = None
    tasks: tuple[str, ...] | None = Field(None, min_length=1)
    episodes: int = Field(ge=1)
    agent: Annotated[str, BeforeValidator(_read_agent)] = "novice"
    teacher: Annotated[str | None, BeforeValidator(_read_teacher)] = "oracle"
    intervene: Literal["after", "before"] = "after"
    max_errors: int | None = Field(None, ge=0)
    on_unknown: Literal["continue", "discard"] = "continue"
    teach: Annotated[str, AfterValidator(_read_schedule)] = "all"
    style: Literal["eto", "system", "plain"] = "eto"
    reply_format: ReplyFormatName = "react"
    tolerant: bool = False
    think_actions: bool = False
    logprobs: bool = False
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _teach_has_a_teacher(self) -> Self:
        if self.teacher is None and self.teach != "all":
            raise ValueError(
                f"teach={self.teach!r} (--teach) needs a teacher, and there is none: name one, or leave teach out."
            )
        return self

    def episodes_to_play(self) -> list[EpisodePlan]:
        """List the episodes: all tasks in an order drawn with the seed, then all in another order, and so on.

        Raises:
            UnknownNameError: The split, a task or a task type does not exist.
        """
        for name in env_class(self.env).secret_options:
            if name in self.env_options:
                raise ValueError(
                    f"The option {name!r} of {self.env} does not belong into a run, which writes its options down: "
                    "give it by environment variable."
                )
        refuse_secrets(self.env_options, "env_options", instead="give it by environment variable.")
        try:
            tasks = self.tasks or list_tasks(self.env, split=self.split, **self.env_options)
        except TypeError as error:
            raise ValueError(f"{self.env} cannot be made with {self.env_options}: {error}") from error
        if self.tasks is not None:
            options = {name: value for name, value in self.env_options.items() if name != "task_types"}
            known = env_class(self.env).task_set(**options)
            for task in self.tasks:
                known.split_of(task)  # raises for a task that does not exist
        rng = np.random.default_rng(self.seed)
        planned: list[EpisodePlan] = []
        while len(planned) < self.episodes:
            for index in rng.permutation(len(tasks))[: self.episodes - len(planned)]:
                planned.append(EpisodePlan(len(planned), tasks[index], int(rng.integers(2**31))))
        return planned

    def make_env(self, gateway: Gateway | None = None) -> gym.Env[str, str]:
        """Make the environment with all its wrappers, ready for ``rollout``.

        Args:
            gateway: The gateway for a teacher that is a model; None is the shared one.
        """
        options = self.env_options if self.split is None else self.env_options | {"split": self.split}
        try:
            # Gymnasium's passive checker would refuse all steps after a first reset that failed; worlds that others
            # register have it.
            world = gym.make(self.env, disable_env_checker=True, **options)
        except TypeError as error:
            raise ValueError(f"{self.env} cannot be made with {options}: {error}.") from error
        env: gym.Env[str, str] = ReActWrapper(
            world,
            style=self.style,
            reply_format=self.reply_format,
            tolerant=self.tolerant,
            think_actions=self.think_actions,
        )
        if self.teacher is None:
            return RecordTrajectory(env)
        teacher = self._make_teacher()
        if gateway is not None and isinstance(teacher, UsesChatModel):
            teacher.chat.connect(gateway)
        return TeacherMonitorWrapper(
            env,
            teacher,
            max_errors=self.max_errors,
            intervene=self.intervene,
            on_unknown=self.on_unknown,
            teach=self.teach,
        )

    def make_agent(self, gateway: Gateway | None = None) -> Agent:
        """Make a new agent; an agent that is a model asks through ``gateway``."""
        agent = make_agent(self.agent)
        if self.logprobs:
            agent.ask_for_logprobs()
        if gateway is not None and isinstance(agent, UsesChatModel):
            agent.chat.connect(gateway)
        return agent

    def asks_models(self) -> bool:
        """Return True if agent or teacher is a model behind an endpoint; raise an error if one of them cannot be made."""
        teacher = None if self.teacher is None else self._make_teacher()
        return asks_endpoint(self.make_agent()) or asks_endpoint(teacher)

    def is_plain_python(self) -> bool:
        """Return True if world, agent and teacher are plain Python: then threads would take turns at one processor."""
        players: list[Agent | Teacher] = [self.make_agent()]
        if self.teacher is not None:
            players.append(self._make_teacher())
        return all(player.plain_python for player in players) and not env_class(self.env).waits_outside_python

    def _make_teacher(self) -> Teacher:
        spec = self.teacher or ""
        if spec.partition(":")[0] != "self":
            return make_teacher(spec)
        # A local checkpoint is loaded once for all agents that name it, so this one brings no second copy of the weights.
        chat = getattr(self.make_agent(), "chat", None)
        if not isinstance(chat, AskedModel):
            raise ValueError(  # noqa: TRY004  (it is the user's words that are wrong)
                "The teacher 'self' needs an agent that is a model (chat:model=... or local:model=...), "
                f"got {self.agent!r}."
            )
        return make_teacher(spec, chat=chat)

    def write(self, path: Path) -> None:
        """Write the configuration as JSON, whole or not at all.

        Raises:
            StoreError: It cannot be written.
        """
        write_model(path, self)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what ``write`` wrote, also by an earlier version.

        Raises:
            StoreError: The file is not there or is not a configuration.
        """
        return read_model(path, cls, MEANING)
