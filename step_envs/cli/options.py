"""Options that several verbs share, so that an option means the same and is explained in the same words everywhere.

Each is a type alias: a verb writes ``env: Env = "STeP-SciWorld-v0"`` and gets the option with its help. Defaults stay
with the verbs, where a reader of the signature looks for them.
"""

from pathlib import Path
from typing import Annotated

import typer

from step_envs.cli.completion import env_ids

Env = Annotated[str, typer.Option(help="Environment id.", autocompletion=env_ids)]
Split = Annotated[str | None, typer.Option(help="Split to play; the environment's default if not given.")]
TaskTypes = Annotated[list[str] | None, typer.Option(help="Only tasks of this type; repeatable.")]
TaskFile = Annotated[
    Path | None, typer.Option(help="File with the ids of the tasks to play, one per line; replaces --split.")
]
EnvOptions = Annotated[
    list[str] | None, typer.Option(help="Another option of the environment, as name=value; repeatable.")
]
Style = Annotated[
    str, typer.Option(help="Where the world's manual goes: eto (first user turn), system, or plain (nowhere).")
]
ReplyFormat = Annotated[
    str,
    typer.Option(
        help="How replies name their action: react (Thought: ... Action: ...), action-tags (<think>...</think>"
        "<action>...</action>), or tool-calls."
    ),
]
Tolerant = Annotated[
    bool,
    typer.Option("--tolerant", help="Also take actions in variants of the form, such as **Action:** or ACTION:."),
]
ThinkActions = Annotated[
    bool,
    typer.Option("--think-actions", help='Answer actions "think: ..." and "think[...]" with "OK.", at no step.'),
]
Concurrency = Annotated[
    int, typer.Option(min=1, help="Episodes played at once; a local checkpoint answers them as one batch.")
]
Seed = Annotated[int, typer.Option(min=0, help="Decides the tasks, their order, and everything random.")]

Budget = Annotated[
    str | None,
    typer.Option(help="The most that the run may spend, in all its sessions: 5 (dollars) or 2000000tokens."),
]
Prices = Annotated[
    Path | None,
    typer.Option(help='JSON file, dollars per million tokens: {"NAME": {"input": 0.5, "output": 1.5}}.'),
]
Cache = Annotated[
    Path | None, typer.Option(help="Response cache that several runs can share; OUT/responses.sqlite if not given.")
]
RequestsPerMinute = Annotated[float | None, typer.Option(help="The most requests to one endpoint in a minute.")]
EpisodeSeconds = Annotated[
    float | None, typer.Option(help="Give up an episode after this time; it is played again on resume.")
]

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        help="TOML or JSON file with settings, e.g. config.json of a run or evaluation.json of an evaluation. Its keys are "
        "the option names, with _ for -; options of the environment and task_types go into the table env_options. Options "
        "typed here win over the file."
    ),
]
PrintConfig = Annotated[
    bool,
    typer.Option(
        "--print-config", help="Only print all settings, as a TOML file for --config; a default that is typed is in it."
    ),
]
MaxErrors = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="The most errors that --outcome kept allows and dropped does not; the paper's if not given: 1 in WebShop, "
        "2 elsewhere.",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in OUT.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
