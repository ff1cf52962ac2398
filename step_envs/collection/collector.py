"""The main job: play many episodes and keep their trajectories, whatever happens on the way.

A run is a folder: ``config.json`` (its settings), ``trajectories.jsonl`` (the product, one line per episode),
``failures.jsonl`` (episodes without a trajectory, and why; they are played again on resume) and ``summary.json``. Where
models are asked, it also has ``responses.sqlite`` (their answers) and ``bill.jsonl`` (what was paid).

Episodes are planned and numbered before the first is played. A count of finished episodes would not be enough: after a kill
with many episodes in flight, nobody could tell which ones are missing. With numbers, a run that was killed and resumed ends
with the same episodes as a run that never was, and pays for no answer twice.
"""

import json
import os
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from step_envs.collection.config import MEANING, CollectConfig, EpisodePlan
from step_envs.collection.executors import EpisodeExecutor, EpisodeResult, ThreadExecutor
from step_envs.collection.failures import FAILURES, FailedEpisode
from step_envs.collection.interrupts import InterruptCounter
from step_envs.collection.progress import Progress, verdicts_given
from step_envs.collection.rollouts import RolloutStoppedError
from step_envs.collection.run_settings import RunSettings
from step_envs.confidential import masked
from step_envs.endpoint import Gateway
from step_envs.endpoint.servers import ONE_REQUEST
from step_envs.errors import (
    BudgetSpentError,
    EndpointDownError,
    EndpointError,
    RequestRefusedError,
    StoreError,
    quoted,
)
from step_envs.outcomes import read_outcomes
from step_envs.run_folder import RunFolder, write_json
from step_envs.store import TrajectoryStore
from step_envs.trajectory import Trajectory
from step_envs.worker_processes import processors

_GIVE_UP_AFTER = 5
"""If this many episodes fail in a row and none has succeeded, the set-up is wrong and not the episode."""
_WORTH_PROCESSES = 100
"""Episodes that make up for the second that worker processes take to start, if the engine is chosen by itself."""
_CONFLICT = (
    "The run in {folder} was started with {field}={saved}, not {asked}: resume it with the options it was started with, "
    "or name another folder."
)


_MAY_DIFFER = frozenset(RunSettings.model_fields) | {"episodes"}
"""Fields that a resumed run may be given anew: how it is carried out, and how many episodes more it has."""


def collect(
    config: CollectConfig,
    out: str | os.PathLike[str],
    *,
    resume: bool = False,
    on_start: Callable[[Progress], object] = lambda progress: None,
    on_progress: Callable[[Progress, Trajectory | None], object] = lambda progress, trajectory: None,
    **changes: Any,
) -> Progress:
    """Play the episodes of a configuration and keep their trajectories.

    A spent budget, an endpoint that is down or refuses the key, and a full disk stop the run, because no other episode
    could do without them; episodes in flight that no longer need them are still kept. The first Ctrl-C lets the
    episodes in flight end and then stops. The second drops them, after the answers that are being paid for have
    arrived. The third ends the process at once (but never an interactive interpreter). After any of these, and after a
    kill at any moment, ``resume=True`` continues the run.

    Args:
        config: What to collect, and how.
        out: Folder of the run.
        resume: Continue the run in the folder; if False, a folder that holds a run is refused. A run is made longer by
            asking for more episodes: those it has are the first of the longer run.
        on_start: Called once everything is ready to play, with the figures of what is in the folder already.
        on_progress: Called after every episode with the figures so far and its trajectory; None for a failed episode.
        **changes: Fields of the configuration to replace, e.g. ``concurrency=8``. ``access=EndpointConfig(...)`` and
            ``cluster=Cluster(...)`` replace all fields of the endpoint and of Ray at once.

    Returns:
        The figures at the end.

    Raises:
        ValueError: A change does not fit the configuration.
        StoreError: The folder holds a run and ``resume`` is False, or a run with other settings or more episodes, or
            cannot be written to. Nothing in it was changed.
        BudgetSpentError: The budget is spent; what was collected is kept.
        EndpointError: A model cannot be asked; what was collected is kept.
        ClusterError: The cluster cannot be used; what was collected is kept.
        KeyboardInterrupt: Ctrl-C was pressed; everything in the folder is whole.
    """
    out, config = Path(out), config.with_changes(**changes)
    planned = config.episodes_to_play()
    # Make everything once here: what cannot be made must fail before the folder is claimed, and not in every thread.
    asks_models = config.asks_models()
    config.make_env().close()
    check_folder(config, out, resume=resume)
    # The lock on the store comes first: if two processes start at once in one folder, only one may look at its content.
    with TrajectoryStore(out / "trajectories.jsonl") as store:
        _claim_folder(config, out, resume=resume)
        store.repair()
        progress = Progress(planned=len(planned))
        done = _count_kept(store, out, planned, progress)
        gateway = config.endpoint_config().open(out) if asks_models else None
        session = _CollectionSession(out, store, progress, on_progress, gateway)
        try:
            remaining = deque(plan for plan in planned if plan.episode not in done)
            if not remaining:
                on_start(progress)
                return progress
            with _make_executor(config, gateway, len(remaining)) as executor:
                on_start(progress)
                session.play(remaining, executor)
        finally:
            session.update_costs()
            if gateway is not None:
                gateway.close()
            write_json(out / "summary.json", progress.summary())
    return progress


def check_folder(config: CollectConfig, out: Path, *, resume: bool) -> CollectConfig | None:
    """Check that a collection could begin in a folder, or go on there, and write nothing.

    Args:
        config: The collection.
        out: The folder.
        resume: Go on with a run that is there.

    Returns:
        The configuration that the run in the folder was started with; None where there is none.

    Raises:
        StoreError: It could not; see ``collect``.
    """
    saved = _folder(out).check(config, resume=resume, meaning=MEANING, may_differ=_MAY_DIFFER)
    if saved is not None and saved.episodes > config.episodes:
        raise StoreError(
            f"The run in {out} was started with episodes={saved.episodes}, not {config.episodes}, and can only be made "
            f"longer: ask for {saved.episodes} or more episodes, or name another folder."
        )
    return saved


def _claim_folder(config: CollectConfig, out: Path, *, resume: bool) -> None:
    saved = check_folder(config, out, resume=resume)
    if saved != config:
        config.write(_folder(out).record)


def _folder(out: Path) -> RunFolder:
    return RunFolder(out, noun="a run", product="trajectories.jsonl", conflict=_CONFLICT)


def _count_kept(store: TrajectoryStore, out: Path, planned: list[EpisodePlan], progress: Progress) -> set[int | None]:
    """Add the trajectories on disk to the figures and return the numbers of their episodes."""
    tasks = {plan.episode: plan.task_id for plan in planned}
    done: set[int | None] = set()
    for number, trajectory in enumerate(read_outcomes(out), 1):
        if trajectory.episode in done or tasks.get(trajectory.episode or 0) != trajectory.task_id:
            raise StoreError(
                f"Line {number} of {store.path} is episode {trajectory.episode} of {quoted(trajectory.task_id)}, which is "
                "there already or belongs to another run: take the line out, or name another folder."
            )
        progress.add(trajectory)
        done.add(trajectory.episode)
    return done


def _make_executor(config: CollectConfig, gateway: Gateway | None, episodes: int) -> EpisodeExecutor:
    engine = config.engine
    if engine == "auto":
        several = min(config.concurrency, processors()) > 1 and episodes >= _WORTH_PROCESSES
        engine = "processes" if several and config.is_plain_python() else "threads"
    if engine == "threads":
        return ThreadExecutor(config, gateway)
    if engine == "processes":
        from step_envs.collection.process_executor import ProcessExecutor

        return ProcessExecutor(config, gateway)
    from step_envs.collection.ray_executor import RayExecutor

    return RayExecutor(config, gateway)


class _CollectionSession:
    """Plays the remaining episodes of a run and decides what is kept, what has failed, and when to stop."""

    def __init__(
        self,
        out: Path,
        store: TrajectoryStore,
        progress: Progress,
        on_progress: Callable[[Progress, Trajectory | None], object],
        gateway: Gateway | None,
    ) -> None:
        self._gateway = gateway
        self._failures = out / FAILURES
        self._store = store
        self._progress = progress
        self._on_progress = on_progress
        self._failed_in_a_row = 0
        self._stopped_by: Exception | None = None

    def play(self, waiting: deque[EpisodePlan], executor: EpisodeExecutor) -> None:
        with InterruptCounter(self._progress) as interrupts:
            while True:
                stopping = interrupts.count > 0 or self._stopped_by is not None
                while not stopping and waiting and executor.free_slots > 0:
                    executor.start(waiting.popleft())
                self._progress.in_flight = executor.in_flight
                if not executor.in_flight and (stopping or not waiting):
                    break
                if interrupts.count > 1 or self._stopped_by is not None:
                    executor.drop()
                self._stop_if_endpoint_is_down()
                for plan, result in executor.finished(0.5):
                    self._handle_result(plan, result)
        if self._stopped_by is not None:
            raise self._stopped_by
        if interrupts.count:
            raise KeyboardInterrupt

    def _handle_result(self, plan: EpisodePlan, result: EpisodeResult) -> None:
        if isinstance(result, Exception):
            self._handle_error(plan, result)
            return
        if result.stop_reason == "unknown_verdict":
            reason = next((t.verdict.reason for t in reversed(result.turns) if t.verdict and t.verdict.reason), None)
            said = "The teacher gave no usable verdict."
            self._record_failure(plan, f"{said} {reason}" if reason else said, result.to_json())
            self._failed_in_a_row = 0 if verdicts_given(result) else self._failed_in_a_row + 1
            self._stop_if_of_no_use(f"The teacher has not given a single verdict. {reason or ''}")
            return
        # Verdicts may be unknown only because the endpoint went down in this episode: play it again, do not keep it.
        if self._stop_if_endpoint_is_down() and result.unknown_verdicts:
            self._record_failure(plan, "The endpoint of the teacher went down.", result.to_json())
            return
        self._failed_in_a_row = 0
        self._store.append(result)
        self._progress.add(result)
        self.update_costs()
        self._on_progress(self._progress, result)
        sentence = self._progress.of_no_use(ended=False)
        if sentence is not None and self._gateway is not None and self._progress.kept >= _GIVE_UP_AFTER:
            self._stopped_by = self._stopped_by or EndpointError(sentence)

    def _handle_error(self, plan: EpisodePlan, error: Exception) -> None:
        if isinstance(error, RolloutStoppedError):
            return
        one_request = isinstance(error, RequestRefusedError) and error.kind in ONE_REQUEST
        if isinstance(error, (BudgetSpentError, EndpointError, StoreError)) and not (
            one_request or isinstance(error, EndpointDownError)
        ):
            # Every other episode would meet the same error.
            self._stopped_by = self._stopped_by or error
            return
        detail = "".join(traceback.format_exception(error))
        if isinstance(error, EndpointDownError):
            self._record_failure(plan, str(error), detail)
            self._stop_if_endpoint_is_down()
            return
        # Any other error costs this episode alone, and not the days of collection before it.
        self._record_failure(plan, f"{type(error).__name__}: {error}", detail)
        self._failed_in_a_row += 1
        if self._progress.kept == 0 and self._failed_in_a_row >= _GIVE_UP_AFTER:
            raise error

    def _stop_if_of_no_use(self, sentence: str) -> None:
        """Stop the run if nothing was kept and too many episodes in a row failed for the same want."""
        if self._progress.kept == 0 and self._failed_in_a_row >= _GIVE_UP_AFTER:
            self._stopped_by = self._stopped_by or EndpointError(sentence.strip())

    def _stop_if_endpoint_is_down(self) -> bool:
        """Stop the run if an endpoint is down; return whether one is."""
        down = None if self._gateway is None else self._gateway.down()
        if down is not None and self._stopped_by is None:
            self._stopped_by = EndpointDownError(down)
        return down is not None

    def update_costs(self) -> None:
        """Copy what was paid so far into the figures."""
        if self._gateway is not None:
            self._progress.paid, self._progress.saved = self._gateway.ledger.total, self._gateway.ledger.saved

    def _record_failure(self, plan: EpisodePlan, reason: str, detail: str) -> None:
        reason = masked(reason)
        record = plan._asdict() | {"reason": reason, "detail": masked(detail)}
        with TrajectoryStore(self._failures) as failures:
            failures.append_line(json.dumps(record))
        self._progress.failed += 1
        self._progress.reasons[reason] += 1
        self._progress.failures.add(FailedEpisode(plan.episode, plan.task_id, reason))
        self._progress.last_problem = reason
        self.update_costs()
        self._on_progress(self._progress, None)
