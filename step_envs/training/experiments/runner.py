"""Run the steps of an experiment, several at once, in worker processes; a step that is done is not done again.

Each step gets a process of a pool, because torch and the world's engines hold on to memory and threads. A worker that
outlived its parent would go on to write into the folder while a resumed run does the same, so every worker ends as soon
as the parent does, however the parent ended (see ``worker_processes``).
"""

import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from step_envs.errors import EngineError
from step_envs.file_reading import read_json
from step_envs.run_folder import RunFolder, write_json, write_model
from step_envs.training.experiments.estimate import ExperimentEstimate
from step_envs.training.experiments.experiment_config import ExperimentConfig
from step_envs.training.experiments.stages import run_step
from step_envs.training.experiments.step_plan import ExperimentStep, plan_steps
from step_envs.worker_processes import serve_parent

_CONFLICT = (
    "The experiment in {folder} was begun with {field}={saved}, not {asked}: resume it with the options it was begun with, "
    "or name another folder."
)

_MAY_DIFFER = frozenset({"arms", "seeds", "against", "margin"})
"""Settings that may change when an experiment is resumed: it can get more seeds and more arms."""

Notice = Callable[[ExperimentStep, str, dict[str, Any]], object]
"""Called for each step: with the step, ``begun``, ``done`` or ``kept`` (it was done before), and its figures."""


def run(
    config: ExperimentConfig,
    out: Path,
    *,
    resume: bool = False,
    notice: Notice = lambda step, what, figures: None,
    on_estimate: Callable[[ExperimentEstimate], object] | None = None,
) -> Path:
    """Run an experiment, or the rest of it, and write its report.

    Args:
        config: The experiment.
        out: Its folder.
        resume: Continue the experiment in the folder, also with more arms or seeds; if False, a folder that holds one is
            refused.
        notice: Called for each step.
        on_estimate: Called with an estimate of time and disk before the first step; None makes no estimate.

    Returns:
        The folder of the report.

    Raises:
        EngineError: The process of a step died; what was done is kept.
        StoreError: The folder holds an experiment and ``resume`` is False, or an experiment with other settings.
        ValueError: The folder's name cannot be part of an agent's description.
    """
    from step_envs.training.experiments.report import write_report

    out = out.expanduser().resolve()
    if "," in str(out):
        raise ValueError(f"The folder {out} has a comma in its name, which agents are told apart by: name another one.")
    _claim_folder(config, out, resume=resume)
    done: dict[str, dict[str, Any]] = {}
    waiting = []
    for step in plan_steps(config):
        file = _result_file(out, step)
        if file.exists():
            done[step.name] = read_json(file)["figures"]
            notice(step, "kept", done[step.name])
        else:
            waiting.append(step)
    if on_estimate is not None and not done:
        on_estimate(estimate_in_process(config, out))
    if waiting:
        _run_steps(config, out, waiting, done, notice)
    return write_report(config, out)


def estimate_in_process(config: ExperimentConfig, out: Path) -> ExperimentEstimate:
    """Estimate what an experiment needs, in a process of its own that frees the model's memory as it ends.

    Args:
        config: The experiment.
        out: Its folder; nothing is written into it.

    Raises:
        EngineError: The process died, as it does where the model does not fit into memory.
        DataError: See ``estimate_experiment``.
    """
    pool, alive = _make_pool(config, 1)
    found = pool.submit(_estimate_quietly, config, out.expanduser().resolve())
    try:
        return found.result()
    except BrokenProcessPool as error:
        raise EngineError(
            "The process that tried out the original model died without a word, as it does where memory runs out: a "
            "smaller model is needed, or a machine with more memory."
        ) from error
    finally:
        if not found.done():
            alive.close()
        pool.shutdown(wait=found.done(), cancel_futures=True)
        alive.close()


def _estimate_quietly(config: ExperimentConfig, out: Path) -> ExperimentEstimate:
    from step_envs.training.experiments.estimate import estimate_experiment

    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return estimate_experiment(config, out)


def _make_pool(config: ExperimentConfig, workers: int) -> tuple[ProcessPoolExecutor, Connection]:
    """Make a pool of workers, and the end of a pipe at whose closing they end."""
    context = multiprocessing.get_context("spawn")
    # The workers read the other end. It closes when this process ends, however it ends.
    lifeline, alive = context.Pipe(duplex=False)
    os.environ["OMP_NUM_THREADS"] = str(config.threads)
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_prepare_worker, initargs=(lifeline, config.threads)
    )
    return pool, alive


def _claim_folder(config: ExperimentConfig, out: Path, *, resume: bool) -> None:
    folder = RunFolder(out, noun="an experiment", conflict=_CONFLICT)
    saved = folder.claim(config, resume=resume, meaning="the configuration of an experiment", may_differ=_MAY_DIFFER)
    if saved is not None and saved != config:
        # The same experiment with other arms or seeds: what was done of them stays, and is used if they come back.
        write_model(folder.record, config)
    (out / "steps").mkdir(exist_ok=True)


def _result_file(out: Path, step: ExperimentStep) -> Path:
    return out / "steps" / f"{step.name.replace(':', '-')}.json"


def _run_steps(
    config: ExperimentConfig, out: Path, waiting: list[ExperimentStep], done: dict[str, dict[str, Any]], notice: Notice
) -> None:
    pool, alive = _make_pool(config, min(config.workers, len(waiting)))
    running: dict[Future[tuple[dict[str, Any], dict[str, float]]], ExperimentStep] = {}
    try:
        while waiting or running:
            ready = [step for step in waiting if all(need in done for need in step.needs)]
            for step in ready[: config.workers - len(running)]:
                waiting.remove(step)
                notice(step, "begun", {})
                running[pool.submit(_run_in_worker, config, out, step)] = step
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                step = running[future]
                figures, took = future.result()
                del running[future]
                write_json(_result_file(out, step), {"figures": figures, **took})
                done[step.name] = figures
                notice(step, "done", figures | took)
    except BrokenProcessPool as error:
        names = ", ".join(one.name for one in running.values()) or step.name
        raise EngineError(
            f"A process died without a word while it did {names}, as it does where memory runs out: see the logs in "
            f"{out / 'steps'}, and add --resume to go on."
        ) from error
    finally:
        idle = all(future.done() for future in running)
        if not idle:
            # This ends the workers in the middle of their steps. Nothing is lost: a step continues where it was stopped.
            alive.close()
        pool.shutdown(wait=idle, cancel_futures=True)
        alive.close()


def _run_in_worker(
    config: ExperimentConfig, out: Path, step: ExperimentStep
) -> tuple[dict[str, Any], dict[str, float]]:
    """Run a step in a process of the pool; what libraries print goes to the step's log."""
    wall, processor = time.perf_counter(), time.process_time()
    log = os.open(_result_file(out, step).with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    figures = run_step(config, out, step.name)
    took = {"seconds": time.perf_counter() - wall, "processor_seconds": time.process_time() - processor}
    return figures, {name: round(value, 1) for name, value in took.items()}


def _prepare_worker(lifeline: Connection, threads: int) -> None:
    """Prepare a worker process, and bound the threads of torch in it."""
    serve_parent(lifeline)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        import torch
    except ImportError:
        return  # the step that needs torch reports that it is missing
    torch.set_num_threads(threads)
