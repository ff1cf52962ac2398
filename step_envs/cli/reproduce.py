"""``step-envs reproduce``: run the three stages of STeP as one experiment that ends with a report."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from step_envs.cli.exit_codes import INTERRUPTED
from step_envs.cli.options import Resume

if TYPE_CHECKING:
    from step_envs.training.experiments.estimate import ExperimentEstimate
    from step_envs.training.experiments.presets import Preset
    from step_envs.training.experiments.stages import ExperimentStep

_LONG = 86_400.0
"""Seconds from which on a sentence says how an experiment gets shorter."""
_TIMES = ((90, 1, "seconds"), (5400, 60, "minutes"), (172_800, 3600, "hours"), (math.inf, 86_400, "days"))
_BYTES = ((1e9, 1e6, "MB"), (math.inf, 1e9, "GB"))
_PARAMETERS = ((1e6, 1e3, "thousand"), (1e9, 1e6, "million"), (math.inf, 1e9, "billion"))
"""Below which value, the size of the unit, its name."""


def reproduce(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder of the experiment.", show_default=False)],
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML or JSON file whose settings replace those of the preset, e.g. the config.json of an experiment. "
            "`--show` prints all settings. Options typed here win over the file."
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            help="cpu: a model of 0.4 million parameters, half an hour on two cores; gpu: 100 million on one large GPU; "
            "smoke: every step in a minute, but the models learn nothing."
        ),
    ] = "cpu",
    model: Annotated[
        str | None,
        typer.Option(help="Original model, instead of a new tiny one: a folder, or a name on the hub."),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Download the model if it is not on this machine.")
    ] = False,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change the preset, as name=value or part.name=value; repeatable."),
    ] = None,
    resume: Resume = False,
    show: Annotated[bool, typer.Option("--show", help="Only print the settings, as JSON.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only estimate time and disk, from a few timed steps; write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json at the end.")] = False,
) -> None:
    """Golden data, base agent, collection under a teacher, final training, evaluation: one experiment with a report.

    The tasks are ALFWorld households generated from seeds; nothing is downloaded. Six arms are compared: D1 alone; all
    golden trajectories; D1 and golden trajectories of the tasks in D_r; STeP (D1 and D_r, error turns masked); STeP
    without the mask; and the base agent trained further on D_r. All arms take the same number of steps from the same
    original model, with several seeds, and are evaluated on the same held-out tasks.

    Before it starts, a few steps are timed, and time and disk are estimated; --dry-run does only this. OUT keeps the
    results of every stage (not the checkpoints that a training could have gone on from); OUT/report has report.md,
    report.json and plots. After a kill or Ctrl-C, the same command with --resume continues and ends with the same report.
    Needs pip install "step-envs[train]".

    Exit codes: 0 done, 2 wrong input, 130 interrupted.

    Example: step-envs reproduce --preset cpu --out runs/reproduce

    Example: step-envs reproduce --model Qwen/Qwen2.5-0.5B-Instruct --preset gpu --set seeds=[0] --out runs/qwen
    """
    from step_envs.specs import read_option
    from step_envs.training.experiments.presets import with_changes
    from step_envs.training.experiments.runner import estimate_in_process, run

    chosen = _preset(ctx, preset, config, model, download=download)
    chosen = with_changes(chosen, dict(read_option(pair, "--set") for pair in change or ()))
    if show:
        typer.echo(chosen.model_dump_json(indent=2))
        return
    console = Console(stderr=True, soft_wrap=True)
    notices = _Notices(console, chosen)
    if dry_run:
        found = estimate_in_process(chosen, out)
        typer.echo(json.dumps(found.to_dict()) if as_json else estimate_sentence(found))
        return

    def say(found: "ExperimentEstimate") -> None:
        console.print(estimate_sentence(found), markup=False)

    try:
        folder = run(chosen, out, resume=resume, notice=notices, on_estimate=say)
    except KeyboardInterrupt:
        console.print(f"Stopped. Add --resume to the same command to go on with {out}.", markup=False)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(json.loads((folder / "report.json").read_text())))
    else:
        typer.echo((folder / "report.md").read_text())
        console.print(f"Report, plots and figures: {folder}", markup=False)


def _preset(ctx: typer.Context, name: str, file: Path | None, model: str | None, *, download: bool) -> "Preset":
    """Return the preset with the settings of the file, except where an option was typed."""
    from pydantic import ValidationError

    from step_envs.cli.config_file import read_config_file, was_given, wrong_value
    from step_envs.errors import UnknownNameError
    from step_envs.training.experiments.presets import preset, with_settings

    if file is None:
        return preset(name, model=model, download=download)
    values = read_config_file(file)
    if was_given(ctx, "model"):
        # A model that is typed takes the place of the file's model, or of its way to make one.
        values = {key: value for key, value in values.items() if key not in ("model", "pretraining")}
    if was_given(ctx, "download"):
        values.pop("download", None)
    chosen = preset(name, model=model or values.get("model"), download=download or values.get("download", False))
    try:
        return with_settings(chosen, values)
    except UnknownNameError as error:
        raise UnknownNameError(f"In {file}: {error}") from error
    except ValidationError as error:
        raise wrong_value(file, error) from error


def estimate_sentence(found: "ExperimentEstimate") -> str:
    """Say what an experiment needs."""
    text = (
        f"A model of {_amount(found.parameters, _PARAMETERS)} parameters: about {_amount(found.seconds, _TIMES)} here "
        f"({_amount(found.processor_seconds, _TIMES)} of processor time) and {_amount(found.disk, _BYTES)} of disk, "
        "estimated from a few timed steps."
    )
    if found.disk > found.free:
        text += f" Only {_amount(found.free, _BYTES)} are free: name another folder with --out, or make room."
    if found.seconds > _LONG:
        text += " Shorter: fewer arms or seeds, or fewer steps, e.g. --set seeds=[0] --set training.max_steps=300."
    return text


def _amount(value: float, units: tuple[tuple[float, float, str], ...]) -> str:
    """Write a figure with two digits in the unit that suits it."""
    size, name = next((size, name) for most, size, name in units if value < most)
    scaled = value / size
    return f"{scaled:,.1f} {name}" if scaled < 9.95 else f"{scaled:,.0f} {name}"


class _Notices:
    """Prints one line when a step begins and one when it is done."""

    def __init__(self, console: Console, preset: "Preset") -> None:
        from step_envs.training.experiments.stages import plan_steps

        self._console = console
        self._steps = len(plan_steps(preset))
        self._done = 0

    def __call__(self, step: "ExperimentStep", what: str, figures: dict[str, Any]) -> None:
        if what == "begun":
            self._console.print(f"      {step.stage}: {step.name} ...", style="dim", markup=False)
            return
        self._done += 1
        told = ", ".join(f"{name} {value:,}" for name, value in figures.items() if isinstance(value, (int, float)))
        before = " (done before)" if what == "kept" else ""
        self._console.print(f"{self._done:>2}/{self._steps} {step.stage}: {step.name}{before}: {told}", markup=False)
