"""What ``step-envs reproduce`` says while it runs."""

from io import StringIO

from rich.console import Console

from step_envs.cli.experiment_progress import ExperimentProgress
from step_envs.training.experiments.presets import preset
from step_envs.training.experiments.step_plan import plan_steps


def test_steps_and_the_time_left_are_told() -> None:
    chosen = preset("smoke").model_copy(update={"workers": 1})
    steps = plan_steps(chosen)
    now, file = [0.0], StringIO()
    progress = ExperimentProgress(Console(file=file, width=200), chosen, clock=lambda: now[0])
    assert progress.seconds_left() is None
    progress.estimated(600.0)
    progress(steps[0], "kept", {"tasks": 4})
    progress(steps[1], "begun", {})
    now[0] += 45
    progress.tick()
    assert file.getvalue().splitlines() == [
        f" 1/{len(steps)} {steps[0].name} (done before): tasks 4",
        f"      {steps[1].name} ...",
    ]
    now[0] += 15
    progress.tick()
    assert file.getvalue().splitlines()[-1] == (
        f"1 of {len(steps)} steps; in work: {steps[1].name} for 1:00; about 9:00 left"
    )


def test_steps_that_are_done_say_how_long_the_others_take() -> None:
    chosen = preset("smoke").model_copy(update={"workers": 2})
    now = [0.0]
    progress = ExperimentProgress(Console(file=StringIO()), chosen, clock=lambda: now[0])
    steps = plan_steps(chosen)
    kinds = {step.kind for step in steps}
    done: set[str] = set()
    waiting = []
    for step in steps:
        if step.kind in done:
            waiting.append(step)
            continue
        done.add(step.kind)
        progress(step, "begun", {})
        now[0] += 10
        progress(step, "done", {})
    assert done == kinds and len(waiting) > 1
    assert progress.seconds_left() == 10 * len(waiting) / 2
    progress(waiting[0], "begun", {})
    now[0] += 4
    assert progress.seconds_left() == (10 * len(waiting) - 4) / 2
