"""What ``step-envs reproduce`` says while it runs: a line for each step, and how long the rest takes."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.status import Status

from step_envs.cli.dashboard import clock_face

if TYPE_CHECKING:
    from step_envs.training.experiments.experiment_config import ExperimentConfig
    from step_envs.training.experiments.step_plan import ExperimentStep

_LINE_EVERY = 60.0
"""Seconds between two lines where there is no terminal and no step ends."""
_TICK = 1.0


class ExperimentProgress:
    """Prints one line when a step begins and one when it is done; between them, what is in work and the time left.

    Args:
        console: Where to print.
        config: The experiment.
        clock: Returns the time in seconds; tests pass their own.
    """

    def __init__(
        self, console: Console, config: "ExperimentConfig", *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        from step_envs.training.experiments.step_plan import plan_steps

        self._console, self._clock, self._workers = console, clock, config.workers
        self._waiting = {step.name: step.kind for step in plan_steps(config)}
        self._steps = len(self._waiting)
        self._begun: dict[str, float] = {}
        self._took: dict[str, list[float]] = {}
        self._estimate: float | None = None
        self._began = self._printed = clock()
        self._lock = threading.Lock()
        self._status: Status | None = None
        self._closed = threading.Event()
        self._ticker: threading.Thread | None = None

    def estimated(self, seconds: float) -> None:
        """Take up an estimate of the whole, which counts from now."""
        self._estimate, self._began = seconds, self._clock()

    def __call__(self, step: "ExperimentStep", what: str, figures: dict[str, Any]) -> None:
        """Note that a step has begun, is done, or was done before; see ``runner.Notice``."""
        with self._lock:
            if what == "begun":
                self._begun[step.name] = self._clock()
                self._print(f"      {step.name} ...", style="dim")
                return
            self._waiting.pop(step.name, None)
            began = self._begun.pop(step.name, None)
            if began is not None:
                self._took.setdefault(step.kind, []).append(self._clock() - began)
            told = ", ".join(f"{name} {value:,}" for name, value in figures.items() if isinstance(value, (int, float)))
            before = " (done before)" if what == "kept" else ""
            done = self._steps - len(self._waiting)
            self._print(f"{done:>2}/{self._steps} {step.name}{before}: {told}")

    def line(self) -> str:
        """Say how many steps are done, what is in work, and how long the rest takes."""
        now = self._clock()
        in_work = ", ".join(f"{name} for {clock_face(now - since)}" for name, since in list(self._begun.items()))
        left = self.seconds_left()
        rest = "" if left is None else f"; about {clock_face(left)} left"
        return f"{self._steps - len(self._waiting)} of {self._steps} steps; in work: {in_work or 'nothing'}{rest}"

    def seconds_left(self) -> float | None:
        """Return the seconds that the rest takes; None where nothing is known of it.

        Steps of a kind take about as long as those of it that are done. Before one of each is, the estimate counts.
        """
        now = self._clock()
        left = 0.0
        for name, kind in list(self._waiting.items()):
            took = self._took.get(kind)
            if not took:
                return None if self._estimate is None else max(0.0, self._estimate - (now - self._began))
            passed = now - self._begun[name] if name in self._begun else 0.0
            left += max(0.0, sum(took) / len(took) - passed)
        return left / max(1, min(self._workers, len(self._waiting)))

    def tick(self) -> None:
        """Draw the time left anew; where there is no terminal, print a line if none came for long."""
        with self._lock:
            if self._status is not None:
                self._status.update(self.line())
            elif self._begun and self._clock() - self._printed >= _LINE_EVERY:
                self._print(self.line())

    def _print(self, text: str, *, style: str = "") -> None:
        self._printed = self._clock()
        self._console.print(text, style=style, markup=False)

    def _tick(self) -> None:
        while not self._closed.wait(_TICK):
            self.tick()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status = Status("", console=self._console, spinner="line")
            self._status.start()
        self._ticker = threading.Thread(target=self._tick, daemon=True, name="experiment progress")
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        if self._ticker is not None:
            self._ticker.join()
        if self._status is not None:
            self._status.stop()
