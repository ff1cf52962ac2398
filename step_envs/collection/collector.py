"""The main job: play many episodes and keep their trajectories, whatever happens on the way.

A run is a folder: ``config.json`` (what was asked), ``trajectories.jsonl`` (the product, one line an episode),
``failures.jsonl`` (episodes that gave none, and why; they are played again on resume) and ``summary.json``; where models
are asked, also ``responses.sqlite`` (their answers) and ``bill.jsonl`` (what was paid). Episodes are known by their number,
so that a run that was killed and resumed ends with the same ones as a run that never was, and pays for no answer twice.
"""

import json
import os
import reprlib
import signal
import sys
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from step_envs.collection.config import CollectConfig, EpisodePlan
from step_envs.collection.executors import Engine, Outcome, ThreadEngine
from step_envs.collection.rollouts import RolloutStoppedError
from step_envs.endpoint import EndpointConfig, Gateway
from step_envs.errors import BudgetSpentError, EndpointDownError, EndpointError, StoreError
from step_envs.files import write_whole
from step_envs.store import TrajectoryStore, read_trajectories
from step_envs.trajectory import Trajectory, Usage

if TYPE_CHECKING:
    from step_envs.collection.ray_executor import Cluster

_GIVE_UP_AFTER = 5  # episodes that failed in a row from the start: then it is the set-up that is wrong, not the episode


@dataclass
class Progress:
    """How far a collection is.

    Attributes:
        planned: Episodes asked for.
        kept: Trajectories on disk.
        failed: Episodes of this session that gave none.
        successes: Trajectories that reached the goal.
        errors: Error turns in all trajectories.
        corrections: Correction turns in all trajectories.
        unknown: Unknown verdicts in all trajectories.
        reward: Sum of the rewards.
        stop_reasons: How many episodes ended for which reason.
        by_type: For each task type: episodes, successes, and sum of rewards.
        usage: What the trajectories cost.
        paid: What all requests of the run cost, those of episodes that gave no trajectory included; None where no model
            was asked.
        saved: What answers from the cache would have cost in this session.
    """

    planned: int
    kept: int = 0
    failed: int = 0
    successes: int = 0
    errors: int = 0
    corrections: int = 0
    unknown: int = 0
    reward: float = 0.0
    stop_reasons: Counter[str] = field(default_factory=Counter)
    by_type: dict[str, list[float]] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    paid: Usage | None = None
    saved: Usage = field(default_factory=Usage)

    def add(self, trajectory: Trajectory) -> None:
        """Count a trajectory."""
        self.kept += 1
        self.successes += trajectory.success
        self.errors += trajectory.errors
        self.corrections += sum(turn.kind == "correction" for turn in trajectory.turns)
        self.unknown += trajectory.unknown_verdicts
        self.reward += trajectory.reward
        self.stop_reasons[trajectory.stop_reason] += 1
        of_type = self.by_type.setdefault(trajectory.task_type, [0, 0, 0.0])
        of_type[0] += 1
        of_type[1] += trajectory.success
        of_type[2] += trajectory.reward
        self.usage += trajectory.usage

    def summary(self) -> dict[str, Any]:
        """Give the figures as JSON values; rates are over the kept trajectories."""
        episodes = max(self.kept, 1)
        return {
            "episodes_planned": self.planned,
            "trajectories": self.kept,
            "failures": self.failed,
            "success_rate": self.successes / episodes,
            "average_reward": self.reward / episodes,
            "errors": self.errors,
            "corrections": self.corrections,
            "unknown_verdicts": self.unknown,
            "stop_reasons": dict(sorted(self.stop_reasons.items())),
            "by_task_type": {
                name: {"episodes": int(n), "success_rate": successes / n, "average_reward": reward / n}
                for name, (n, successes, reward) in sorted(self.by_type.items())
            },
            "usage": self.usage.model_dump(),
        } | ({} if self.paid is None else {"paid": self.paid.model_dump(), "saved_by_cache": self.saved.model_dump()})


def collect(
    config: CollectConfig,
    out: Path,
    *,
    resume: bool = False,
    concurrency: int = 1,
    access: EndpointConfig | None = None,
    episode_seconds: float | None = None,
    cluster: "Cluster | None" = None,
    on_start: Callable[[Progress], object] = lambda progress: None,
    on_progress: Callable[[Progress, Trajectory | None], object] = lambda progress, trajectory: None,
) -> Progress:
    """Play the episodes of a configuration and keep their trajectories.

    A spent budget, an endpoint that is down or refuses the key, and a full disk stop the run, for no episode can do without
    them; episodes under way that need no more of them are kept. Ctrl-C lets the episodes under way end and then stops; a
    second one drops them whole, once the answers that are being paid for have come; a third one ends the process, where
    it is no interactive interpreter. In all cases, and after a kill at any moment, ``resume=True`` goes on where the run
    stopped.

    Args:
        config: What to collect.
        out: Folder of the run.
        resume: Go on with a run that is there; without it, a folder that holds a run is refused.
        concurrency: Episodes in flight at once.
        access: How models are asked: budget, prices, cache, rate limit.
        episode_seconds: After which an episode is given up and counts as failed; None means never.
        cluster: The Ray cluster to play on; None plays in threads of this process.
        on_start: Called once nothing stands in the way any more, with the figures of what is there already.
        on_progress: Called after every episode with the figures so far and its trajectory, None for a failure.

    Returns:
        The figures at the end.

    Raises:
        StoreError: The folder holds a run and ``resume`` is not set, or another run than the one asked for, or cannot be
            written to.
        BudgetSpentError: The budget is spent; what was collected is kept.
        EndpointError: A model cannot be asked; what was collected is kept.
        ClusterError: The cluster cannot be used; what was collected is kept.
        KeyboardInterrupt: Ctrl-C, after everything was put in order.
    """
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, got {concurrency}.")
    if episode_seconds is not None and not episode_seconds > 0:
        raise ValueError(f"episode_seconds must be more than 0, got {episode_seconds}.")
    planned = config.episodes_to_play()
    # What cannot be made at all is found out here, once, and not in every thread.
    asks_models = config.asks_models()
    config.make_env().close()
    # The lock on the store comes first: of two that start at once in one folder, only one may say what it holds.
    with TrajectoryStore(out / "trajectories.jsonl") as store:
        _claim(config, out, resume)
        progress = Progress(planned=len(planned))
        tasks = {plan.episode: plan.task_id for plan in planned}
        done: set[int | None] = set()
        for number, trajectory in enumerate(read_trajectories(out), 1):
            if trajectory.episode in done or tasks.get(trajectory.episode or 0) != trajectory.task_id:
                raise StoreError(
                    f"Line {number} of {store.path} is episode {trajectory.episode} of {trajectory.task_id!r}, which is "
                    "there already or belongs to another run: take the line out, or name another folder."
                )
            progress.add(trajectory)
            done.add(trajectory.episode)
        gateway = (access or EndpointConfig()).open(out) if asks_models else None
        run = _Run(out, store, progress, on_progress, gateway)
        try:
            with _make_engine(config, gateway, concurrency, episode_seconds, cluster) as engine:
                on_start(progress)
                run.play([plan for plan in planned if plan.episode not in done], engine)
        finally:
            run.count_costs()
            if gateway is not None:
                gateway.close()
            write_whole(out / "summary.json", json.dumps(progress.summary(), indent=2) + "\n")
    return progress


def _make_engine(
    config: CollectConfig,
    gateway: Gateway | None,
    concurrency: int,
    episode_seconds: float | None,
    cluster: "Cluster | None",
) -> Engine:
    if cluster is None:
        return ThreadEngine(config, gateway, concurrency=concurrency, episode_seconds=episode_seconds)
    from step_envs.collection.ray_executor import RayEngine

    return RayEngine(config, gateway, cluster, concurrency=concurrency, episode_seconds=episode_seconds)


def _claim(config: CollectConfig, out: Path, resume: bool) -> None:
    file = out / "config.json"
    if not file.exists():
        if (out / "trajectories.jsonl").stat().st_size:
            raise StoreError(f"{out} holds trajectories without a config.json: name another folder.")
        config.write(file)
        return
    if not resume:
        raise StoreError(f"{out} already holds a run: add --resume to go on with it, or name another folder.")
    saved = CollectConfig.read(file).model_dump()
    for name, value in config.model_dump().items():
        if saved[name] != value:
            raise StoreError(
                f"The run in {out} was started with {name}={reprlib.repr(saved[name])}, not {reprlib.repr(value)}: "
                "resume it with the options it was started with, or name another folder."
            )


class _Run:
    """The episodes of one session of a run: what is kept, what has failed, and when to stop."""

    def __init__(
        self,
        out: Path,
        store: TrajectoryStore,
        progress: Progress,
        on_progress: Callable[[Progress, Trajectory | None], object],
        gateway: Gateway | None,
    ) -> None:
        self._gateway = gateway
        self._failures = out / "failures.jsonl"
        self._store = store
        self._progress = progress
        self._on_progress = on_progress
        self._failed_in_a_row = 0
        self._stopped_by: Exception | None = None

    def play(self, episodes: list[EpisodePlan], engine: Engine) -> None:
        waiting = deque(episodes)
        with _Interrupts() as interrupts:
            while True:
                stopping = interrupts.count > 0 or self._stopped_by is not None
                while not stopping and waiting and engine.room > 0:
                    engine.start(waiting.popleft())
                if not engine.in_flight and (stopping or not waiting):
                    break
                if interrupts.count > 1 or self._stopped_by is not None:
                    engine.drop()
                self._look_out()
                for plan, outcome in engine.finished(0.5):
                    self._keep(plan, outcome)
        if self._stopped_by is not None:
            raise self._stopped_by
        if interrupts.count:
            raise KeyboardInterrupt

    def _keep(self, plan: EpisodePlan, outcome: Outcome) -> None:
        if isinstance(outcome, Exception):
            self._note(plan, outcome)
            return
        if outcome.stop_reason == "unknown_verdict":
            self._fail(plan, "The teacher gave no usable verdict.", outcome.to_json())
            return
        if self._look_out() and outcome.unknown_verdicts:
            self._fail(plan, "The endpoint of the teacher went down.", outcome.to_json())
            return
        self._failed_in_a_row = 0
        self._store.append(outcome)
        self._progress.add(outcome)
        self.count_costs()
        self._on_progress(self._progress, outcome)

    def _note(self, plan: EpisodePlan, error: Exception) -> None:
        if isinstance(error, RolloutStoppedError):
            return
        if isinstance(error, (BudgetSpentError, EndpointError, StoreError)) and not isinstance(
            error, EndpointDownError
        ):
            # No other episode would fare better.
            self._stopped_by = self._stopped_by or error
            return
        detail = "".join(traceback.format_exception(error))
        if isinstance(error, EndpointDownError):
            self._fail(plan, str(error), detail)
            self._look_out()
            return
        # Whatever goes wrong in one episode is written down and costs that episode alone, not the days before it.
        self._fail(plan, f"{type(error).__name__}: {error}", detail)
        self._failed_in_a_row += 1
        if self._progress.kept == 0 and self._failed_in_a_row >= _GIVE_UP_AFTER:
            raise error

    def _look_out(self) -> bool:
        """Stop the run where an endpoint is down; say whether it is."""
        down = None if self._gateway is None else self._gateway.down()
        if down is not None and self._stopped_by is None:
            self._stopped_by = EndpointDownError(down)
        return down is not None

    def count_costs(self) -> None:
        """Bring the figures of what was paid up to date."""
        if self._gateway is not None:
            self._progress.paid, self._progress.saved = self._gateway.ledger.total, self._gateway.ledger.saved

    def _fail(self, plan: EpisodePlan, reason: str, detail: str) -> None:
        record = plan._asdict() | {"reason": reason, "detail": detail}
        with TrajectoryStore(self._failures) as failures:
            failures.append_line(json.dumps(record))
        self._progress.failed += 1
        self.count_costs()
        self._on_progress(self._progress, None)


_SHOW_CURSOR = "\x1b[?25h"


class _Interrupts:
    """Counts Ctrl-C (and the termination signal) instead of letting it strike in the middle of a write; the third ends all.

    Outside the main thread, where Python delivers no signals, it counts nothing.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> "_Interrupts":
        self._previous: list[Any] = []
        if threading.current_thread() is threading.main_thread():
            self._previous = [signal.signal(number, self._note) for number in self._SIGNALS]
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in zip(self._SIGNALS, self._previous, strict=False):
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        # An endpoint that hangs would be waited for, time-out by time-out, and what is on disk is whole at any moment; but
        # an interactive interpreter is not ours to end.
        if self.count > 2 and not hasattr(sys, "ps1"):
            if sys.stdout.isatty():
                sys.stdout.write(_SHOW_CURSOR)
                sys.stdout.flush()
            os._exit(128 + number)
