"""Episodes that a student plays to be distilled: it samples, the teacher may write some of the turns, all tokens are kept.

Worlds, prompts and limits are those of the trajectories whose tasks are played, and replies are read as ``step-envs eval``
reads them. A turn that the teacher writes is in the conversation like any other, so the student goes on from there; the
record calls it ``expert``.
"""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym
import numpy as np
from typing_extensions import override

from step_envs.agents.base import Agent, Reply
from step_envs.agents.chat import until_stop
from step_envs.agents.local.batch import Batcher
from step_envs.agents.local.cache import PrefixCache
from step_envs.agents.local.generation import GenerationRequest
from step_envs.agents.local.model import LocalModel
from step_envs.collection.config import CollectConfig, EpisodePlan
from step_envs.collection.rollouts import RolloutStoppedError, rollout
from step_envs.training.distillation.config import DistillationConfig
from step_envs.training.distillation.sampled_sequences import SampledSequence, SequenceRecorder
from step_envs.trajectory import Trajectory, Usage


class SampledEpisode(NamedTuple):
    """An episode and its tokens.

    Attributes:
        trajectory: Its record; turns of the teacher are of kind ``expert``.
        sequences: The tokens that the student sampled, in what it saw.
    """

    trajectory: Trajectory
    sequences: list[SampledSequence]


class DistillationPlayer:
    """Plays the episodes of a distillation, many at once.

    Args:
        run: World, prompt and tasks.
        student: The model that is trained.
        teacher: The model that it is trained towards, with the same tokenizer.
        config: The settings.
        hints: Task -> what only the teacher is told of it; empty: nothing.
    """

    def __init__(
        self,
        run: CollectConfig,
        student: LocalModel,
        teacher: LocalModel,
        config: DistillationConfig,
        hints: Mapping[str, str],
    ) -> None:
        self._run, self._config, self._hints = run, config, hints
        self._student, self._teacher = Batcher(student), Batcher(teacher)
        self._student.most = self._teacher.most = config.concurrency
        self._free: list[gym.Env[str, str]] = []
        self._lock = threading.Lock()
        self._failure: BaseException | None = None

    def play(self, plans: Sequence[EpisodePlan], guidance: float) -> list[SampledEpisode]:
        """Play episodes.

        Args:
            plans: The episodes.
            guidance: Probability that the teacher writes a turn.

        Returns:
            The episodes, in the order of the plans.
        """
        self._failure = None
        with ThreadPoolExecutor(min(self._config.concurrency, len(plans))) as threads:
            try:
                return list(threads.map(lambda plan: self._play(plan, guidance), plans))
            except RolloutStoppedError as stopped:
                raise self._failure or stopped from None

    def close(self) -> None:
        """Close the environments."""
        with self._lock:
            free, self._free = self._free, []
        for env in free:
            env.close()

    def _play(self, plan: EpisodePlan, guidance: float) -> SampledEpisode:
        with self._lock:
            env = self._free.pop() if self._free else None
        try:
            env = env or self._run.make_env()
            hint = self._hints.get(plan.task_id, "")
            agent = _SamplingAgent(self._student, self._teacher, self._config, hint, guidance)
            played = rollout(
                env,
                agent,
                seed=plan.seed,
                task_id=plan.task_id,
                episode=plan.episode,
                stopped=lambda: self._failure is not None,
            )
            return SampledEpisode(played, agent.recorder.sequences())
        except BaseException as error:
            # The iteration fails with this episode, so the others need not go on to their ends.
            self._failure = self._failure or error
            raise
        finally:
            if env is not None:
                with self._lock:
                    self._free.append(env)


class _SamplingAgent(Agent):
    """Samples replies of the student, or has the teacher write one, and keeps the tokens."""

    name: ClassVar[str] = "student"

    def __init__(
        self, student: Batcher, teacher: Batcher, config: DistillationConfig, hint: str, guidance: float
    ) -> None:
        self.recorder = SequenceRecorder()
        self._student, self._teacher, self._config, self._hint = student, teacher, config, hint
        self._guidance = guidance
        self._kept = {False: PrefixCache(), True: PrefixCache()}
        limits = (student.model.context, teacher.model.context, config.max_length)
        self._context = min((limit for limit in limits if limit is not None), default=None)

    @override
    def begin(self, env: gym.Env[str, str], rng: np.random.Generator) -> None:
        # Two streams, so that the guided turns do not change what is drawn for the others.
        self._draw, self._guide = rng.spawn(2)
        self._task = len(env.get_wrapper_attr("messages")) - 1
        self._student.join(self._kept[False])

    @override
    def act(self, env: gym.Env[str, str]) -> Reply | None:
        messages: list[dict[str, str]] = env.get_wrapper_attr("messages")
        model = self._student.model
        prompt = model.prompt(messages)
        # The template is the student's for both: what they are compared on must have the same tokens.
        self.recorder.read(prompt, lambda: model.prompt(self._with_hint(messages)))
        most = self._config.max_tokens
        if self._context is not None:
            most = min(most, self._context - self.recorder.length)
        if most < 1:
            return None
        guided = bool(self._guide.random() < self._guidance)
        batcher = self._teacher if guided else self._student
        asked = GenerationRequest(
            self._kept[guided],
            model.prompt(self._with_hint(messages)) if guided else list(prompt),
            most,
            batcher.model.completes,
            self._config.temperature,
            self._config.top_p,
            self._draw,
        )
        said = batcher.submit(asked)
        sampled = asked.ids[asked.asked :]
        if not guided:
            self.recorder.write(sampled)
        usage = Usage(prompt_tokens=asked.asked, completion_tokens=len(sampled), requests=1)
        too_long = len(said) == most and not model.completes(said)
        return Reply(
            until_stop(model.text(said)),
            usage,
            finish="length" if too_long else "stop",
            kind="expert" if guided else "agent",
        )

    def _with_hint(self, messages: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
        """Return the conversation as the teacher sees it: with its hint behind the task."""
        shown = [dict(message) for message in messages]
        if self._hint:
            shown[self._task]["content"] += f"\n\n{self._hint}"
        return shown
