"""The card of a data set: what it holds, how it was made, which turns are trained, and what was left out."""

from collections.abc import Mapping, Sequence
from typing import Any

from step_envs.collection.run_settings import RunSettings
from step_envs.confidential import without_secrets
from step_envs.hub.cards import code, json_block, make_card, table
from step_envs.hub.run_facts import RunFacts

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_MOST_VERSIONS = 3
_KINDS = {
    "instruction": "the manual and the task",
    "observation": "what the world answered",
    "agent": "a reply of the agent",
    "error": "a reply that the teacher judged wrong: it stays in the context, without loss",
    "correction": "the teacher's reply after an error",
    "expert": "a reply of the oracle or another expert",
}


def make_dataset_card(
    name: str, facts: RunFacts, files: Mapping[str, Any], left_out: Sequence[str], license: str | None
) -> str:
    """Write the card of a run.

    Args:
        name: Name of the repository.
        facts: What the run holds.
        files: The metadata of the tables: ``dataset_info`` and ``configs``.
        left_out: What of the run folder is not in the repository, one phrase each.
        license: The licence that the user named; None leaves the field away.

    Returns:
        The text of README.md.
    """
    total = facts.episodes.total()
    metadata = {
        **files,
        "pretty_name": name.partition("/")[2],
        "size_categories": [next((word for most, word in _SIZES if total < most), "n>1M")],
        "tags": ["step-envs", "agent", "trajectories", "self-correction", "text-games"],
        "task_categories": ["text-generation"],
    }
    if license is not None:
        metadata["license"] = license
    return make_card(metadata, "\n\n".join(_sections(name, facts, left_out)))


def _sections(name: str, facts: RunFacts, left_out: Sequence[str]) -> list[str]:
    total = facts.episodes.total()
    worlds = ", ".join(map(code, sorted(facts.env_ids)))
    return [
        f"# {name.partition('/')[2]}",
        f"{total:,} episodes of a language agent in {worlds}, recorded by step-envs. Every message has a weight in the "
        "training loss: wrong steps stay in the context without loss, and the corrections after them are trained "
        "(STeP, [arXiv 2505.20023](https://arxiv.org/abs/2505.20023)).",
        "## Use it",
        f'```python\nimport datasets\n\nrows = datasets.load_dataset("{name}")\n```',
        "`messages` holds `role`, `content` and `loss` of every turn; `turns` holds kind, action, reward, score and the "
        "teacher's verdict. The folder `run` holds the run itself, which this command copies back byte for byte:",
        f"```sh\nstep-envs load {name} --out runs/{name.partition('/')[2]}\n```",
        "## What it holds",
        table(("split", "episodes"), sorted(facts.episodes.items())),
        f"{facts.successes:,} of {total:,} episodes succeeded; the mean final score is {facts.score / total:.3f}. "
        f"There are {facts.errors:,} wrong steps that a teacher corrected, and {facts.unknown:,} steps without a verdict.",
        "## Which turns are trained",
        table(
            ("kind", "what it is", "turns", "of them with a loss"),
            [(kind, _KINDS[kind], facts.turns[kind], facts.trained[kind]) for kind in _KINDS if facts.turns[kind]],
        ),
        "## Filter",
        _filter(facts),
        "## How it was made",
        *_making(facts),
        "## What was left out",
        "\n".join(f"- {phrase}" for phrase in [_failures(facts), *left_out]),
    ]


def _filter(facts: RunFacts) -> str:
    kept, total = facts.filtered[None], facts.episodes.total()
    dropped = {rule: count for rule, count in facts.filtered.items() if rule is not None}
    said = f"Nothing was filtered out. The paper's filter would keep {kept:,} of {total:,} episodes"
    if not dropped:
        return f"{said}."
    reasons = "; ".join(f"{count:,}: {rule}" for rule, count in sorted(dropped.items()))
    return f"{said} and drop {total - kept:,} ({reasons}). `step-envs train` applies it."


def _making(facts: RunFacts) -> list[str]:
    actors = (("agent", facts.agents), ("teacher", facts.teachers), ("values", facts.valued_by - {"none"}))
    rows = [("environment", ", ".join(map(code, sorted(facts.env_ids))))]
    rows += [(role, code(one)) for role, known in actors for one in sorted(known)]
    for package, found in sorted(facts.versions.items()):
        # A digest of the game differs with every episode; each is in its own record.
        many = f"{len(found):,} different ones, each in the record of its episode"
        rows.append((package, ", ".join(map(code, sorted(found))) if len(found) <= _MOST_VERSIONS else many))
    parts = [table(("what", "with what"), rows)]
    if facts.config:
        parts.append(
            "`step-envs collect --config run/config.json --out runs/again` makes it again, with these settings:"
        )
        settings = {name: value for name, value in facts.config.items() if name not in RunSettings.model_fields}
        parts.append(json_block(without_secrets(settings)))
    return parts


def _failures(facts: RunFacts) -> str:
    if not facts.failures:
        return "no episode: every one that was played is here"
    return f"{facts.failures:,} attempts that ended without a trajectory (see run/failures.jsonl)"
