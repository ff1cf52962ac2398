"""``step-envs tasks``."""

import json
import re

from cli_calls import call, process

from step_envs import list_tasks


def test_tasks_lists_what_the_library_lists() -> None:
    assert tuple(call("tasks").output.splitlines()) == list_tasks("STeP-SciWorld-v0")
    chosen = call("tasks", "--split", "dev", "--task-type", "boil", "--task-type", "melt", "--json")
    assert json.loads(chosen.output) == {
        "env_id": "STeP-SciWorld-v0",
        "split": "dev",
        "tasks": list(list_tasks("STeP-SciWorld-v0", split="dev", task_types=["boil", "melt"])),
    }


def test_task_counts_add_up() -> None:
    counts = json.loads(call("tasks", "--counts", "--json").output)["counts"]
    assert counts["boil"] == {
        "train": 14, "dev": 7, "test": 9, "eto_train": 14, "eto_dev": 6, "eto_test": 9, "eto_train_published": 14,
    }  # fmt: skip
    assert sum(row["dev"] for row in counts.values()) == len(list_tasks("STeP-SciWorld-v0", split="dev"))
    table = call("tasks", "--counts", "--split", "dev", "--task-type", "boil").output
    assert re.search(r"^boil +7$", table, re.MULTILINE) and re.search(r"^All +7$", table, re.MULTILINE)


def test_a_narrow_terminal_does_not_lose_the_names() -> None:
    text = process("tasks", "--counts", COLUMNS="30").stdout
    assert "chemistry-mix" in text and "eto_" in text
