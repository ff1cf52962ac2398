"""``step-envs train``: fine-tune a model on the trajectories of runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from step_envs.cli.options import AsJson

if TYPE_CHECKING:
    from step_envs.training.dataset import DatasetReport
    from step_envs.training.filters import Selection


def train(
    ctx: typer.Context,
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN...", help="Run folders or trajectory files.", show_default=False)
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Checkpoint to start from: a folder, or a name on the hub.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the result; the same command again continues it.", show_default=False)
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML or JSON file with settings, e.g. the train.json of a checkpoint. Its keys are the option names, "
            "with _ for -, and runs. Options typed here win over the file."
        ),
    ] = None,
    masking: Annotated[str, typer.Option(help="Error turns: partial, none or drop; see above.")] = "partial",
    error_weight: Annotated[float, typer.Option(help="Weight of error turns under partial, 0 to 1.")] = 0.0,
    max_length: Annotated[
        int | None, typer.Option(help="The most tokens of a row; longer trajectories are cut into windows.")
    ] = None,
    chat_template: Annotated[
        Path | None,
        typer.Option(
            help="Template to train with instead of the model's own; saved with the result.", show_default=False
        ),
    ] = None,
    template_option: Annotated[
        list[str] | None,
        typer.Option(help="Variable of the template as name=value, e.g. enable_thinking=false; repeatable."),
    ] = None,
    thoughts: Annotated[str, typer.Option(help="Thoughts of replies: text or section; see above.")] = "text",
    packing: Annotated[
        bool, typer.Option("--packing", help="Put several trajectories into one row; needs --max-length.")
    ] = False,
    epochs: Annotated[float, typer.Option(help="Passes over the rows.")] = 3.0,
    max_steps: Annotated[int | None, typer.Option(help="Optimizer steps, instead of --epochs.")] = None,
    learning_rate: Annotated[float, typer.Option(help="Peak of the learning rate.")] = 2e-5,
    batch_size: Annotated[int, typer.Option(help="Rows per device and forward pass.")] = 8,
    accumulate: Annotated[int, typer.Option(help="Forward passes per optimizer step.")] = 1,
    lora_rank: Annotated[
        int | None, typer.Option(help="Train LoRA matrices of this rank; else all parameters.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the order of rows and the new parameters.")] = 0,
    min_score: Annotated[float, typer.Option(help="Drop trajectories with a lower final score.")] = 1.0,
    max_errors: Annotated[
        int | None, typer.Option(help="Drop those with more error turns; the paper's: 1 in WebShop, 2 elsewhere.")
    ] = None,
    allow_unknown: Annotated[
        bool,
        typer.Option("--allow-unknown", help="Keep trajectories with a step on which the teacher gave no verdict."),
    ] = False,
    save_steps: Annotated[
        int | None, typer.Option(help="Steps between checkpoints; if not given, one per epoch.")
    ] = None,
    trainer: Annotated[
        list[str] | None, typer.Option(help="Field of TRL's SFTConfig as name=value; repeatable.")
    ] = None,
    audit: Annotated[
        bool, typer.Option("--audit/--no-audit", help="Log loss and gradient norm by kind of turn, and draw them.")
    ] = True,
    download: Annotated[
        bool, typer.Option("--download", help="Download the model if it is not on this machine.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be trained on.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fine-tune a model as STeP does: on trajectories that succeed with few errors, without loss on the error turns.

    The loss covers exactly the tokens that the model itself would generate in trained turns, for any chat template; how
    this works for the chosen model is printed first. Masks: with partial, error turns stay in the context but are
    excluded from the loss; with none, they are trained on like other turns; with drop, they are removed.

    A template that rewrites the history (Qwen3's removes thoughts) needs one row per trained turn, with several times the
    tokens. --chat-template trains with another template, and saves it with the result, so that a server shows the model
    the same text. So are the variables given with --template-option.

    A reasoning model writes its thought into a section of its template. With --thoughts section, "Thought: ..." of the
    trajectories is trained there; with text, it stays a part of the reply.

    Loss and gradient norm are logged by kind of turn (expert, agent, correction, error) and drawn as audit.png beside the
    checkpoint; the gradient of error turns is exactly 0 if they are excluded. It is planned to add about 5 % of work, and
    adds more with small batches.

    A training that was stopped continues from its last checkpoint. On several GPUs: accelerate launch -m step_envs.cli
    train ... Needs pip install "step-envs[train]".

    Exit codes: 0 done, 2 wrong input.

    Example: step-envs train runs/golden runs/reflected --model checkpoints/base --out checkpoints/step --max-length 4096

    Example: step-envs train --config train.toml --out checkpoints/step

    Example: step-envs train runs/boil --model Qwen/Qwen2.5-0.5B-Instruct --out checkpoints/boil --lora-rank 16 --dry-run
    """
    from step_envs.agents.local.checkpoint import (
        checkpoint_folder,
        load_tokenizer,
        read_template,
        with_template_options,
    )
    from step_envs.cli.config_file import settings
    from step_envs.run_folder import write_model
    from step_envs.specs import read_option
    from step_envs.training.dataset import build_dataset
    from step_envs.training.finetuning import finetune
    from step_envs.training.train_config import TrainConfig

    if out is None and not dry_run:
        raise ValueError("Name the folder of the result with --out, or add --dry-run.")
    for value, missing in ((runs, "a run to train on"), (model, "the checkpoint to start from with --model")):
        if not value and config is None:
            raise ValueError(f"Name {missing}, or a file of settings with --config.")
    extra = {
        "trainer": dict(read_option(pair, "--trainer") for pair in trainer or []),
        "template_options": dict(read_option(pair, "--template-option") for pair in template_option or []),
    }
    chosen = settings(ctx, TrainConfig, config, options=extra)
    console = Console(stderr=True, quiet=not _first_process())
    selection = chosen.select()
    for line in _selection_lines(selection):
        console.print(line, markup=False, soft_wrap=True)
    folder = checkpoint_folder(chosen.model, download=chosen.download)
    tokenizer = load_tokenizer(folder)
    if chosen.chat_template is not None:
        tokenizer.chat_template = read_template(chosen.chat_template)
    if chosen.template_options:
        tokenizer.chat_template = with_template_options(tokenizer.chat_template, chosen.template_options)
    dataset, report = build_dataset(
        selection.kept,
        tokenizer,
        masking=chosen.masking,
        error_weight=chosen.error_weight,
        max_length=chosen.max_length,
        thoughts=chosen.thoughts,
        kinds=chosen.audit,
    )
    for line in report.lines():
        console.print(line, markup=False, soft_wrap=True)
    if dry_run:
        _print_result(as_json, {"out": None}, selection, report)
        return
    assert out is not None
    finetune(
        dataset,
        model=folder,
        out=out,
        config=chosen.finetune_config(),
        tokenizer=tokenizer,
        on_trainer=lambda trainer: _show_progress(trainer, console),
    )
    figures = json.loads((out / "finetune.json").read_text())["figures"]
    if _first_process():
        write_model(out / "train.json", chosen)
        _print_result(as_json, {"out": str(out), "figures": figures}, selection, report)


def _selection_lines(chosen: "Selection") -> list[str]:
    total = len(chosen.kept) + chosen.dropped.total()
    lines = [f"{len(chosen.kept):,} of {total:,} trajectories pass the filters."]
    return lines + [f"  {count:,} dropped: {rule}" for rule, count in sorted(chosen.dropped.items())]


def _print_result(as_json: bool, outcome: dict[str, Any], chosen: "Selection", report: "DatasetReport") -> None:
    if as_json:
        filters = {"kept": len(chosen.kept), "dropped": dict(sorted(chosen.dropped.items()))}
        typer.echo(json.dumps(outcome | {"filters": filters, "rows": report.model_dump()}))
    elif outcome["out"]:
        figures = outcome["figures"]
        typer.echo(
            f"{outcome['out']}: {figures['steps']} steps, loss {figures['loss']:.3f}, "
            f"{figures['seconds'] / 60:.1f} minutes.\n"
            f"Try it: step-envs eval --agent local:model={outcome['out']}"
        )


def _first_process() -> bool:
    import os

    return os.environ.get("RANK", "0") == "0"


def _show_progress(trainer: Any, console: Console) -> None:
    """Print progress, in place of the trainer's own lines."""
    from time import monotonic

    from transformers import PrinterCallback, TrainerCallback

    class Lines(TrainerCallback):  # type: ignore[misc]  # transformers is not followed by the type checker
        """Prints a line whenever the trainer logs."""

        began, first = monotonic(), 0

        def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            """Remember the time and the first step, which is not 0 if a stopped training is continued."""
            self.began, self.first = monotonic(), state.global_step

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
            """Print step, loss and time left."""
            if not logs or "loss" not in logs or state.global_step <= self.first:
                return
            seconds_per_step = (monotonic() - self.began) / (state.global_step - self.first)
            left = seconds_per_step * (state.max_steps - state.global_step) / 60
            console.print(
                f"step {state.global_step} of {state.max_steps}  loss {float(logs['loss']):.3f}  {left:.1f} minutes left",
                highlight=False,
            )

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Lines())
