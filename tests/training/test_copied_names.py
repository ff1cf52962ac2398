"""Names that can be copied are told from the wording that all replies share, and counted where they are predicted right."""

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from step_envs.training.copied_names import count_copied, name_tokens
from step_envs.training.tokens import IGNORED

pytestmark = pytest.mark.train


def test_what_few_rows_hold_is_a_name() -> None:
    rows = [torch.tensor([1, 2, 2, 3 + row]) for row in range(10)]
    assert name_tokens(rows, 15).nonzero().flatten().tolist() == [0, *range(3, 15)]


def test_only_names_that_stand_earlier_in_the_row_are_counted() -> None:
    names = torch.zeros(20, dtype=torch.bool)
    names[10:] = True
    ids = torch.tensor([[1, 10, 11, 2, 10, 12, 11], [1, 13, 2, 2, 10, 13, 0]])
    targets = torch.cat([ids[:, 1:]], 1).clone()
    targets[0, :3] = targets[1, :3] = targets[1, 5] = IGNORED  # observation, and padding
    trained = targets != IGNORED
    # Row 0 trains 10, 12 and 11; 12 was never mentioned. Row 1 trains 10, which stands in row 0 alone, and 13.
    right = targets[trained].clone()
    assert count_copied(ids, targets, trained, right, names) == (3, 3)
    right[0] = 19
    assert count_copied(ids, targets, trained, right, names) == (2, 3)
    assert count_copied(ids, targets, trained, right, torch.zeros(20, dtype=torch.bool)) == (0, 0)
