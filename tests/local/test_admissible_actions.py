"""Checkpoints that write only actions that the world accepts."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="needs the extra train")

import torch
from small_checkpoint import make_checkpoint

import step_envs  # noqa: F401  (registers the environments)
from step_envs.agents import TransformersAgent, rollout
from step_envs.agents.base import Reply, make_agent
from step_envs.agents.local import admissible
from step_envs.agents.local.admissible import AdmissibleActions
from step_envs.agents.local.cache import PrefixCache
from step_envs.agents.local.generation import GenerationRequest, allowed_only, next_tokens
from step_envs.errors import UnknownNameError
from step_envs.wrappers import ReActWrapper, RecordTrajectory

pytestmark = pytest.mark.train

LISTED = ("look", "go to fridge 1", "go to fridge 10", "search[red shoes]", "click[1]")


def decoded(ids: list[int]) -> str:
    return "".join(map(chr, ids))


def restriction(accepts: Any = lambda action: action in LISTED or action.startswith("search[")) -> AdmissibleActions:
    return AdmissibleActions(LISTED, accepts, decoded)


def written(text: str, *, end: bool = True) -> bool:
    """Return True if every character of a text may follow the one before, and then the end."""
    actions, ids = restriction(), [ord(letter) for letter in text]
    letters = all(actions.allows(ids[:place], token, ends=False) for place, token in enumerate(ids))
    return letters and (not end or actions.allows(ids, 0, ends=True))


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        *((f"Thought: so\nAction: {action}", True) for action in LISTED),
        ("Action: look", True),
        ("Thought: Action: is a word here\nAction: look", True),
        ("Thought: so\nAction: search[blue ☃ hats]", True),
        ("Thought: so\nAction: search[blue", False),
        ("Thought: so\nAction: search[a] b", False),
        ("Thought: so\nAction: go to fridge", False),
        ("Thought: so\nAction: go to fridge 2", False),
        ("Thought: so\nAction: click[2]", False),
        ("Thought: so\nAction: click[]", False),
        ("Thought: so\nAction: ", False),
        ("Thought: so\nAction: Look", False),
        ("Thought: so\nAction:  look", False),
        ("Thought: so\nAction: look\n", False),
    ],
)
def test_an_action_is_written_only_as_the_world_takes_it(text: str, allowed: bool) -> None:
    assert written(text) is allowed


@given(st.text(max_size=30))
def test_a_thought_is_free(thought: str) -> None:
    assert "Action:" in thought or written(f"Thought: {thought}", end=False)


def request(ids: list[int], **options: Any) -> GenerationRequest:
    return GenerationRequest(PrefixCache(), ids, 9, lambda reply: False, allows=restriction().allows, **options)


def test_the_likeliest_allowed_token_is_chosen_whatever_it_spans() -> None:
    """A token is a character here; after "Action: cl" only "i" goes on, however unlikely."""
    before = [ord(letter) for letter in "Action: cl"]
    ask = request([1, 2, 3])
    ask.ids += before
    logits = torch.zeros(1, 200)
    logits[0, ord("a")], logits[0, ord("i")] = 9.0, -9.0
    assert next_tokens(allowed_only(logits, [ask], frozenset([0])), [ask]) == [ord("i")]
    assert logits[0, ord("i")] == -9.0  # the logprobs are those of the model
    drawn = request([1, 2, 3], temperature=1.0)
    drawn.ids += [ord(letter) for letter in "Action: "]
    chosen = {next_tokens(allowed_only(logits, [drawn], frozenset([0])), [drawn])[0] for _ in range(300)}
    assert chosen == {ord(action[0]) for action in LISTED}
    # In the same batch, a request without restrictions is not touched.
    free = GenerationRequest(PrefixCache(), [1], 9, lambda reply: False)
    assert next_tokens(allowed_only(logits.repeat(2, 1), [ask, free], frozenset([0])), [ask, free])[1] == ord("a")


class OnlyActions(TransformersAgent):
    """A checkpoint whose whole reply is its action."""

    def act(self, env: gym.Env[str, str]) -> Reply | None:
        said = super().act(env)
        return said and replace(said, text=f"Action: {said.text}")


def test_a_random_checkpoint_plays_without_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes nonsense, so each of its actions is admissible by the restriction alone."""
    monkeypatch.setattr(admissible, "_ACTION", re.compile("^"))
    folder = make_checkpoint(tmp_path / "model")
    agent = OnlyActions(str(folder), max_tokens=400, actions="admissible", temperature=1.0)
    for env_id in ("STeP-ALFWorld-v0", "STeP-WebShop-v0"):
        env = RecordTrajectory(ReActWrapper(gym.make(env_id, max_steps=6), style="plain"))
        played = rollout(env, agent, seed=0)
        actions = [turn for turn in played.turns if turn.action is not None]
        assert actions and all(turn.valid_action for turn in actions)
        assert json.loads(played.to_json())["agent"]["params"]["actions"] == "admissible"
        env.close()


def test_what_is_not_offered_is_refused(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model")
    with pytest.raises(UnknownNameError, match=r"Unknown kind of actions 'valid'\. Known: any, admissible"):
        make_agent(f"local:model={folder},actions=valid")
    agent = TransformersAgent(str(folder), actions="admissible")
    env = RecordTrajectory(ReActWrapper(gym.make("STeP-ALFWorld-v0"), reply_format="action-tags"))
    with pytest.raises(ValueError, match='actions="admissible" is for replies in the format react: leave it out'):
        rollout(env, agent, seed=0)
