"""``step-envs train``: fine-tune a model on the trajectories of runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from step_envs.cli.completion import backend_names, recipe_names
from step_envs.cli.exit_codes import INTERRUPTED
from step_envs.cli.options import AsJson, PrintConfig

if TYPE_CHECKING:
    from step_envs.training.recipes import PreparedTraining


def train(
    ctx: typer.Context,
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN...", help="Run folders or trajectory files.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Checkpoint to start from: a folder, a GGUF file, or a name on the hub.", show_default=False),
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
    print_config: PrintConfig = False,
    recipe: Annotated[
        str,
        typer.Option(
            help="Method of training, as name or name:option=value,...; see above and docs/family.md.",
            autocompletion=recipe_names,
        ),
    ] = "step",
    masking: Annotated[
        str | None, typer.Option(help="Error turns: partial (if not given), none or drop; see above.")
    ] = None,
    error_weight: Annotated[float | None, typer.Option(help="Weight of error turns under partial, 0 to 1.")] = None,
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
    epochs: Annotated[
        float | None, typer.Option(help="Passes over the rows; if not given, 3, and 1 for the estimator.")
    ] = None,
    max_steps: Annotated[int | None, typer.Option(help="Optimizer steps, instead of --epochs.")] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="Its peak. If not given: 2e-5; for eto, ipr, grpo and spa-rl 1e-6, for sdft and distillation 1e-5, for "
            "the estimator 3e-6."
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Rows per device and forward pass; if not given, 8, and 2 for the estimator.")
    ] = None,
    accumulate: Annotated[
        int | None, typer.Option(help="Forward passes per optimizer step; if not given, 1, and 2 for the estimator.")
    ] = None,
    lora_rank: Annotated[
        int | None, typer.Option(help="Train LoRA matrices of this rank; else all parameters.")
    ] = None,
    lora_alpha: Annotated[
        int | None, typer.Option(help="Scale of LoRA; if not given, twice the rank.", show_default=False)
    ] = None,
    lora_dropout: Annotated[
        float | None, typer.Option(help="Dropout of LoRA; if not given, 0.", show_default=False)
    ] = None,
    merge_lora: Annotated[
        bool, typer.Option("--merge-lora", help="Save the model with LoRA merged into it, not an adapter.")
    ] = False,
    validation: Annotated[
        float, typer.Option(help="Share of the tasks that is not trained on, and on which the loss is logged.")
    ] = 0.0,
    seed: Annotated[
        int, typer.Option(help="Decides the order of rows, the new parameters, and the tasks of --validation.")
    ] = 0,
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
    logging_steps: Annotated[
        int | None,
        typer.Option(
            help="Steps between entries of the log, --validation's too; if not given, 10.", show_default=False
        ),
    ] = None,
    report_to: Annotated[
        list[str] | None,
        typer.Option(
            help="Also log to tensorboard, trackio or wandb; repeatable. Nothing is sent unless asked.",
            show_default=False,
            autocompletion=backend_names,
        ),
    ] = None,
    trainer: Annotated[
        list[str] | None,
        typer.Option(help="Field of the configuration of TRL's trainer as name=value; repeatable."),
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
    """Train a model on the trajectories of runs, by the recipe of STeP or of one of its relatives.

    The recipe step (STeP) trains on trajectories that succeed with few errors, without loss on the error turns. The others
    are golden, corrections, scripted-errors, dagger, rejection-sampling, steca, eto, ipr, distillation, sdft, grpo and
    spa-rl, and estimator for what spa-rl learns from: docs/family.md sets them side by side. Each picks what it trains on
    by what the record says of an episode: who acted, and whether a teacher watched.

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
    adds more with small batches. loss.svg and loss.png show the losses: training, validation, and by kind of turn.
    README.md is a card of the model: data, mask, filter, command and figures.

    With --validation 0.05, one task in twenty is held out, under the same mask; recipes that play their tasks have none.
    WANDB_MODE=offline keeps what --report-to wandb logs on this machine.

    A training that was stopped continues from its last checkpoint; the first Ctrl-C saves one after the step in work. On
    several GPUs: accelerate launch -m step_envs.cli train ... Needs pip install "step-envs[train]".

    Exit codes: 0 done, 2 wrong input, 130 interrupted.

    Example: step-envs train runs/golden runs/reflected --model checkpoints/base --out checkpoints/step --max-length 4096

    Example: step-envs train runs/golden runs/explored --recipe eto:beta=0.5 --model checkpoints/base --out checkpoints/eto

    Example: step-envs train --config train.toml --out checkpoints/step

    Example: step-envs train runs/boil --model Qwen/Qwen2.5-0.5B-Instruct --out checkpoints/boil --lora-rank 16 --dry-run
    """
    from step_envs.agents.local.checkpoint import (
        checkpoint_folder,
        load_tokenizer,
        read_template,
        with_template_options,
    )
    from step_envs.agents.local.library_messages import quiet_loading
    from step_envs.cli.config_file import settings
    from step_envs.cli.config_output import print_settings
    from step_envs.cli.train_progress import show_progress, stopped_sentence, watched_training
    from step_envs.cli.typed_command import typed_command
    from step_envs.hub.model_facts import is_finished, training_facts, write_card
    from step_envs.run_folder import write_json
    from step_envs.specs import read_option
    from step_envs.training.loss_curves import LOSS_PLOTS
    from step_envs.training.recipes import Watch
    from step_envs.training.reporting import check_backends
    from step_envs.training.train_config import TrainConfig

    if out is None and not dry_run and not print_config:
        raise ValueError("Name the folder of the result with --out, or add --dry-run.")
    for value, missing in ((runs, "a run to train on"), (model, "the checkpoint to start from with --model")):
        if not value and config is None:
            raise ValueError(f"Name {missing}, or a file of settings with --config.")
    extra = {
        "trainer": dict(read_option(pair, "--trainer") for pair in trainer or []),
        "template_options": dict(read_option(pair, "--template-option") for pair in template_option or []),
    }
    chosen = settings(ctx, TrainConfig, config, options=extra)
    console = Console(emoji=False, stderr=True, quiet=not _first_process())
    method = chosen.make_recipe()
    if print_config:
        # A default that is written down would no longer be the recipe's own.
        unset = sorted(set(TrainConfig.model_fields) - chosen.model_fields_set)
        print_settings(chosen, "step-envs train --config FILE --out DIR", unset=unset)
        return
    check_backends(chosen.report_to)
    material = chosen.read()
    folder = checkpoint_folder(chosen.model, download=chosen.download)
    tokenizer = load_tokenizer(folder)
    if chosen.chat_template is not None:
        tokenizer.chat_template = read_template(chosen.chat_template)
    if chosen.template_options:
        tokenizer.chat_template = with_template_options(tokenizer.chat_template, chosen.template_options)
    prepared = method.prepare(material, chosen.start(folder, tokenizer))
    for line in [*_selection_lines(prepared), *prepared.lines]:
        console.print(line, markup=False, soft_wrap=True)
    if dry_run:
        _print_result(as_json, {"out": None}, prepared)
        return
    assert out is not None
    finished = is_finished(out, prepared.record)
    try:
        with quiet_loading(), watched_training() as interrupt:
            watch = Watch(
                lambda trainer: show_progress(trainer, console, interrupt),
                lambda line: console.print(line, markup=False),
            )
            prepared.train(out, watch)
    except KeyboardInterrupt:
        console.print(stopped_sentence(out), markup=False, soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    figures = json.loads((out / prepared.record).read_text())["figures"]
    if _first_process():
        # Without what nobody set: its defaults are the recipe's, and would not be if they were written down.
        write_json(out / "train.json", chosen.model_dump(mode="json", exclude_unset=True))
        write_card(out, training_facts(material, prepared, typed_command(ctx)), renew=not finished)
        plots = [str(out / name) for name in LOSS_PLOTS if (out / name).exists()]
        _print_result(as_json, {"out": str(out), "figures": figures, "plots": plots}, prepared)


def _selection_lines(prepared: "PreparedTraining") -> list[str]:
    total = prepared.kept + prepared.dropped.total()
    if prepared.unit == "trajectories":
        lines = [f"{prepared.kept:,} of {total:,} trajectories pass the filters."]
    else:
        lines = [f"{prepared.kept:,} {prepared.unit}."]
    dropped = sorted((rule, count) for rule, count in prepared.dropped.items() if count)
    return lines + [f"  {count:,} dropped: {rule}" for rule, count in dropped]


def _print_result(as_json: bool, outcome: dict[str, Any], prepared: "PreparedTraining") -> None:
    if as_json:
        filters = {"kept": prepared.kept, "dropped": dict(sorted((+prepared.dropped).items()))}
        typer.echo(json.dumps(outcome | {"filters": filters, "rows": prepared.rows, "validation": prepared.validation}))
    elif outcome["out"]:
        figures = outcome["figures"]
        said = [f"{figures['steps']} steps"] if "steps" in figures else []
        said += [f"loss {figures['loss']:.3f}"] if figures.get("loss") is not None else []
        if figures.get("validation_loss") is not None:
            said.append(f"validation loss {figures['validation_loss']:.3f}")
        said.append(f"{figures['seconds'] / 60:.1f} minutes")
        typer.echo(f"{outcome['out']}: {', '.join(said)}.")
        if outcome["plots"]:
            typer.echo(f"Losses: {', '.join(outcome['plots'])}")
        typer.echo(f"Try it: {prepared.try_it.format(out=outcome['out'])}")


def _first_process() -> bool:
    import os

    return os.environ.get("RANK", "0") == "0"
