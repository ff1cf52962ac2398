"""Which admissible actions a model that teaches is told: compared with exact fractions, computed the simple way."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step_envs.wrappers.teachers.prompting import most_relevant

WORDS = st.sampled_from(["open", "mug", "1", "2", "shelf", "heat", "with"])
SENTENCES = st.lists(WORDS, min_size=1, max_size=5).map(" ".join)


@given(st.lists(SENTENCES, max_size=12), st.lists(SENTENCES, min_size=1, max_size=3), st.integers(1, 8))
def test_no_action_that_is_left_out_is_more_relevant(actions: list[str], about: list[str], most: int) -> None:
    words = [set(action.split()) for action in actions]

    def relevance(index: int) -> Fraction:
        shared = (
            Fraction(1, sum(word in others for others in words) * rank)
            for rank, text in enumerate(about, 1)
            for word in words[index] & set(text.split())
        )
        return sum(shared, Fraction()) / (1 + len(words[index]))

    chosen = most_relevant(actions, about, most)
    assert len(chosen) == min(most, len(actions))
    best = sorted(map(relevance, range(len(actions))), reverse=True)[:most]
    assert sorted((relevance(actions.index(action)) for action in chosen), reverse=True) == pytest.approx(best)
