"""Estimate what a collection would cost, from ten of its episodes that are really played.

Prices and token counts alone do not tell: how many steps an episode takes, and how much a model writes, is only known by
playing. The answers are kept in the run's cache, so that the sample is not paid a second time.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from step_envs.collection.collector import check_folder
from step_envs.collection.config import CollectConfig, EpisodePlan
from step_envs.collection.rollouts import rollout
from step_envs.errors import EndpointError
from step_envs.trajectory import Trajectory, Usage

_BILL = "bill.jsonl"
_FILES_OF_MODELS = ("responses.sqlite", _BILL)
"""Beginnings of the names of the files that asking models leaves in a folder."""

COSTS_NOTHING = "Neither agent nor teacher is a model behind an endpoint: this run costs nothing."
"""Said of a collection that asks no model."""

SAMPLED = 10
"""Number of episodes that are played for an estimate."""


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of a collection, from a sample of its episodes.

    Attributes:
        episodes: Episodes of the collection.
        sampled: Episodes that were played.
        successes: How many of them reached the goal.
        unknown_verdicts: Steps of them without a verdict.
        requests: Requests that the collection would make.
        prompt_tokens: Tokens it would read.
        completion_tokens: Tokens it would write.
        cost: Its price in US dollars; None if prices are not known.
        seconds: Wall time at the concurrency of the collection. Only a rough figure: the sample may be too small to
            load the endpoint as the collection will.
        paid: What the sample itself cost, in dollars.
        kept: The answers of the sample are kept, so that the collection need not pay for them.
    """

    episodes: int
    sampled: int
    successes: int
    unknown_verdicts: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    seconds: float
    paid: float | None
    kept: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return asdict(self)


def estimate(config: CollectConfig, out: Path, **changes: Any) -> Estimate:
    """Play a sample of the episodes of a collection, spread evenly over it, and estimate what all would cost.

    The sample asks models through the run's own response cache, and keeps no trajectory. Into a folder that holds something
    else, nothing is written.

    Args:
        config: The collection.
        out: Its folder.
        **changes: Fields of the configuration to replace; see ``collect``.

    Raises:
        ValueError: No model is asked, so the collection costs nothing; or a change does not fit.
        StoreError: The folder holds a run that this one could not go on with.
        EndpointError: A model cannot be asked.
        BudgetSpentError: The budget does not cover the sample.
    """
    config = config.with_changes(**changes)
    if not config.asks_models():
        raise ValueError(COSTS_NOTHING)
    planned = config.episodes_to_play()
    count = min(SAMPLED, len(planned))
    chosen = [planned[i * len(planned) // count] for i in range(count)]
    check_folder(config, out, resume=True)
    kept = _is_ours(out)
    elsewhere = nullcontext(str(out)) if kept else TemporaryDirectory()
    was_there, had_files = out.exists(), any((out / name).exists() for name in _FILES_OF_MODELS)
    with elsewhere as folder:
        try:
            return _estimate(config, Path(folder), planned, chosen, kept=kept)
        except EndpointError:
            if kept and not had_files and not (out / _BILL).stat().st_size:
                # Nobody answered, so there is nothing to keep.
                for file in out.iterdir():
                    if file.name.startswith(_FILES_OF_MODELS):
                        file.unlink()
                if not was_there:
                    out.rmdir()
            raise


def _is_ours(out: Path) -> bool:
    """Return True for the folder of a run, one that is empty or not there, and one that only estimates wrote into."""
    if (out / "config.json").exists() or not out.exists():
        return True
    return out.is_dir() and all(file.name.startswith(_FILES_OF_MODELS) for file in out.iterdir())


def _estimate(
    config: CollectConfig, folder: Path, planned: list[EpisodePlan], chosen: list[EpisodePlan], *, kept: bool
) -> Estimate:
    gateway = config.endpoint_config().open(folder)
    before, count = gateway.ledger.total, len(chosen)

    def stopped() -> bool:
        gateway.require_up()
        return False

    def play(plan: EpisodePlan) -> tuple[Trajectory, float]:
        started = perf_counter()
        env = config.make_env(gateway)
        try:
            agent = config.make_agent(gateway)
            trajectory = rollout(
                env, agent, seed=plan.seed, task_id=plan.task_id, episode=plan.episode, stopped=stopped
            )
        finally:
            env.close()
        return trajectory, perf_counter() - started

    try:
        with ThreadPoolExecutor(min(count, config.concurrency)) as pool:
            played = list(pool.map(play, chosen))
        gateway.require_up()
    finally:
        gateway.close()
    total, saved = gateway.ledger.total, gateway.ledger.saved
    scale = len(planned) / count
    paid = None if total.cost is None else total.cost - (before.cost or 0.0)
    known = [cost for cost in (paid, saved.cost) if cost is not None]
    asked = sum((trajectory.usage for trajectory, _ in played), Usage())
    return Estimate(
        episodes=len(planned),
        sampled=count,
        successes=sum(trajectory.success for trajectory, _ in played),
        unknown_verdicts=sum(trajectory.unknown_verdicts for trajectory, _ in played),
        requests=round((asked.requests + asked.cached) * scale),
        prompt_tokens=round((total.prompt_tokens - before.prompt_tokens + saved.prompt_tokens) * scale),
        completion_tokens=round((total.completion_tokens - before.completion_tokens + saved.completion_tokens) * scale),
        cost=sum(known) * scale if known else None,
        seconds=sum(seconds for _, seconds in played) * scale / config.concurrency,
        paid=paid,
        kept=kept or (config.cache is not None and config.keep_answers),
    )
