"""``step-envs tasks``: list the tasks of an environment."""

import json
from typing import Annotated

import typer

from step_envs.cli.options import AsJson, Env, Split, TaskTypes


def tasks(
    env: Env = "STeP-SciWorld-v0",
    split: Split = None,
    task_type: TaskTypes = None,
    counts: Annotated[bool, typer.Option("--counts", help="Count tasks by type and split instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the tasks of an environment, one id per line, in their fixed order.

    An id is what `step-envs play --task ID` and reset(options={"task_id": ID}) take.

    Exit codes: 0 done, 2 wrong input.

    Example: step-envs tasks --split dev --task-type boil
    """
    if counts:
        _counts(env, split, task_type, as_json)
        return
    from step_envs.cli.inputs import world

    cls = world(env)
    split = cls.default_split if split is None else split
    ids = cls.task_set().select(split, task_type)
    if as_json:
        typer.echo(json.dumps({"env_id": env, "split": split, "tasks": ids}))
    else:
        typer.echo("\n".join(ids))


def _counts(env: str, split: str | None, task_types: list[str] | None, as_json: bool) -> None:
    from collections import Counter

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from step_envs.cli.inputs import world
    from step_envs.cli.render import print_unclipped, visible
    from step_envs.errors import unknown_name

    task_set = world(env).task_set()
    for name in task_types or ():
        if name not in task_set.types:
            raise unknown_name("task type", name, task_set.types)
    if split is not None and split not in task_set.splits:
        raise unknown_name("split", split, task_set.splits)
    splits = task_set.splits if split is None else (split,)
    types = task_types or task_set.types
    by_split = {name: Counter(map(task_set.type_of, task_set.ids(name))) for name in splits}
    if as_json:
        rows = {name: {part: by_split[part][name] for part in splits} for name in types}
        typer.echo(json.dumps({"env_id": env, "counts": rows}))
        return
    table = Table(title=Text(f"Tasks of {visible(env)}"), box=None, pad_edge=False, show_footer=True)
    table.add_column("Type", footer="All", overflow="ellipsis")
    for part in splits:
        total = sum(by_split[part][name] for name in types)
        # Break long names at the underscore, so that the table fits into 80 columns.
        table.add_column(Text(visible(part).replace("_", "_\n")), footer=str(total), justify="right", no_wrap=True)
    for name in types:
        table.add_row(Text(visible(name)), *(str(by_split[part][name] or "-") for part in splits))
    print_unclipped(Console(emoji=False), table, least=80)
