"""What ``step-envs train`` says while it trains, and how Ctrl-C ends it with a checkpoint to go on from."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

from rich.console import Console

from step_envs.cli.dashboard import clock_face

_LINE_EVERY = 30.0
"""Seconds after which a line comes although the trainer has logged nothing."""
_STOPPING = (
    b"\nStopping: waiting for the step in work, then a checkpoint is saved; press Ctrl-C again to leave it. "
    b"Nothing that is saved is lost.\n"
)


class TrainingInterrupt:
    """Ctrl-C during a training: the first lets the step in work end and a checkpoint be saved, the second ends at once.

    Attributes:
        asked: Ctrl-C was pressed while a trainer was at work.
        working: A trainer is at work, which will see ``asked``.
    """

    def __init__(self) -> None:
        self.asked = self.working = False

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Note the first Ctrl-C, and say what is waited for.

        Raises:
            KeyboardInterrupt: It is the second, or no trainer is at work.
        """
        # The processes of a training on several devices must save in the same step: there it ends at once.
        if self.asked or not self.working or os.environ.get("WORLD_SIZE", "1") != "1":
            raise KeyboardInterrupt
        self.asked = True
        os.write(2, _STOPPING)  # not by sys.stderr, which may be in the middle of a write


@contextmanager
def watched_training() -> Iterator[TrainingInterrupt]:
    """Let Ctrl-C end a training after a step."""
    interrupt = TrainingInterrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = signal.signal(signal.SIGINT, interrupt.on_signal)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)


def stopped_sentence(out: Path) -> str:
    """Say what is kept of a training that was stopped."""
    steps = [int(folder.name.rpartition("-")[2]) for folder in out.glob("checkpoint-*") if folder.is_dir()]
    if not steps:
        return "Stopped before the first checkpoint: the same command begins again."
    return f"Stopped. The same command goes on from step {max(steps)}, which is saved in {out}."


def show_progress(trainer: Any, console: Console, interrupt: TrainingInterrupt) -> None:
    """Print progress, in place of the trainer's own lines.

    Args:
        trainer: A trainer of ``transformers``.
        console: Where to print.
        interrupt: Tells of Ctrl-C.
    """
    from transformers import PrinterCallback, TrainerCallback

    class Lines(TrainerCallback):  # type: ignore[misc]  # transformers is not followed by the type checker
        """Prints a line whenever the trainer logs, and now and then between; ends the training after Ctrl-C."""

        def __init__(self) -> None:
            self.pace = TrainingPace(monotonic)
            self.stopping = False

        def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            """Remember the time and the first step, which is not 0 if a stopped training is continued."""
            self.pace.begin(state.global_step)
            interrupt.working = True

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
            """Print step, loss, rate and time left; or the loss on tasks that are not trained on."""
            if logs and "eval_loss" in logs:
                console.print(
                    f"step {state.global_step} of {state.max_steps}  validation loss {float(logs['eval_loss']):.3f}",
                    highlight=False,
                    soft_wrap=True,
                )
            if logs and "loss" in logs and state.global_step > self.pace.first:
                self.say(state, f"  loss {float(logs['loss']):.3f}")

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> Any:
            """Print a line if none came for long; after Ctrl-C have a checkpoint saved."""
            if self.stopping:
                raise KeyboardInterrupt  # this trainer saves nothing when it is told to
            if self.pace.is_time(_LINE_EVERY):
                self.say(state, "")
            if interrupt.asked and state.global_step < state.max_steps:
                self.stopping = control.should_save = True
            return control

        def on_save(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            """End, now that everything is saved."""
            if self.stopping:
                raise KeyboardInterrupt

        def on_train_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            """Leave Ctrl-C to what comes after the trainer."""
            interrupt.working = interrupt.asked = False

        def say(self, state: Any, more: str) -> None:
            """Print a line."""
            step, steps = state.global_step, state.max_steps
            console.print(
                f"step {step} of {steps}{more}{self.pace.words(step, steps)}", highlight=False, soft_wrap=True
            )

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Lines())


class TrainingPace:
    """How fast a training goes.

    Args:
        clock: Returns the time in seconds.

    Attributes:
        first: The step at which it began.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.begin(0)

    def begin(self, first: int) -> None:
        """Begin at a step."""
        self.first = first
        self._began = self._printed = self._clock()

    def is_time(self, seconds: float) -> bool:
        """Return True if nothing was said for so many seconds."""
        return self._clock() - self._printed >= seconds

    def words(self, step: int, steps: int) -> str:
        """Say rate and time left; this counts as saying something."""
        self._printed = self._clock()
        passed, done = self._printed - self._began, step - self.first
        if done <= 0 or passed <= 0:
            return ""
        left = f"  about {clock_face(passed / done * (steps - step))} left" if step < steps else ""
        return f"  {done / passed * 60:,.3g} steps a minute{left}"
