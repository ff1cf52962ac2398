"""Goals and splits: in the original's order, disjoint, and the same everywhere."""

import multiprocessing
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from step_envs.errors import DataError, UnknownNameError
from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.generator import make_catalogue
from step_envs.webshop.catalogue.goals import Goal
from step_envs.webshop.tasks import WebShopTasks, eto_goals, eto_leaked_goals


def test_the_three_splits_part_the_goals_by_number(made: Catalogue) -> None:
    tasks = WebShopTasks(made, "synthetic")
    count = len(made.goals("synthetic"))
    parts = [list(tasks.numbers(split)) for split in ("test", "eval", "train")]
    assert [part[0] for part in parts] == [0, 500, 1500]
    assert [number for part in parts for number in part] == list(range(count))
    for split in tasks.splits:
        assert all(tasks.split_of(task_id) == split for task_id in tasks.ids(split))


def _ids_and_goals(folder: Path) -> list[object]:
    tasks = WebShopTasks(Catalogue(folder))
    listed: list[object] = [tuple(tasks.ids(split)) for split in tasks.splits]
    return [*listed, [tasks.goal(f"{tasks.name}/{n}").to_dict() for n in range(0, 1000, 37)]]


def test_another_process_sees_the_same_goals(made: Catalogue) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        random.seed(7)
        assert pool.map(_ids_and_goals, [made.folder] * 2) == [_ids_and_goals(made.folder)] * 2


def test_names_tell_the_kinds_of_goals_apart(made: Catalogue) -> None:
    human, synthetic = WebShopTasks(made, "human"), WebShopTasks(made, "synthetic")
    assert human.task_id(3) == "generated-0-300-human/3"
    assert synthetic.task_id(3) == "generated-0-300/3"
    for name in (
        human.task_id(3),
        "generated-0-300/" + "9" * 5000,
        "generated-0-300/03",
        "generated-0-300/-1",
        "generated-0-300/٣",
        "3",
        "",
        "x/y/1",
    ):
        with pytest.raises(UnknownNameError, match=r"Tasks are named generated-0-300/0 to generated-0-300/\d+\."):
            synthetic.split_of(name)
    for ask in (synthetic.split_of, synthetic.type_of):
        with pytest.raises(TypeError, match="A task id is a str, got int: 3"):
            ask(3)  # type: ignore[arg-type]


def test_a_split_of_a_small_catalogue_that_is_empty_says_why(tmp_path: Path) -> None:
    tasks = WebShopTasks(make_catalogue(tmp_path / "few", size=5), "human")
    assert len(tasks.select("test")) == 20
    for split in ("train", "eval"):
        with pytest.raises(
            ValueError, match=rf"Split '{split}' has no task: 'generated-0-5' has 20 human goals, of which"
        ):
            tasks.select(split)


def test_departments_are_the_types(made: Catalogue) -> None:
    tasks = WebShopTasks(made)
    assert tasks.types == ("beauty", "electronics", "fashion", "garden", "grocery")
    chosen: Sequence[str] = tasks.select("test", ["grocery"])
    assert 0 < len(chosen) < 500
    assert {tasks.type_of(task_id) for task_id in chosen} == {"grocery"}


def test_etos_lists_and_their_overlap() -> None:
    train, test = eto_goals("train"), eto_goals("test")
    assert (len(train), len(set(train)), len(test), len(set(test))) == (1824, 1823, 200, 200)
    assert max(*train, *test) < 12_087
    assert eto_leaked_goals() == (
        818, 978, 1211, 2640, 2933, 4161, 4999, 5144, 5413, 5613, 5900, 6604, 7235, 7475, 7603, 7624, 7999, 8573, 10438,
        11155, 11580,
    )  # fmt: skip


def test_etos_splits_exist_only_with_the_full_human_goals(made: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    assert WebShopTasks(made, "human").splits == ("train", "eval", "test")
    monkeypatch.setattr("step_envs.webshop.tasks.FULL_HUMAN_GOALS", len(made.goals("human")))
    tasks = WebShopTasks(made, "human")
    assert tasks.splits == ("train", "eval", "test", "eto_train", "eto_test", "eto_train_published")
    assert set(tasks.numbers("eto_train_published")) & set(tasks.numbers("eto_test")) == set(eto_leaked_goals())
    train, test = set(tasks.numbers("eto_train")), set(tasks.numbers("eto_test"))
    assert len(train) == 1823 - 21 and len(test) == 200 and not train & test
    assert "eto_train" not in WebShopTasks(made, "synthetic").splits


def test_goals_given_in_full_survive_the_way_through_json(made: Catalogue) -> None:
    for kind in ("human", "synthetic"):
        goal = made.goal(kind, 0)
        assert Goal.from_dict(goal.to_dict()) == goal
    values = made.goal("human", 0).to_dict()
    for broken, message in (
        (7, "A goal is a dict"),
        (values | {"extra": 1}, "unknown key 'extra'"),
        (values | {"name": 1}, "'name' must be text"),
        (values | {"price_upper": 0}, "'price_upper' must be a positive number"),
        (values | {"price_upper": True}, "'price_upper' must be a positive number"),
        (values | {"goal_options": "red"}, "'goal_options' must be"),
        (values | {"goal_options": {"color": 1}}, "'goal_options' must be"),
    ):
        with pytest.raises(DataError, match=message):
            Goal.from_dict(broken)
