"""``step-envs reproduce``: run the three stages of STeP as one experiment that ends with a report."""

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from step_envs.cli.exit_codes import INTERRUPTED
from step_envs.cli.options import PrintConfig, Resume

if TYPE_CHECKING:
    from step_envs.training.experiments.estimate import ExperimentEstimate
    from step_envs.training.experiments.experiment_config import ExperimentConfig

_SEED_SD = 0.037
"""Standard deviation of an arm's success between seeds, from our first experiment; see docs/results."""
_LONG = 86_400.0
"""Seconds from which on a sentence says how an experiment gets shorter."""
_TIMES = ((90, 1, "seconds"), (5400, 60, "minutes"), (172_800, 3600, "hours"), (math.inf, 86_400, "days"))
_BYTES = ((1e9, 1e6, "MB"), (math.inf, 1e9, "GB"))
_PARAMETERS = ((1e6, 1e3, "thousand"), (1e9, 1e6, "million"), (math.inf, 1e9, "billion"))
"""Below which value, the size of the unit, its name."""


def reproduce(
    ctx: typer.Context,
    out: Annotated[Path | None, typer.Option(help="Folder of the experiment.", show_default=False)] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML or JSON file whose settings replace those of the preset, e.g. the config.json of an experiment. "
            "Options typed here win over the file."
        ),
    ] = None,
    print_config: PrintConfig = False,
    preset: Annotated[
        str,
        typer.Option(
            help="cpu: a model of 0.4 million parameters, half an hour on two cores; gpu: 100 million on one large GPU; "
            "smoke: every step in a minute, but the models learn nothing."
        ),
    ] = "cpu",
    env: Annotated[
        str | None, typer.Option(help="World: STeP-ALFWorld-v0, STeP-WebShop-v0 or STeP-SciWorld-v0.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Who watches the base agent, e.g. oracle, hybrid:... or openai:model=...")
    ] = None,
    arms: Annotated[
        str | None, typer.Option(help="Arms to compare, separated by commas; all: every arm there is.")
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Training seeds, e.g. 0,1,2 or 0-7.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Original model, instead of a new tiny one: a folder, a GGUF file, or a name on the hub."),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Download the model if it is not on this machine.")
    ] = False,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change the preset, as name=value or part.name=value; repeatable."),
    ] = None,
    resume: Resume = False,
    show: Annotated[bool, typer.Option("--show", help="--print-config as JSON.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only estimate time and disk, from a few timed steps; write nothing.")
    ] = False,
    merge: Annotated[
        list[Path] | None,
        typer.Option(help="Run nothing: write into OUT one report of the seeds of this experiment; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json at the end.")] = False,
) -> None:
    """Run the stages of STeP as one experiment, from golden data to a report.

    Six arms are compared, or those of --arms: D1 alone; all golden trajectories; D1 and golden trajectories of the tasks
    in D_r; STeP (D1 and D_r, error turns masked); STeP without the mask; and the base agent trained further on D_r. All
    arms take the same number of steps from the same original model. Every seed is a replication with tasks, original
    model, base agent and D_r of its own, and differences are tested over seeds. Nothing is downloaded.

    Before it starts, a few steps are timed, and time and disk are estimated; --dry-run does only this. OUT keeps the
    results of every stage (not the checkpoints that a training could have gone on from); OUT/report has report.md,
    report.json and plots. After a kill or Ctrl-C, the same command with --resume continues and ends with the same report.
    Needs pip install "step-envs[train]".

    Exit codes: 0 done, 2 wrong input, 130 interrupted.

    Example: step-envs reproduce --preset cpu --out runs/reproduce

    Example: step-envs reproduce --env STeP-WebShop-v0 --arms step,same-tasks,dagger --seeds 0-4 --out runs/webshop

    Example: step-envs reproduce --model Qwen/Qwen2.5-0.5B-Instruct --preset gpu --set seeds=[0] --out runs/qwen
    """
    from step_envs.cli.config_output import print_settings
    from step_envs.cli.experiment_progress import ExperimentProgress
    from step_envs.specs import read_option
    from step_envs.training.experiments.presets import with_changes
    from step_envs.training.experiments.report import merge_reports
    from step_envs.training.experiments.runner import estimate_in_process, run

    if out is None and (merge or not (print_config or show)):
        raise ValueError("Name the folder of the experiment with --out.")
    if merge and out is not None:
        _tell(merge_reports(merge, out), Console(emoji=False, stderr=True, soft_wrap=True), as_json=as_json)
        return
    chosen = _preset(ctx, preset, config, env, model, download=download)
    typed: dict[str, Any] = {"teacher": teacher, "arms": _read_arms(arms), "seeds": _read_seeds(seeds)}
    chosen = with_changes(chosen, {name: value for name, value in typed.items() if value is not None})
    chosen = with_changes(chosen, dict(read_option(pair, "--set") for pair in change or ()))
    if show:
        typer.echo(chosen.model_dump_json(indent=2))
        return
    if print_config:
        print_settings(chosen, "step-envs reproduce --config FILE --out DIR")
        return
    assert out is not None
    console = Console(emoji=False, stderr=True, soft_wrap=True)
    if dry_run:
        found = estimate_in_process(chosen, out)
        typer.echo(json.dumps(found.to_dict()) if as_json else estimate_sentence(found))
        return

    progress = ExperimentProgress(console, chosen)

    def say(found: "ExperimentEstimate") -> None:
        console.print(f"{estimate_sentence(found)} {power_sentence(chosen)}", markup=False)
        progress.estimated(found.seconds)

    try:
        with progress:
            folder = run(chosen, out, resume=resume, notice=progress, on_estimate=say)
    except KeyboardInterrupt:
        console.print(
            "Stopped. Steps in work go on from their last checkpoint or episode: add --resume to the same command to go "
            f"on with {out}.",
            markup=False,
        )
        raise typer.Exit(INTERRUPTED) from None
    _tell(folder, console, as_json=as_json)


def _tell(folder: Path, console: Console, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(json.loads((folder / "report.json").read_text())))
    else:
        typer.echo((folder / "report.md").read_text())
        console.print(f"Report, plots and figures: {folder}", markup=False)


def _read_arms(text: str | None) -> tuple[str, ...] | None:
    from step_envs.errors import unknown_name
    from step_envs.training.experiments.experiment_config import ARMS

    if text is None:
        return None
    arms = ARMS if text == "all" else tuple(name.strip() for name in text.split(","))
    for arm in arms:
        if arm not in ARMS:
            raise unknown_name("arm", arm, ARMS)
    return arms


def _read_seeds(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if found is None:
            raise ValueError(f"--seeds takes numbers and ranges such as 0,1,2 or 0-7, got {text!r}.")
        seeds += range(int(found[1]), int(found[2] or found[1]) + 1)
    return tuple(seeds)


def _preset(
    ctx: typer.Context, name: str, file: Path | None, env: str | None, model: str | None, *, download: bool
) -> "ExperimentConfig":
    """Return the preset with the settings of the file, except where an option was typed."""
    from pydantic import ValidationError

    from step_envs.cli.config_file import read_config_file, was_given, wrong_value
    from step_envs.errors import UnknownNameError
    from step_envs.training.experiments.presets import preset, with_settings

    world = {} if env is None else {"env": env}
    if file is None:
        return preset(name, **world, model=model, download=download)
    values = read_config_file(file)
    if env is None and "env" in values:
        world = {"env": values["env"]}
    elif env is not None and values.get("env", env) != env:
        # A world that is typed takes the place of the file's world and its options.
        values = {key: value for key, value in values.items() if key not in ("env", "env_options")}
    if was_given(ctx, "model"):
        # A model that is typed takes the place of the file's model, or of its way to make one.
        values = {key: value for key, value in values.items() if key not in ("model", "pretraining")}
    if was_given(ctx, "download"):
        values.pop("download", None)
    chosen = preset(
        name, **world, model=model or values.get("model"), download=download or values.get("download", False)
    )
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


def power_sentence(config: "ExperimentConfig") -> str:
    """Say which differences an experiment can find, before it is run."""
    from step_envs.training.experiments.seed_statistics import detectable, difference_sd

    seeds, tasks = len(config.seeds), config.held_out
    if seeds == 1:
        return "With one seed, no difference between arms can be claimed: --seeds 0-7 takes eight."
    found = 100 * detectable(difference_sd(_SEED_SD, tasks), seeds)
    return (
        f"With {seeds} seeds and {tasks:,} tasks, a true difference of {found:.0f} points in success is found with "
        f"probability 0.8, if seeds spread as they did before (standard deviation {100 * _SEED_SD:.1f} points)."
    )


def _amount(value: float, units: tuple[tuple[float, float, str], ...]) -> str:
    """Write a figure with two digits in the unit that suits it."""
    size, name = next((size, name) for most, size, name in units if value < most)
    scaled = value / size
    return f"{scaled:,.1f} {name}" if scaled < 9.95 else f"{scaled:,.0f} {name}"
