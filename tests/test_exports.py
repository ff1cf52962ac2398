"""Exports: the same rows in every form, whole or not there, whatever the text is."""

import json
import weakref
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from gymnasium.error import DependencyNotInstalled

from step_envs.errors import StoreError, UnknownNameError
from step_envs.exports import (
    FORMATS,
    UntrainedReplies,
    export,
    message_row,
    sharegpt_row,
    table_row,
    to_dataset,
    turn_rows,
)
from step_envs.store import TrajectoryStore
from step_envs.trajectory import Actor, Kind, Role, Trajectory, Turn, Usage, Verdict

HOSTILE = "\x1b[31mred\x1b[0m [red]markup[/red] \u202eright to left\u202c \x00\r\n\u2028 שלום 🧪 \\ \" ' half: \ud83e"
STORED = HOSTILE.replace("\ud83e", "\ufffd")
FILES = {
    "messages": "rows.jsonl",
    "turns": "turns.jsonl",
    "sharegpt": "rows.json",
    "parquet": "rows.parquet",
    "datasets": "rows",
    "minari": "episodes",
}
FORMS = [
    pytest.param(form, marks=pytest.mark.skipif(not find_spec("minari"), reason="needs the extra minari"))
    if form == "minari"
    else form
    for form in FORMATS
]


def turn(role: Role, content: str, kind: Kind, loss: float = 0.0, **more: Any) -> Turn:
    return Turn(role=role, content=content, kind=kind, loss=loss, **more)


def trajectory(
    task_id: str = "boil/3", *, episode: int | None = None, text: str = "plain", **changes: Any
) -> Trajectory:
    verdict = Verdict(status="error", error="wrong", reason=text, corrected_action="look", usage=Usage(requests=1))
    fields: dict[str, Any] = {
        "env_id": "STeP-SciWorld-v0",
        "task_id": task_id,
        "task_type": "boil",
        "split": "train",
        "episode": episode,
        "protocol": {"env": {"split": "train"}, "note": text.replace("\ud83e", "")},
        "instruction": text,
        "agent": Actor(name="novice", params={"error_rate": 0.25}),
        "teacher": Actor(name="oracle"),
        "versions": {"step-envs": "0"},
        "turns": (
            turn("user", "manual", "instruction"),
            turn("assistant", "OK", "instruction"),
            turn("user", text, "instruction", score=0.0),
            turn("assistant", f"Action: {text}", "error", action=text, reward=0.0, score=0.0, verdict=verdict),
            turn("user", f"Observation: {text}", "observation"),
            turn("assistant", "Action: look", "correction", 1.0, action="look", reward=0.5, score=0.5),
            turn("user", "Observation: a room", "observation"),
            turn(
                "assistant", "Action: boil", "agent", 0.5, action="boil", reward=0.5, score=1.0, usage=Usage(cost=0.1)
            ),
            turn("user", "Observation: done", "observation"),
        ),
        "score": 1.0,
        "success": True,
        "reward": 1.0,
        "steps": 3,
        "terminated": True,
        "truncated": False,
        "stop_reason": "success",
        "errors": 1,
        "unknown_verdicts": 0,
        "usage": Usage(seconds=1.5),
    }
    return Trajectory(**(fields | changes))


def bare(task_id: str = "melt/0") -> Trajectory:
    """An episode that was given up before the first reply, with nobody to teach: every optional field is None."""
    return trajectory(
        task_id,
        teacher=None,
        turns=trajectory().turns[:3],
        errors=0,
        success=False,
        score=0.0,
        reward=0.0,
        steps=0,
        stop_reason="agent_stopped",
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    with TrajectoryStore(folder / "trajectories.jsonl") as store:
        for one in (
            trajectory(episode=0),
            bare(),
            trajectory(episode=2, text=HOSTILE),
            trajectory("boil/4", episode=3),
        ):
            store.append(one)
    return folder


def files(path: Path) -> dict[str, bytes]:
    if path.is_file():
        return {"": path.read_bytes()}
    return {
        str(file.relative_to(path)): file.read_bytes() if file.is_file() else b"" for file in sorted(path.rglob("*"))
    }


def no_rest(folder: Path) -> bool:
    return not [path for path in folder.rglob("*") if ".tmp" in path.name or path.name == "rough"]


def test_messages_are_what_training_needs_and_every_row_has_the_same_keys(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "rows.jsonl"
    assert export(run, out) == 3
    rows = [json.loads(line) for line in out.read_bytes().split(b"\n")[:-1]]
    # Trainers skip a row that ends on an observation, and one without a reply has nothing to train on.
    assert [row["id"] for row in rows] == ["boil/3", "boil/3#2", "boil/4"]
    assert rows[0]["messages"] == trajectory().messages()[:-1]
    assert [message["loss"] for message in rows[0]["messages"]] == [0, 0, 0, 0, 0, 1, 0, 0.5]
    assert len({tuple(row) for row in rows}) == 1
    assert {tuple(message) for row in rows for message in row["messages"]} == {("role", "content", "loss")}
    assert rows[0]["seed"] is None and rows[0]["teacher"] == "oracle"
    assert rows[1]["messages"][3]["content"] == f"Action: {STORED}" and rows[1]["instruction"] == STORED


def test_turns_are_rows_that_end_on_a_trained_turn(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    assert export(run, out, "turns") == 6
    rows = [json.loads(line) for line in out.read_bytes().split(b"\n")[:-1]]
    assert [row["id"] for row in rows[:4]] == ["boil/3/5", "boil/3/7", "boil/3#2/5", "boil/3#2/7"]
    assert [(row["turn"], row["kind"], row["action"], row["loss"]) for row in rows[:2]] == [
        (5, "correction", "look", 1.0),
        (7, "agent", "boil", 0.5),
    ]
    spoken = [{"role": one["role"], "content": one["content"]} for one in trajectory().messages()]
    assert [row["messages"] for row in rows[:2]] == [spoken[:6], spoken[:8]]
    assert len({tuple(row) for row in rows}) == 1
    assert [row["id"] for row in turn_rows(trajectory(), "mine")] == ["mine/5", "mine/7"]


def test_what_other_trainers_would_train_is_counted_and_said_by_name() -> None:
    untrained = UntrainedReplies()
    untrained.add(trajectory())
    assert untrained.figures() == {
        "errors": 1,
        "others": 1,
        "partly": 1,
        "trained_by": ["axolotl", "LLaMA-Factory", "SkyRL", "TRL", "verl"],
    }
    assert untrained.sentences() == [
        "2 replies must not be trained (1 error). LLaMA-Factory, SkyRL, TRL and verl ignore the weights and would train "
        "them, and so would axolotl unless you set message_field_training: loss. Use --format turns for LLaMA-Factory, "
        "SkyRL and TRL, examples/verl_dataset.py for verl, or step-envs train.",
        "1 reply has a weight between 0 and 1, which axolotl and ms-swift count as 1: use step-envs train.",
    ]
    assert UntrainedReplies().sentences() == []


def test_what_is_context_in_the_rows_of_turns_is_counted_and_said_by_name() -> None:
    untrained = UntrainedReplies("turns")
    untrained.add(trajectory(turns=(*trajectory().turns, trajectory().turns[3]), errors=2))
    assert untrained.figures() == {
        "errors": 1,
        "others": 1,
        "partly": 1,
        "trained_by": ["axolotl", "LLaMA-Factory", "ms-swift", "TRL", "verl"],
    }
    assert untrained.sentences() == [
        "The rows hold 2 replies as context (1 error): train on the last message of a row only. LLaMA-Factory "
        "(mask_history: true), ms-swift (loss_scale: last_round) and TRL (columns prompt and completion) must be told so. "
        "axolotl and verl cannot, and would train them: use --format messages for axolotl and examples/verl_dataset.py for "
        "verl.",
        "1 reply has a weight between 0 and 1, which axolotl, LLaMA-Factory, ms-swift, SkyRL, TRL and verl count as 1: use "
        "step-envs train.",
    ]
    assert UntrainedReplies("turns").sentences() == []


def test_sharegpt_ends_on_a_reply_and_leaves_out_who_never_replied(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    assert export(run, out, "sharegpt") == 3
    rows = json.loads(out.read_bytes())
    assert [row["id"] for row in rows] == ["boil/3", "boil/3#2", "boil/4"]
    first = rows[0]["conversations"]
    assert [part["from"] for part in first] == ["human", "gpt", "human", "gpt", "human", "gpt", "human", "gpt"]
    assert first[-1] == {"from": "gpt", "value": "Action: boil", "loss": 0.5}
    assert all(list(part) == ["from", "value", "loss"] for row in rows for part in row["conversations"])
    assert rows[1]["conversations"][4]["value"] == f"Observation: {STORED}"


def test_sharegpt_says_system_for_a_system_turn() -> None:
    turns = (turn("system", "manual", "instruction"), *trajectory().turns[2:])
    row = sharegpt_row(trajectory(turns=turns), "mine")
    assert row is not None
    assert row["id"] == "mine" and row["conversations"][0] == {"from": "system", "value": "manual", "loss": 0.0}
    assert sharegpt_row(bare()) is None


def test_ids_stay_unique_where_a_task_is_named_like_the_number_of_another(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    export([trajectory(name) for name in ("a", "a#2", "a", "a#2", "a")], out)
    ids = [json.loads(line)["id"] for line in out.read_text().splitlines()]
    assert len(set(ids)) == 5
    assert ids[:3] == ["a", "a#2", "a#3"]


def test_parquet_holds_every_row_whole(run: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    out = tmp_path / "rows.parquet"
    assert export(run, out, "parquet") == 4
    table = pq.read_table(out)
    rows = table.to_pylist()
    assert rows[0] == table_row(trajectory(episode=0))
    assert rows[1] == table_row(bare())
    assert rows[1]["teacher_config"] is None and rows[1]["turns"][0]["verdict"] is None
    assert rows[2]["turns"][3]["verdict"]["reason"] == STORED
    assert rows[2]["turns"][3]["verdict"]["usage"]["requests"] == 1
    assert json.loads(rows[0]["protocol"]) == trajectory().protocol
    assert table.schema.metadata[b"step_envs"] == b"step-export/1"


def test_the_table_has_a_column_for_every_key_and_no_other(run: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    def compare(value: Any, type_: Any) -> None:
        if isinstance(value, dict):
            assert [field.name for field in type_] == list(value)
            for field in type_:
                compare(value[field.name], field.type)
        elif isinstance(value, list):
            for item in value:
                compare(item, type_.value_type)

    out = tmp_path / "rows.parquet"
    export(run, out, "parquet")
    schema = pq.read_schema(out)
    row = table_row(trajectory())
    assert schema.names == list(row)
    assert list(row)[: len(message_row(trajectory()))] == list(message_row(trajectory()))
    for name, value in row.items():
        compare(value, schema.field(name).type)


def test_a_dataset_is_saved_as_it_is_made_in_memory(run: Path, tmp_path: Path) -> None:
    import datasets

    out = tmp_path / "rows"
    assert export(run, out, "datasets") == 4
    saved = datasets.load_from_disk(str(out))
    made = to_dataset(run)
    assert saved.features == made.features
    assert saved.to_list() == made.to_list()
    assert made[0] == table_row(trajectory(episode=0))
    assert made[2]["messages"][3]["content"] == f"Action: {STORED}"
    assert no_rest(tmp_path)


def test_dataset_export_leaves_progress_bars_as_they_were(run: Path, tmp_path: Path) -> None:
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

    enable_progress_bar()
    export(run, tmp_path / "a", "datasets")
    assert is_progress_bar_enabled()
    disable_progress_bar()
    export(run, tmp_path / "b", "datasets")
    assert not is_progress_bar_enabled()
    enable_progress_bar()


@pytest.mark.parametrize("form", FORMS)
def test_same_trajectories_same_bytes(form: str, run: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first" / FILES[form], tmp_path / "second" / FILES[form]
    export(run, first, form)
    export(run, second, form)
    assert files(first) == files(second)
    export(run / "trajectories.jsonl", second, form, overwrite=True)
    assert files(first) == files(second)


@pytest.mark.parametrize("form", FORMS)
def test_an_empty_run_gives_an_empty_export_that_can_be_read(form: str, tmp_path: Path) -> None:
    import datasets
    import pyarrow.parquet as pq

    (tmp_path / "trajectories.jsonl").touch()
    out = tmp_path / FILES[form]
    assert export(tmp_path, out, form) == 0
    if form in ("messages", "turns"):
        assert out.read_bytes() == b""
    elif form == "sharegpt":
        assert json.loads(out.read_bytes()) == []
    elif form == "minari":
        assert json.loads((out / "metadata.json").read_bytes())["total_episodes"] == 0
    else:
        made = pq.read_table(out) if form == "parquet" else datasets.load_from_disk(str(out))
        assert made.column_names == list(table_row(trajectory())) and made.num_rows == 0


@pytest.mark.parametrize("form", FORMS)
def test_a_corrupt_line_leaves_what_was_there(form: str, run: Path, tmp_path: Path) -> None:
    out = tmp_path / FILES[form]
    export(run, out, form)
    before = files(out)
    with (run / "trajectories.jsonl").open("a") as file:
        file.write('{"schema": "step-trajectory/1"}\n')
    with pytest.raises(StoreError, match=r"^Line 5 of .*trajectories\.jsonl is not a trajectory: Field required"):
        export(run, out, form, overwrite=True)
    assert files(out) == before
    assert no_rest(tmp_path)


def test_half_a_line_at_the_end_is_passed_over(run: Path, tmp_path: Path) -> None:
    with (run / "trajectories.jsonl").open("ab") as file:
        file.write(trajectory().to_json().encode()[:100])
    assert export(run, tmp_path / "rows.jsonl") == 3


def test_several_runs_go_into_one_file(run: Path, tmp_path: Path) -> None:
    assert export([run, run / "trajectories.jsonl"], tmp_path / "rows.jsonl") == 6
    ids = [json.loads(line)["id"] for line in (tmp_path / "rows.jsonl").read_bytes().split(b"\n")[:-1]]
    assert len(set(ids)) == 6


def test_only_what_is_to_be_kept(run: Path, tmp_path: Path) -> None:
    assert export(run, tmp_path / "rows.jsonl", keep=lambda one: one.success) == 3
    assert len(to_dataset(run, keep=lambda one: one.task_id == "melt/0")) == 1


def test_nothing_is_overwritten_unasked(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    out.write_text("mine")
    with pytest.raises(StoreError, match=r"rows\.jsonl is already there: name another place"):
        export(run, out)
    assert out.read_text() == "mine"
    export(run, out, overwrite=True)
    assert out.read_text() != "mine"


def test_what_is_no_dataset_is_never_overwritten_by_one(run: Path, tmp_path: Path) -> None:
    before = files(run)
    with pytest.raises(StoreError, match="holds something other than a dataset"):
        export(run, tmp_path, "datasets", overwrite=True)
    with pytest.raises(StoreError, match="is what is to be exported"):
        export(run, run, "datasets", overwrite=True)
    with pytest.raises(StoreError, match="is what is to be exported"):
        export([run], run / "trajectories.jsonl", overwrite=True)
    with pytest.raises(StoreError, match=r"is a folder, and a file is to be written"):
        export(run, tmp_path, overwrite=True)
    assert files(run) == before


def test_a_place_that_cannot_be_written_is_named(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"^Cannot write .*file/rows\.jsonl: "):
        export(run, tmp_path / "file" / "rows.jsonl")


@pytest.mark.parametrize("form", ["parquet", "datasets"])
def test_a_number_beyond_64_bits_is_said(form: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="such as a seed, does not fit into the 64 bits of parquet and datasets"):
        export([trajectory("boil/3", seed=2**70)], tmp_path / "x", form)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"^Cannot read a+: File name too long"):
        export("a" * 300, tmp_path / "x.jsonl")


def test_an_unknown_form_names_the_nearest(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown format 'parket'\. Did you mean 'parquet', "):
        export(run, tmp_path / "rows", "parket")


@pytest.mark.parametrize(
    ("form", "package"), [("parquet", "pyarrow"), ("datasets", "datasets"), ("datasets", "pyarrow")]
)
def test_a_missing_package_is_named_with_the_line_that_brings_it(
    form: str, package: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets  # noqa: F401  (so that blocking pyarrow does not block this one)

    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(
        DependencyNotInstalled, match=rf"needs the package '{package}'.*`pip install \"step-envs\[data\]\"`"
    ):
        export(run, tmp_path / "rows", form)
    assert not (tmp_path / "rows").exists() and no_rest(tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_a_long_store_is_never_held_whole(form: str, tmp_path: Path) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    class Holder(Trajectory):
        def __hash__(self) -> int:
            return id(self)

    def many() -> Iterator[Trajectory]:
        nonlocal most
        fields = {name: getattr(sample, name) for name in Trajectory.model_fields if name != "schema_name"}
        for number in range(episodes):
            one = Holder(**(fields | {"task_id": f"boil/{number}"}))
            alive.add(one)
            most = max(most, len(alive))
            yield one
            del one

    sample = trajectory()
    # Minari makes a folder of every episode, which takes its time.
    episodes = 700 if form == "minari" else 1500
    assert export(many(), tmp_path / FILES[form], form) == episodes * (2 if form == "turns" else 1)
    assert most < 600
