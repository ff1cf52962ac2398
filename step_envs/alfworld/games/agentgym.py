"""AgentGym's lists of ALFWorld tasks, as splits that can be played: ``agentgym_train`` and ``agentgym_test``.

AgentGym (Xi et al., 2024) numbers its ALFWorld items 0 to 2,619 and publishes results on the last 200. Its test items are
exactly the games of ``valid_train``, its train items are games of ``train``. 239 of those are marked as unsolvable and are
in no complete release. Only the names of the games are here, not the games.
"""

import json
from functools import cache
from importlib.resources import files

AGENTGYM_SPLITS = {"agentgym_train": "train", "agentgym_test": "valid_train"}
"""Split -> the official split that its games belong to."""


@cache
def agentgym_games(split: str) -> tuple[str, ...]:
    """List the games of a split in AgentGym's order.

    Args:
        split: ``"agentgym_train"`` or ``"agentgym_test"``.

    Returns:
        Names ``<official split>/<task folder>/<trial folder>``, those that no release has included.
    """
    lists = json.loads(files("step_envs.alfworld").joinpath("data/agentgym.json").read_text(encoding="utf-8"))
    home = AGENTGYM_SPLITS[split]
    rows = lists[split.removeprefix("agentgym_")]
    return tuple(f"{home}/{folder}/trial_{trial}" for folder, *trials in rows for trial in trials)
