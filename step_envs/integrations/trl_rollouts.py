"""Play whole episodes for TRL's ``GRPOTrainer(rollout_func=...)``: the conversations of our evaluation, as token ids.

Every reply is written by the model that is being trained, with the batches and caches that ``TransformersAgent`` plays
with: episodes go on while others end, and a prompt is read once. What TRL gets of an episode is one sequence: the first
prompt, and a completion in which replies and observations alternate. ``env_mask`` is 1 on the tokens that the model
sampled.

TRL computes the probability of each token in this sequence, so the sequence must be what the model saw; ``token_record``
sees to that. How much of what was sampled is trained, ``trained_share`` says.

Some episodes can be guided: a teacher watches them and corrects errors, with a probability that falls as the model learns.
The teacher's turns are context, like observations, and the errors that it found carry no loss. All episodes of a task are
guided or none: GRPO compares them with each other, and what the teacher gained is no merit of the model.
"""

import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from step_envs.agents.chat import until_stop
from step_envs.agents.local.batch import Batcher
from step_envs.agents.local.cache import PrefixCache
from step_envs.agents.local.generation import GenerationRequest
from step_envs.agents.local.model import LocalModel
from step_envs.collection.rollouts import RolloutStoppedError
from step_envs.credit.annotation import with_values
from step_envs.credit.step_rewards import contribution_rewards
from step_envs.credit.value_functions import ValueFunction
from step_envs.errors import quoted
from step_envs.integrations.chat_tasks import ChatEpisode, ChatTasks
from step_envs.integrations.token_record import TokenRecord
from step_envs.integrations.trl import RewardName, check_reward, episode_reward
from step_envs.trajectory import Trajectory, Usage
from step_envs.wrappers.reply import Reply

_MOST_EPISODES = 64
_LITTLE = 0.5
_JUDGED = ("agent", "error")
"""Kinds of the turns that the model wrote."""
_NEUTRAL = {"use_vllm": False, "top_k": 0, "min_p": None, "repetition_penalty": 1.0, "generation_kwargs": None}
"""Settings of the trainer that are not followed -> the value that changes nothing."""


class PlayedTurn(NamedTuple):
    """What a reply did.

    Attributes:
        state: Key of the state that it was given in; empty unless turns are compared.
        reward: Change in score.
    """

    state: str
    reward: float


class PlayedEpisode(NamedTuple):
    """An episode as TRL needs it.

    Attributes:
        tokens: Its tokens.
        turns: Its replies.
        figures: What it was worth, by name.
        trajectory: Its record.
    """

    tokens: TokenRecord
    turns: list[PlayedTurn]
    figures: dict[str, float]
    trajectory: Trajectory


class ReActRollouts:
    """What ``GRPOTrainer(rollout_func=...)`` takes.

    The settings of sampling are the trainer's: ``temperature``, ``top_p``, ``seed``, and ``max_completion_length``, which
    limits the whole completion, observations included: an episode that would grow beyond it is ended.

    Rewards go to TRL through ``reward``, a function for ``reward_funcs``. Its figures by name (``success``, ``score``,
    ``steps``, ``begun_anew``) go to every other reward function as well.

    Args:
        tasks: The tasks; the dataset is ``Dataset.from_list(rows(tasks))``.
        reward: Name of the reward; see ``step_envs.integrations.trl``.
        max_tokens: Most tokens of a reply.
        guided: The same tasks with a teacher; None: no episode is guided.
        guidance: The optimizer step of the trainer -> probability that the episodes of a task are guided.
        values: With the reward ``step``, reward each turn by what it contributed to the value of the state, instead of by
            the change in score: ``make_value_function("estimator:model=FOLDER")`` for SPA-RL, or any other. The turns of
            an episode without values are compared with nothing.

    Attributes:
        values: As given.

    Raises:
        UnknownNameError: There is no such reward.
        TypeError: An argument has the wrong type.
        ValueError: An argument has an impossible value, or only one of ``guided`` and ``guidance`` is given.
    """

    def __init__(
        self,
        tasks: ChatTasks,
        reward: RewardName = "score",
        *,
        max_tokens: int = 128,
        guided: ChatTasks | None = None,
        guidance: Callable[[int], float] | None = None,
        values: ValueFunction | None = None,
    ) -> None:
        check_reward(reward)
        if values is not None and reward != "step":
            raise ValueError(f"Values reward single turns: give them with the reward 'step', not {reward!r}.")
        if (guided is None) != (guidance is None):
            raise ValueError("Guided rollouts need both guided= (tasks with a teacher) and guidance= (how often).")
        for one in (tasks,) if guided is None else (tasks, guided):
            if not isinstance(one, ChatTasks):
                raise TypeError(f"The tasks of a rollout are a ChatTasks, got {quoted(one)}.")
        if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1:
            raise ValueError(f"max_tokens must be an int of at least 1, got {quoted(max_tokens)}.")
        if guided is not None and (guided.teacher is None or not callable(guidance)):
            raise ValueError(
                "Guided rollouts need tasks with a teacher, ChatTasks(..., teacher='oracle'), and guidance= a function of "
                "the optimizer step."
            )
        self._tasks, self._reward_name, self._max_tokens = tasks, reward, max_tokens
        self._guided, self._guidance, self.values = guided, guidance, values
        self._rollouts, self._step = 0, -1
        self._warned = False

    def __call__(self, prompts: Sequence[Sequence[Mapping[str, Any]]], trainer: Any) -> dict[str, Any]:
        """Play an episode for each prompt.

        Args:
            prompts: As in the rows of ``rows``; the same task may be there several times.
            trainer: The ``GRPOTrainer``.

        Returns:
            ``prompt_ids``, ``completion_ids``, ``logprobs`` (None: TRL computes them), ``env_mask``, and the figures of the
            episodes by name. With the reward ``step`` also ``turn_spans``, ``turn_states`` and ``turn_rewards``.

        Raises:
            ValueError: A prompt does not name its task, or a setting of the trainer does not fit.
        """
        task_ids = [_task_of(prompt) for prompt in prompts]
        if not task_ids:
            raise ValueError("There is no prompt to play: the dataset is empty.")
        self._check(trainer)
        model = trainer.accelerator.unwrap_model(trainer.model)
        was_training = model.training
        model.eval()
        try:
            played = self._play(model, trainer, task_ids)
        finally:
            model.train(was_training)
        made: dict[str, Any] = {
            "prompt_ids": [list(one.tokens.prompt_ids) for one in played],
            "completion_ids": [list(one.tokens.completion_ids) for one in played],
            "env_mask": [list(one.tokens.env_mask) for one in played],
            "logprobs": None,
            "begun_anew": [one.tokens.begun_anew for one in played],
        } | {name: [one.figures[name] for one in played] for name in played[0].figures}
        if self._reward_name == "step":
            made["turn_spans"] = [one.tokens.turns for one in played]
            made["turn_states"] = [[turn.state for turn in one.turns] for one in played]
            made["turn_rewards"] = [self._turn_rewards(one) for one in played]
        self._warn_if_little_is_trained(made["trained_share"])
        return made

    def _turn_rewards(self, played: PlayedEpisode) -> list[float | None]:
        """Return the reward of each turn of the model; None where nothing is known of it."""
        if self.values is None:
            return [turn.reward for turn in played.turns]
        values = self.values.values(played.trajectory)
        valued = with_values(played.trajectory, values, self.values.describe())
        judged = [at for at, turn in enumerate(valued.turns) if turn.kind in _JUDGED]
        if any(valued.turns[at].value is None for at in judged):
            return [None] * len(judged)
        rewards = contribution_rewards(valued, from_start=True)
        return [rewards[at] for at in judged]

    def _play(self, model: Any, trainer: Any, task_ids: Sequence[str]) -> list[PlayedEpisode]:
        args, step = trainer.args, trainer.state.global_step
        # Counted within a step, so that a training that was stopped draws as one that was not.
        self._rollouts = self._rollouts + 1 if step == self._step else 1
        self._step = step
        drawn = [args.seed, step, self._rollouts]
        seeds = np.random.SeedSequence([*drawn, trainer.accelerator.process_index]).spawn(len(task_ids))
        local = LocalModel("The model", model, trainer.processing_class, args.chat_template_kwargs)
        batcher = Batcher(local)
        batcher.most = _MOST_EPISODES
        player = _Player(batcher, args, self._max_tokens, self._reward_name)
        worlds = [self._world(task_id, step, drawn) for task_id in task_ids]
        with ThreadPoolExecutor(min(_MOST_EPISODES, len(task_ids))) as threads:
            try:
                return list(threads.map(player.play, worlds, task_ids, map(np.random.default_rng, seeds)))
            except RolloutStoppedError as stopped:
                raise player.failure or stopped from None

    def _world(self, task_id: str, step: int, drawn: Sequence[int]) -> ChatTasks:
        """Choose whether the episodes of a task are guided; all processes choose alike."""
        if self._guided is None or self._guidance is None:
            return self._tasks
        share = self._guidance(step)
        if not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise ValueError(f"guidance must return a probability, from 0 to 1, got {quoted(share)} for step {step}.")
        draw = np.random.default_rng([*drawn, zlib.crc32(task_id.encode())])
        return self._guided if draw.random() < share else self._tasks

    def _check(self, trainer: Any) -> None:
        if self._reward_name == "step" and not getattr(trainer, "adds_step_advantages", False):
            raise ValueError("The reward 'step' needs step_envs.integrations.trl_steps.StepGRPOTrainer as the trainer.")
        for name, neutral in _NEUTRAL.items():
            value = getattr(trainer.args, name, None)
            if value and value != neutral:
                raise ValueError(
                    f"ReActRollouts samples with temperature and top_p alone: leave {name}={quoted(value)} out of the "
                    "trainer's configuration."
                )

    def _warn_if_little_is_trained(self, shares: Sequence[float]) -> None:
        if fmean(shares) < _LITTLE and not self._warned:
            self._warned = True
            warnings.warn(
                f"Only {fmean(shares):.0%} of the tokens that the model sampled are trained, because the chat template "
                "writes earlier replies in another way than the model did: see docs/trl.md, and trained_share.",
                stacklevel=3,
            )

    @property
    def reward(self) -> Callable[..., list[float]]:
        """The reward as a function for ``reward_funcs``, under its name."""

        def of_episodes(*, episode_reward: list[float], **_: Any) -> list[float]:
            return list(episode_reward)

        of_episodes.__name__ = self._reward_name
        return of_episodes


class _Player:
    """Plays episodes with the model, one in each thread."""

    def __init__(self, batcher: Batcher, args: Any, max_tokens: int, reward: RewardName) -> None:
        self._batcher, self._model = batcher, batcher.model
        self._temperature, self._top_p = float(args.temperature), float(args.top_p)
        self._max_tokens, self._room = max_tokens, args.max_completion_length
        self._reward = reward
        self.failure: BaseException | None = None  # of the first episode that failed

    def play(self, tasks: ChatTasks, task_id: str, draw: np.random.Generator) -> PlayedEpisode:
        try:
            with tasks.begin(task_id, agent="trl") as episode:
                return self._play(episode, task_id, draw)
        except BaseException as error:
            # The whole rollout fails with this episode, so the others need not go on to their ends.
            self.failure = self.failure or error
            raise

    def _play(self, episode: ChatEpisode, task_id: str, draw: np.random.Generator) -> PlayedEpisode:
        record, kept, states, sampled = TokenRecord(), PrefixCache(), list[str](), 0
        cut = False
        self._batcher.join(kept)
        while not episode.over:
            if self.failure is not None:
                raise RolloutStoppedError("Another episode of the rollout failed.")
            seen = record.read(self._model.prompt(episode.messages))
            room = self._room_for_a_reply(seen)
            if room < 1:
                episode.stop()
                break
            states.append(episode.state_key() if self._reward == "step" else "")
            reply, ids, cut = self._reply(seen, kept, min(room, self._max_tokens), draw)
            record = seen.write(ids)
            sampled += len(ids)
            episode.reply(reply)
        if not record.completion_ids:
            raise ValueError(
                f"The prompt of {task_id!r} leaves the model no room for a reply: set a larger max_completion_length, make "
                "the tasks with style='plain', or train a model with a longer context."
            )
        if cut:
            # What it invented behind its last action is no more trained than behind the others.
            kept_of_it = record.read(self._model.prompt(episode.messages)).until_last_reply()
            record = kept_of_it if kept_of_it.completion_ids else record
        judged = [turn for turn in episode.trajectory.turns if turn.kind in _JUDGED]
        taught = episode.trajectory.teacher is not None
        for number, turn in enumerate(judged):
            # Nobody has said that a turn is right whose verdict is unknown, or which the teacher was not asked about.
            if (taught and turn.verdict is None) or (turn.verdict is not None and turn.verdict.status != "ok"):
                record = record.without_turn(number)
        figures = episode.metrics() | {
            "corrected": float(sum(turn.kind == "correction" for turn in episode.trajectory.turns)),
            "trained_share": sum(record.env_mask) / sampled,
            "episode_reward": episode_reward(episode, self._reward),
        }
        # A turn's own reward: what a teacher gained after it does not count.
        turns = [PlayedTurn(state, turn.reward or 0.0) for state, turn in zip(states, judged, strict=True)]
        return PlayedEpisode(record, turns, figures, episode.trajectory)

    def _room_for_a_reply(self, record: TokenRecord) -> int:
        left = [] if self._room is None else [self._room - len(record.completion_ids)]
        if self._model.context is not None:
            left.append(self._model.context - len(record.ids))
        return min(left, default=self._max_tokens)

    def _reply(
        self, seen: TokenRecord, kept: PrefixCache, most: int, draw: np.random.Generator
    ) -> tuple[Reply, list[int], bool]:
        """Return a reply, its tokens with the one that ended it, and whether its end was cut off as invented."""
        asked = GenerationRequest(
            kept, list(seen.ids), most, self._model.completes, self._temperature, self._top_p, draw
        )
        said = self._batcher.submit(asked)
        sampled = asked.ids[asked.asked :]
        usage = Usage(prompt_tokens=asked.asked, completion_tokens=len(sampled), requests=1)
        too_long = len(said) == most and not self._model.completes(said)
        text = self._model.text(said)
        reply = Reply(until_stop(text), usage, finish="length" if too_long else "stop")
        return reply, sampled, reply.text != text.strip()


def _task_of(prompt: Sequence[Mapping[str, Any]]) -> str:
    task_id = prompt[-1].get("task_id") if prompt else None
    if not task_id:
        raise ValueError("A prompt does not name its task: make the dataset with step_envs.integrations.trl.rows.")
    return str(task_id)
