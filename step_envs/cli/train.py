"""``step-envs train``: fine-tune a model on the trajectories of runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from step_envs.training.dataset import DatasetReport
    from step_envs.training.filters import Selection


def train(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders or trajectory files.", show_default=False)
    ],
    model: Annotated[
        str, typer.Option(help="Checkpoint to start from: a folder, or a name on the hub.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the result; the same again goes on with it.", show_default=False)
    ] = None,
    masking: Annotated[str, typer.Option(help="Error turns: partial, none or drop; see above.")] = "partial",
    error_weight: Annotated[float, typer.Option(help="Weight of error turns under partial, 0 to 1.")] = 0.0,
    max_length: Annotated[
        int | None, typer.Option(help="Tokens a row may have; longer trajectories are cut into windows.")
    ] = None,
    chat_template: Annotated[
        Path | None,
        typer.Option(
            help="Template to train with instead of the model's own; saved with the result.", show_default=False
        ),
    ] = None,
    packing: Annotated[
        bool, typer.Option("--packing", help="Several trajectories in a row; needs --max-length.")
    ] = False,
    epochs: Annotated[float, typer.Option(help="Times through the rows.")] = 3.0,
    max_steps: Annotated[int | None, typer.Option(help="Optimizer steps, instead of --epochs.")] = None,
    learning_rate: Annotated[float, typer.Option(help="Peak of the learning rate.")] = 2e-5,
    batch_size: Annotated[int, typer.Option(help="Rows a device and forward pass.")] = 8,
    accumulate: Annotated[int, typer.Option(help="Forward passes an optimizer step.")] = 1,
    lora_rank: Annotated[
        int | None, typer.Option(help="Train LoRA matrices of this rank; else all parameters.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the order of rows and of new parameters.")] = 0,
    min_score: Annotated[float, typer.Option(help="Drop trajectories with a lower final score.")] = 1.0,
    max_errors: Annotated[
        int | None, typer.Option(help="Drop those with more error turns; the paper's: 1 in WebShop, 2 elsewhere.")
    ] = None,
    allow_unknown: Annotated[
        bool, typer.Option("--allow-unknown", help="Keep trajectories with a step the teacher gave no verdict on.")
    ] = False,
    save_steps: Annotated[int | None, typer.Option(help="Steps between checkpoints; without: one an epoch.")] = None,
    trainer: Annotated[
        list[str] | None, typer.Option(help="Field of TRL's SFTConfig as name=value; may be given again.")
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch a named model that is not on this machine.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be trained on.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fine-tune a model on what the paper keeps: trajectories that succeed with few errors, error turns without loss.

    Exactly the tokens that the model itself would generate in trained turns carry loss, for any chat template; what that
    meant for this model is said first. Masks: with partial, error turns stay in the context without loss; with none they
    are trained like the others; with drop they are taken out.

    A template that rewrites the history (Qwen3's takes thoughts out) makes a row of every trained turn, with several times
    the tokens; --chat-template trains with one that does not, and saves it with the result, so that a server shows the
    model the same.

    A run that was stopped goes on from its last checkpoint. On several GPUs: accelerate launch -m step_envs.cli train ...
    Needs pip install "step-envs[train]".

    Exit codes: 0 done, 2 wrong input.

    Example: step-envs train runs/golden runs/reflected --model checkpoints/base --out checkpoints/step --max-length 4096

    Example: step-envs train runs/boil --model Qwen/Qwen2.5-0.5B-Instruct --out checkpoints/boil --lora-rank 16 --dry-run
    """
    from step_envs.agents.local.checkpoint import checkpoint_folder, load_tokenizer, read_template
    from step_envs.specs import read_option
    from step_envs.training.dataset import build_dataset
    from step_envs.training.finetuning import FinetuneConfig, finetune
    from step_envs.training.masking import check_masking

    if out is None and not dry_run:
        raise ValueError("Name the folder of the result with --out, or add --dry-run.")
    config = FinetuneConfig(
        learning_rate=learning_rate,
        epochs=epochs,
        max_steps=max_steps,
        batch_size=batch_size,
        accumulate=accumulate,
        packing=packing,
        max_length=max_length,
        lora_rank=lora_rank,
        seed=seed,
        save_steps=save_steps,
        trainer=dict(read_option(pair, "--trainer") for pair in trainer or []),
    )
    console = Console(stderr=True, quiet=not _first_process())
    chosen = _selected(runs, min_score, max_errors, allow_unknown)
    for line in _filtered(chosen):
        console.print(line, markup=False, soft_wrap=True)
    folder = checkpoint_folder(model, download=download)
    tokenizer = load_tokenizer(folder)
    if chat_template is not None:
        tokenizer.chat_template = read_template(chat_template)
    dataset, report = build_dataset(
        chosen.kept,
        tokenizer,
        masking=check_masking(masking),
        error_weight=error_weight,
        max_length=max_length,
    )
    for line in report.lines():
        console.print(line, markup=False, soft_wrap=True)
    if dry_run:
        _say(as_json, {"out": None}, chosen, report)
        return
    assert out is not None
    finetune(
        dataset,
        model=folder,
        out=out,
        config=config,
        tokenizer=tokenizer,
        on_trainer=lambda trainer: _show_progress(trainer, console),
    )
    figures = json.loads((out / "finetune.json").read_text())["figures"]
    if _first_process():
        _say(as_json, {"out": str(out), "figures": figures}, chosen, report)


def _selected(runs: list[Path], min_score: float, max_errors: int | None, allow_unknown: bool) -> "Selection":
    from step_envs.store import read_trajectories
    from step_envs.training.filters import select

    return select(
        (trajectory for run in runs for trajectory in read_trajectories(run)),
        min_score=min_score,
        max_errors=max_errors,
        allow_unknown=allow_unknown,
    )


def _filtered(chosen: "Selection") -> list[str]:
    total = len(chosen.kept) + chosen.dropped.total()
    lines = [f"{len(chosen.kept):,} of {total:,} trajectories pass the filters."]
    return lines + [f"  {count:,} dropped: {rule}" for rule, count in sorted(chosen.dropped.items())]


def _say(as_json: bool, outcome: dict[str, Any], chosen: "Selection", report: "DatasetReport") -> None:
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
    """Say how far it is, instead of the trainer's own lines."""
    from time import monotonic

    from transformers import PrinterCallback, TrainerCallback

    class Lines(TrainerCallback):  # type: ignore[misc]  # transformers is not followed by the type checker
        """Prints a line whenever the trainer logs."""

        began, first = monotonic(), 0

        def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            """Take the time, and the step that a run which was stopped goes on from."""
            self.began, self.first = monotonic(), state.global_step

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
            """Print step, loss and time left."""
            if not logs or "loss" not in logs or state.global_step <= self.first:
                return
            pace = (monotonic() - self.began) / (state.global_step - self.first)
            left = pace * (state.max_steps - state.global_step) / 60
            console.print(
                f"step {state.global_step} of {state.max_steps}  loss {float(logs['loss']):.3f}  {left:.1f} minutes left",
                highlight=False,
            )

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Lines())
