"""``step-envs reproduce``: the three stages of STeP as one experiment, from nothing to a report."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from step_envs.training.experiments.presets import Preset
    from step_envs.training.experiments.stages import Step

INTERRUPTED = 130
"""Exit code after Ctrl-C; the experiment can be resumed."""


def reproduce(
    out: Annotated[Path, typer.Option(help="Folder of the experiment.", show_default=False)],
    preset: Annotated[
        str,
        typer.Option(
            help="cpu: a model of 0.4 million parameters, half an hour on two cores; gpu: 100 million on one large GPU; "
            "smoke: everything in a minute, nothing learned."
        ),
    ] = "cpu",
    model: Annotated[
        str | None,
        typer.Option(help="Original model in place of one made from nothing: a folder, or a name on the hub."),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch that model where it is not here.")] = False,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change the preset, as name=value or part.name=value; may be given again."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the experiment in OUT.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Only print the configuration, as JSON.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json at the end.")] = False,
) -> None:
    """Golden data, base agent, collection under a teacher, final training, evaluation: one experiment with a report.

    Households of ALFWorld, made up by seed; nothing is downloaded. The arms that are compared: D1 only, all golden
    trajectories, D1 and golden trajectories of the tasks that D_r has, STeP (D1 and D_r, error turns masked), STeP without
    mask, and the base agent trained on with D_r. All take the same number of steps from the same original model, with
    several seeds, and are evaluated on the same held-out tasks.

    OUT keeps what every stage made; OUT/report has report.md, report.json and plots. After a kill or Ctrl-C, the same
    command with --resume goes on and ends with the same report. Needs pip install "step-envs[train]".

    Exit codes: 0 done, 2 wrong input, 130 interrupted.

    Example: step-envs reproduce --preset cpu --out runs/reproduce

    Example: step-envs reproduce --model Qwen/Qwen2.5-0.5B-Instruct --preset gpu --set seeds=[0] --out runs/qwen
    """
    from step_envs.specs import read_option
    from step_envs.training.experiments.presets import preset as find
    from step_envs.training.experiments.presets import with_changes
    from step_envs.training.experiments.runner import run

    chosen = with_changes(
        find(preset, model=model, download=download), dict(read_option(pair, "--set") for pair in change or ())
    )
    if show:
        typer.echo(chosen.model_dump_json(indent=2))
        return
    console = Console(stderr=True, soft_wrap=True)
    notices = _Notices(console, chosen)
    try:
        folder = run(chosen, out, resume=resume, notice=notices)
    except KeyboardInterrupt:
        console.print(f"Stopped. Add --resume to the same command to go on with {out}.", markup=False)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(json.loads((folder / "report.json").read_text())))
    else:
        typer.echo((folder / "report.md").read_text())
        console.print(f"Report, plots and figures: {folder}", markup=False)


class _Notices:
    """Says what is begun and done, one line a step."""

    def __init__(self, console: Console, preset: "Preset") -> None:
        from step_envs.training.experiments.stages import plan

        self._console = console
        self._steps = len(plan(preset))
        self._done = 0

    def __call__(self, step: "Step", what: str, figures: dict[str, Any]) -> None:
        if what == "begun":
            self._console.print(f"      {step.stage}: {step.name} ...", style="dim", markup=False)
            return
        self._done += 1
        told = ", ".join(f"{name} {value:,}" for name, value in figures.items() if isinstance(value, (int, float)))
        before = " (done before)" if what == "kept" else ""
        self._console.print(f"{self._done:>2}/{self._steps} {step.stage}: {step.name}{before}: {told}", markup=False)
