"""What the card of a data set says about a run: counted in one pass, in which the data is also checked for keys.

The pass reads every line as the loader will. So a file that cannot be loaded back, or that holds a key, is found before
the first byte leaves this machine.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from step_envs.confidential import find_key, find_secret
from step_envs.errors import StoreError, first_fault
from step_envs.file_reading import model_from_json, parse_json, read_json
from step_envs.store import read_lines
from step_envs.training.filters import broken_rule
from step_envs.trajectory import Actor, Trajectory

SETTINGS = ("config.json", "evaluation.json")
"""Files with the settings of a run."""
PUSHED = (*SETTINGS, "summary.json", "recovery.json", "failures.jsonl")
"""Files of a run folder that are pushed beside the trajectories."""


@dataclass
class RunFacts:
    """Counts and settings of one run.

    Attributes:
        episodes: Task split -> number of trajectories.
        turns: Kind of turn -> number of turns.
        trained: Kind of turn -> number of turns with a loss above 0.
        filtered: Rule of the paper's filter -> trajectories that it drops; None counts those that it keeps.
        successes: Trajectories that succeeded.
        errors: Error turns.
        unknown: Verdicts that are unknown.
        score: Sum of the final scores.
        env_ids: Environments.
        agents: Agents, as JSON.
        teachers: Teachers, as JSON.
        valued_by: Value functions, as JSON.
        versions: Package -> versions that occur.
        failures: Episodes without a trajectory.
        config: Content of ``config.json``; empty where there is none.
    """

    episodes: Counter[str] = field(default_factory=Counter)
    turns: Counter[str] = field(default_factory=Counter)
    trained: Counter[str] = field(default_factory=Counter)
    filtered: Counter[str | None] = field(default_factory=Counter)
    successes: int = 0
    errors: int = 0
    unknown: int = 0
    score: float = 0.0
    env_ids: set[str] = field(default_factory=set)
    agents: set[str] = field(default_factory=set)
    teachers: set[str] = field(default_factory=set)
    valued_by: set[str] = field(default_factory=set)
    versions: dict[str, set[str]] = field(default_factory=dict)
    failures: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)

    def add(self, trajectory: Trajectory) -> None:
        """Count a trajectory."""
        self.episodes[trajectory.split] += 1
        for turn in trajectory.turns:
            self.turns[turn.kind] += 1
            self.trained[turn.kind] += turn.loss > 0
        self.filtered[broken_rule(trajectory)] += 1
        self.successes += trajectory.success
        self.errors += trajectory.errors
        self.unknown += trajectory.unknown_verdicts
        self.score += trajectory.score
        self.env_ids.add(trajectory.env_id)
        actors = (
            (self.agents, trajectory.agent),
            (self.teachers, trajectory.teacher),
            (self.valued_by, trajectory.valued_by),
        )
        for known, actor in actors:
            known.add("none" if actor is None else _describe(actor))
        for name, version in trajectory.versions.items():
            self.versions.setdefault(name, set()).add(version)


def _describe(actor: Actor) -> str:
    return json.dumps(actor.model_dump(exclude_none=True), sort_keys=True, ensure_ascii=False)


def copy_trajectories(source: Path, target: Path) -> RunFacts:
    """Copy the whole lines of a store, check each of them, and count.

    Args:
        source: The file with the trajectories.
        target: The file to write. It differs from the source only by what a killed writer left: half a line, empty lines.

    Raises:
        StoreError: A line is no trajectory, or holds a key, or there is no trajectory at all.
    """
    facts = RunFacts()
    with target.open("wb") as file:
        for number, line in read_lines(source):
            where = f"Line {number} of {source}"
            try:
                trajectory = model_from_json(Trajectory, line)
            except ValidationError as error:
                raise StoreError(f"{where} is not a trajectory: {first_fault(error)}.") from error
            except (ValueError, RecursionError) as error:
                raise StoreError(f"{where} is not a trajectory: {error}.") from error
            content = json.loads(line)
            actors = {name: content.get(name) for name in ("agent", "teacher", "valued_by", "protocol")}
            _refuse_key(find_secret(actors) or find_key(content), where)
            facts.add(trajectory)
            file.write(line.rstrip(b"\r\n") + b"\n")
    if not facts.episodes:
        raise StoreError(f"{source} holds no trajectory: there is nothing to push.")
    return facts


def check_settings(path: Path) -> Any:
    """Read a file of settings or results, and refuse one that holds a secret.

    Raises:
        StoreError: It cannot be read, or holds a secret.
    """
    if path.suffix == ".jsonl":
        lines = [parse_json(line, str(path)) for _, line in read_lines(path)]
        for number, line in enumerate(lines, 1):
            _refuse_key(find_key(line), f"Line {number} of {path}")
        return lines
    content = read_json(path)
    _refuse_key(find_secret(content) if path.name in SETTINGS else find_key(content), str(path))
    return content


def _refuse_key(place: str | None, where: str) -> None:
    if place is not None:
        raise StoreError(
            f"{where} holds what looks like a secret (at {place}), and nothing was pushed: take it out first."
        )
