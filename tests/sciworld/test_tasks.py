"""Tasks, splits and step limits of ScienceWorld."""

import pytest

import step_envs
from step_envs.errors import UnknownNameError
from step_envs.sciworld.tasks import ETO_SPLITS, OFFICIAL_SPLITS, TASK_TYPES, SciWorldTasks

TASKS = SciWorldTasks()


def test_thirty_tasks_and_all_their_variations() -> None:
    assert len(TASK_TYPES) == 30
    assert sum(task.variations for task in TASK_TYPES.values()) == 7207


@pytest.mark.parametrize(
    ("split", "count"),
    [
        ("train", 3592),
        ("dev", 1796),
        ("test", 1819),
        ("eto_train_published", 1483),
        ("eto_train", 1429),
        ("eto_dev", 194),
        ("eto_test", 211),
    ],
)
def test_splits_have_their_published_sizes(split: str, count: int) -> None:
    listed = step_envs.list_tasks("STeP-SciWorld-v0", split=split)
    assert len(listed) == len(set(listed)) == count


def test_official_splits_are_disjoint_and_complete() -> None:
    parts = [set(TASKS.ids(split)) for split in OFFICIAL_SPLITS]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 7207
    assert all(TASKS.split_of(task_id) == split for split in OFFICIAL_SPLITS for task_id in TASKS.ids(split))


def test_etos_test_is_clean_and_its_known_leak_has_a_way_out() -> None:
    train, dev, test, disjoint = (
        set(TASKS.ids(split)) for split in ("eto_train_published", "eto_dev", "eto_test", "eto_train")
    )
    assert not test & (train | dev)
    assert test <= set(TASKS.ids("test"))
    assert dev <= set(TASKS.ids("dev"))
    assert len(train & dev) == 54
    assert disjoint == train - dev
    assert len({TASKS.type_of(task_id) for task_id in train | dev | test}) == 24
    assert set(ETO_SPLITS) <= set(TASKS.splits)


@pytest.mark.parametrize(
    ("task_id", "limit"),
    [
        ("boil/0", 100),
        ("freeze/0", 80),
        ("measure-melting-point-known-substance/0", 120),
        ("grow-plant/0", 30),
        ("lifespan-longest-lived-then-shortest-lived/0", 12),
    ],
)
def test_etos_step_table(task_id: str, limit: int) -> None:
    assert TASKS.max_steps(task_id) == limit


@pytest.mark.parametrize(
    ("task_id", "sentence"),
    [
        ("boyl/3", "Unknown task 'boyl/3'. Did you mean 'boil/0'?"),
        ("boil/30", "Unknown task 'boil/30'. Did you mean 'boil/0' or 'boil/29'?"),
        ("boil/03", "Unknown task 'boil/03'."),
        ("boil/-1", "Unknown task 'boil/-1'."),
        ("boil/٣", "Unknown task 'boil/٣'."),
        ("boil", "Unknown task 'boil'."),
        ("", "Unknown task ''."),
        ("boil/" + "9" * 5000, "Unknown task 'boil/999"),
    ],
)
def test_tasks_that_do_not_exist_name_the_nearest(task_id: str, sentence: str) -> None:
    with pytest.raises(UnknownNameError) as error:
        TASKS.parse(task_id)
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize("task_id", [None, 3, b"boil/0", ["boil/0"]])
def test_a_task_id_that_is_no_text(task_id: object) -> None:
    for question in (TASKS.split_of, TASKS.type_of, TASKS.max_steps, TASKS.parse):
        with pytest.raises(TypeError, match="A task id is a str"):
            question(task_id)  # type: ignore[operator]
