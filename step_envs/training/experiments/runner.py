"""Does the steps of an experiment, several at once, each in a process that dies with this one; what is done stays done."""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from step_envs.errors import EngineError, StoreError, first_fault
from step_envs.training.experiments.presets import Preset
from step_envs.training.experiments.stages import Step, plan, run_step, write_json

Notice = Callable[[Step, str, dict[str, Any]], object]
"""Told of each step: the step, ``begun``, ``done`` or ``kept`` (it was done before), and its figures."""


def run(preset: Preset, out: Path, *, resume: bool = False, notice: Notice = lambda step, what, figures: None) -> Path:
    """Do an experiment, or the rest of it, and write its report.

    Args:
        preset: The experiment.
        out: Its folder.
        resume: Go on with an experiment that is there; without it, a folder that holds one is refused.
        notice: Told of each step.

    Returns:
        The folder of the report.

    Raises:
        EngineError: A process that did a step died; what was done is kept.
        StoreError: The folder holds an experiment and ``resume`` is not set, or another one than the one asked for.
        ValueError: The folder's name cannot be part of an agent's description.
    """
    from step_envs.training.experiments.report import write_report

    out = out.expanduser().resolve()
    if "," in str(out):
        raise ValueError(f"The folder {out} has a comma in its name, which agents are told apart by: name another one.")
    _claim(preset, out, resume)
    done: dict[str, dict[str, Any]] = {}
    waiting = []
    for step in plan(preset):
        file = _mark(out, step)
        if file.exists():
            done[step.name] = json.loads(file.read_text())["figures"]
            notice(step, "kept", done[step.name])
        else:
            waiting.append(step)
    if waiting:
        _do(preset, out, waiting, done, notice)
    return write_report(preset, out)


def _claim(preset: Preset, out: Path, resume: bool) -> None:
    file = out / "config.json"
    if not file.exists():
        if out.exists() and any(out.iterdir()):
            raise StoreError(f"{out} is not empty and holds no config.json of an experiment: name another folder.")
        (out / "steps").mkdir(parents=True, exist_ok=True)
        write_json(file, preset.model_dump(mode="json"))
        return
    if not resume:
        raise StoreError(f"{out} already holds an experiment: add --resume to go on with it, or name another folder.")
    try:
        saved = Preset.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise StoreError(f"{file} is not the configuration of an experiment: {first_fault(error)}.") from error
    for name, value in preset.model_dump().items():
        if getattr(saved, name) != getattr(preset, name):
            raise StoreError(
                f"The experiment in {out} was begun with {name}={saved.model_dump()[name]!r}, not {value!r}: "
                "resume it with the options it was begun with, or name another folder."
            )


def _mark(out: Path, step: Step) -> Path:
    return out / "steps" / f"{step.name.replace(':', '-')}.json"


def _do(preset: Preset, out: Path, waiting: list[Step], done: dict[str, dict[str, Any]], notice: Notice) -> None:
    (out / "steps").mkdir(exist_ok=True)
    context = multiprocessing.get_context("spawn")
    # Whoever reads the other end learns of the end of this process, however it ends.
    lifeline, alive = context.Pipe(duplex=False)
    os.environ["OMP_NUM_THREADS"] = str(preset.threads)
    pool = ProcessPoolExecutor(
        min(preset.workers, len(waiting)), mp_context=context, initializer=_begin, initargs=(lifeline, preset.threads)
    )
    running: dict[Future[tuple[dict[str, Any], dict[str, float]]], Step] = {}
    try:
        while waiting or running:
            ready = [step for step in waiting if all(need in done for need in step.needs)]
            for step in ready[: preset.workers - len(running)]:
                waiting.remove(step)
                notice(step, "begun", {})
                running[pool.submit(_timed, preset, out, step)] = step
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                step = running[future]
                figures, took = future.result()
                del running[future]
                write_json(_mark(out, step), {"figures": figures, **took})
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
            # It ends them in the middle of their step. Nothing is lost by it: every step goes on where it was.
            alive.close()
        pool.shutdown(wait=idle, cancel_futures=True)
        alive.close()


def _timed(preset: Preset, out: Path, step: Step) -> tuple[dict[str, Any], dict[str, float]]:
    """Do a step in a process of the pool; what libraries print goes to the step's log."""
    wall, processor = time.perf_counter(), time.process_time()
    log = os.open(_mark(out, step).with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    figures = run_step(preset, out, step.name)
    took = {"seconds": time.perf_counter() - wall, "processor_seconds": time.process_time() - processor}
    return figures, {name: round(value, 1) for name, value in took.items()}


def _begin(lifeline: Connection, threads: int) -> None:
    """Get a process ready: it leaves Ctrl-C to the one that started it, and ends with that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        import torch
    except ImportError:
        return  # the step that needs it says so
    torch.set_num_threads(threads)


def _end_with_parent(lifeline: Connection) -> None:
    try:
        lifeline.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)
