"""What the tests of adapters share."""

from typing import Any

import gymnasium as gym
import pytest


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[gym.Env[str, str]]:
    """The environments that are made."""
    made: list[gym.Env[str, str]] = []
    make = gym.make

    def make_and_note(*arguments: Any, **options: Any) -> gym.Env[str, str]:
        made.append(make(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(gym, "make", make_and_note)
    return made
