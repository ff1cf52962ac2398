"""Play whole episodes for TRL's ``GRPOTrainer(rollout_func=...)``: the conversations of our evaluation, as token ids.

Every reply is written by the model that is being trained, with the batches and caches that ``TransformersAgent`` plays
with: episodes go on while others end, and a prompt is read once. What TRL gets of an episode is one sequence: the first
prompt, and a completion in which replies and observations alternate. ``env_mask`` is 1 on the tokens that the model
sampled.

TRL computes the probability of each token in this sequence, so the sequence must be what the model saw. That is checked
before every reply, since the prompt is made anew from the conversation, as a server would make it:

- If the end of the last reply is not in the new prompt (it went on to invent an observation, which is cut off), its tokens
  leave the sequence: they were sampled, but nothing that follows was seen with them.
- If the prompt differs before that (a template that takes thoughts out of earlier replies, tokens that merge), the sequence
  begins anew with this prompt: the replies so far stay in the context and out of the loss.

So no token is trained in a context in which the model did not write it.

Some episodes can be guided: a teacher watches them and corrects errors, with a probability that falls as the model learns.
The teacher's turns are context, like observations, and the errors that it found carry no loss.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from step_envs.agents.chat import until_stop
from step_envs.agents.local.batch import Batcher, GenerationRequest
from step_envs.agents.local.cache import PrefixCache
from step_envs.agents.local.model import LocalModel
from step_envs.integrations.chat_tasks import ChatTasks
from step_envs.integrations.trl import RewardName, check_reward, episode_reward
from step_envs.trajectory import Usage
from step_envs.wrappers.reply import Reply

_MOST_EPISODES = 64


@dataclass(frozen=True)
class TokenRecord:
    """The tokens of an episode as the model saw and wrote them.

    Attributes:
        prompt_ids: The first prompt.
        completion_ids: Everything after it.
        env_mask: 1 for each token of the completion that the model sampled and that follows what it saw; else 0.
        turns: Start and end of each reply in the completion; both 0 if it is not trained.
        begun_anew: How often the prompt was not what the sequence was before, so that earlier replies are not trained.
    """

    prompt_ids: tuple[int, ...] = ()
    completion_ids: tuple[int, ...] = ()
    env_mask: tuple[int, ...] = ()
    turns: tuple[tuple[int, int], ...] = ()
    begun_anew: int = 0

    @property
    def ids(self) -> tuple[int, ...]:
        """Prompt and completion."""
        return self.prompt_ids + self.completion_ids

    def read(self, prompt: Sequence[int]) -> "TokenRecord":
        """Add what the model sees before its next reply."""
        known, prompt = self.ids, tuple(prompt)
        kept = _common(known, prompt) - len(self.prompt_ids)
        if not known or kept < (self.turns[-1][0] if self.turns else 0):
            return TokenRecord(prompt, turns=((0, 0),) * len(self.turns), begun_anew=self.begun_anew + bool(known))
        completion = prompt[len(self.prompt_ids) :]
        mask = self.env_mask[:kept] + (0,) * (len(completion) - kept)
        turns = tuple((start, min(end, kept)) for start, end in self.turns)
        return replace(self, completion_ids=completion, env_mask=mask, turns=turns)

    def without_turn(self, number: int) -> "TokenRecord":
        """Take a reply out of the loss; it stays in the context."""
        start, end = self.turns[number]
        mask = self.env_mask[:start] + (0,) * (end - start) + self.env_mask[end:]
        return replace(self, env_mask=mask)

    def write(self, reply: Sequence[int]) -> "TokenRecord":
        """Add the tokens of a reply, with the one that ended it."""
        start = len(self.completion_ids)
        return replace(
            self,
            completion_ids=self.completion_ids + tuple(reply),
            env_mask=self.env_mask + (1,) * len(reply),
            turns=(*self.turns, (start, start + len(reply))),
        )


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
    """

    tokens: TokenRecord
    turns: list[PlayedTurn]
    figures: dict[str, float]


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
        guidance: The optimizer step of the trainer -> probability that an episode is guided.

    Raises:
        UnknownNameError: There is no such reward.
        ValueError: Only one of ``guided`` and ``guidance`` is given.
    """

    def __init__(
        self,
        tasks: ChatTasks,
        reward: RewardName = "score",
        *,
        max_tokens: int = 128,
        guided: ChatTasks | None = None,
        guidance: Callable[[int], float] | None = None,
    ) -> None:
        check_reward(reward)
        if (guided is None) != (guidance is None):
            raise ValueError("Guided rollouts need both guided= (tasks with a teacher) and guidance= (how often).")
        self._tasks, self._reward_name, self._max_tokens = tasks, reward, max_tokens
        self._guided, self._guidance = guided, guidance
        self._rollouts = 0

    def __call__(self, prompts: Sequence[Sequence[Mapping[str, Any]]], trainer: Any) -> dict[str, Any]:
        """Play an episode for each prompt.

        Args:
            prompts: As in the rows of ``rows``; the same task may be there several times.
            trainer: The ``GRPOTrainer``.

        Returns:
            ``prompt_ids``, ``completion_ids``, ``logprobs`` (None: TRL computes them), ``env_mask``; ``turn_spans``,
            ``turn_states`` and ``turn_rewards``, a list for each episode; and the figures of the episodes by name.

        Raises:
            ValueError: A prompt does not name its task, or the reward needs another trainer.
        """
        task_ids = [_task_of(prompt) for prompt in prompts]
        if self._reward_name == "step" and not getattr(trainer, "adds_step_advantages", False):
            raise ValueError("The reward 'step' needs step_envs.integrations.trl_steps.StepGRPOTrainer as the trainer.")
        model = trainer.accelerator.unwrap_model(trainer.model)
        was_training = model.training
        model.eval()
        try:
            batcher = Batcher(LocalModel("trl", model, trainer.processing_class))
            batcher.most = _MOST_EPISODES
            self._rollouts += 1
            seeds = np.random.SeedSequence([trainer.args.seed, trainer.accelerator.process_index, self._rollouts])
            streams = [np.random.default_rng(seed) for seed in seeds.spawn(len(task_ids))]
            player = _Player(batcher, trainer.args, self._max_tokens, self._reward_name)
            with ThreadPoolExecutor(min(_MOST_EPISODES, len(task_ids))) as threads:
                played = list(threads.map(player.play, self._worlds(streams, trainer), task_ids, streams))
        finally:
            model.train(was_training)
        return {
            "prompt_ids": [list(one.tokens.prompt_ids) for one in played],
            "completion_ids": [list(one.tokens.completion_ids) for one in played],
            "env_mask": [list(one.tokens.env_mask) for one in played],
            "logprobs": None,
            "begun_anew": [one.tokens.begun_anew for one in played],
            "turn_spans": [one.tokens.turns for one in played],
            "turn_states": [[turn.state for turn in one.turns] for one in played],
            "turn_rewards": [[turn.reward for turn in one.turns] for one in played],
        } | {name: [one.figures[name] for one in played] for name in played[0].figures}

    def _worlds(self, streams: Sequence[np.random.Generator], trainer: Any) -> list[ChatTasks]:
        """Choose which episodes are guided."""
        if self._guided is None or self._guidance is None:
            return [self._tasks] * len(streams)
        share = self._guidance(trainer.state.global_step)
        return [self._guided if draw.random() < share else self._tasks for draw in streams]

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

    def play(self, tasks: ChatTasks, task_id: str, draw: np.random.Generator) -> PlayedEpisode:
        record, kept, turns = TokenRecord(), PrefixCache(), list[PlayedTurn]()
        with tasks.begin(task_id, agent="trl") as episode:
            self._batcher.join(kept)
            while not episode.over:
                seen = record.read(self._model.prompt(episode.messages))
                room = self._room_for_a_reply(seen)
                if room < 1:
                    episode.stop()
                    break
                state = episode.state_key() if self._reward == "step" else ""
                reply, sampled = self._reply(seen, kept, min(room, self._max_tokens), draw)
                record = seen.write(sampled)
                episode.reply(reply)
                turns.append(PlayedTurn(state, episode.last_reward))
            judged = [turn for turn in episode.trajectory.turns if turn.kind in ("agent", "error")]
            for number, turn in enumerate(judged):
                # Nobody has said that a turn is right whose verdict is unknown.
                if turn.verdict is not None and turn.verdict.status != "ok":
                    record = record.without_turn(number)
            corrected = sum(turn.kind == "correction" for turn in episode.trajectory.turns)
            figures = episode.metrics() | {
                "corrected": float(corrected),
                "episode_reward": episode_reward(episode, self._reward),
            }
        if not record.completion_ids:
            raise ValueError(
                f"The prompt of {task_id!r} leaves the model no room for a reply: make the tasks with style='plain', or "
                "train a model with a longer context."
            )
        return PlayedEpisode(record, turns, figures)

    def _room_for_a_reply(self, record: TokenRecord) -> int:
        left = [] if self._room is None else [self._room - len(record.completion_ids)]
        if self._model.context is not None:
            left.append(self._model.context - len(record.ids))
        return min(left, default=self._max_tokens)

    def _reply(
        self, seen: TokenRecord, kept: PrefixCache, most: int, draw: np.random.Generator
    ) -> tuple[Reply, list[int]]:
        asked = GenerationRequest(
            kept, list(seen.ids), most, self._model.completes, self._temperature, self._top_p, draw
        )
        said = self._batcher.submit(asked)
        sampled = asked.ids[asked.asked :]
        usage = Usage(prompt_tokens=asked.asked, completion_tokens=len(sampled), requests=1)
        cut_off = len(said) == most and not self._model.completes(said)
        return Reply(until_stop(self._model.text(said)), usage, finish="length" if cut_off else "stop"), sampled


def _task_of(prompt: Sequence[Mapping[str, Any]]) -> str:
    task_id = prompt[-1].get("task_id") if prompt else None
    if not task_id:
        raise ValueError("A prompt does not name its task: make the dataset with step_envs.integrations.trl.rows.")
    return str(task_id)


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many tokens two sequences begin with alike."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))
