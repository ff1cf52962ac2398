"""The steps of an experiment; each has its own folder and can continue where it was stopped.

A step is identified by its name alone, and ``run_step(preset, out, name)`` runs it in any process. Nothing is handed on in
memory: a step reads the files of the steps that it needs (``plan_steps`` lists them), and writes its results under ``out``:

- ``text/play``, ``text/samples``: pretraining text of a tiny model; ``original/``, ``pretrained/``: that model
- ``tasks.json``: U1, U2 and the held-out tasks; ``golden/<part>``: runs of the oracle over U1 and U2
- ``base/``: the base agent; ``collected/<part>``: its runs over U2 under the teacher
- ``base-evaluation/``: its run over the held-out tasks
- ``arms/<arm>/seed-<n>/model`` and ``.../evaluation``: the model of every arm and its run over the held-out tasks
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from step_envs.errors import DataError
from step_envs.file_reading import read_json
from step_envs.run_folder import write_json
from step_envs.store import read_trajectories
from step_envs.training.experiments.arms import ExperimentData, arm_training
from step_envs.training.experiments.presets import Arm, Preset
from step_envs.training.filters import halve_tasks, select
from step_envs.training.finetuning import FinetuneConfig
from step_envs.training.masking import Masking
from step_envs.trajectory import Trajectory

# What is known about the world is here, in world_names() and in presets: another world is another set of these.
ENV = "STeP-ALFWorld-v0"

_GOLDEN_ONLY = ("d1", "golden")
_SAMPLED_AGENT = "novice:error_rate=0.4"


class ExperimentStep(NamedTuple):
    """A step of an experiment: its name, its stage, and the names of the steps that it needs."""

    name: str
    stage: str
    needs: tuple[str, ...] = ()


def plan_steps(preset: Preset) -> list[ExperimentStep]:
    """List the steps in the order in which they are started once the steps that they need are done."""
    original = "pretrain" if preset.pretraining else "original"
    golden = tuple(f"golden:{part}" for part in range(preset.workers))
    collected = tuple(f"collect:{part}" for part in range(preset.workers))
    steps = [ExperimentStep("tasks", "golden")]
    if preset.pretraining:
        steps += [
            ExperimentStep("samples", "original"),
            ExperimentStep("play", "original"),
            ExperimentStep("original", "original", ("play", "samples")),
            ExperimentStep("pretrain", "original", ("original", "play")),
        ]
    else:
        steps.append(ExperimentStep("original", "original"))
    steps += [ExperimentStep(name, "golden", ("tasks",)) for name in golden]
    steps.append(ExperimentStep("base", "base", (original, *golden)))
    steps += [ExperimentStep(name, "collect", ("base",)) for name in collected]
    steps.append(ExperimentStep("evaluate:base", "evaluate", ("base",)))
    # Arms that need no reflected trajectories do not wait for them.
    early: list[Arm] = [arm for arm in preset.arms if arm in _GOLDEN_ONLY]
    late: list[Arm] = [arm for arm in preset.arms if arm not in _GOLDEN_ONLY]
    for arms, needs in ((early, (original, *golden)), (late, (original, *golden, "base", *collected))):
        for seed in preset.seeds:
            for arm in arms:
                steps.append(ExperimentStep(f"train:{arm}:{seed}", "train", needs))
                steps.append(ExperimentStep(f"evaluate:{arm}:{seed}", "evaluate", (f"train:{arm}:{seed}",)))
    return steps


def run_step(preset: Preset, out: Path, name: str) -> dict[str, Any]:
    """Run a step, or the rest of it.

    Args:
        preset: The experiment.
        out: Its folder, as an absolute path.
        name: Name of the step.

    Returns:
        Figures about what was done.
    """
    kind, *rest = name.split(":")
    steps: dict[str, Callable[..., dict[str, Any]]] = {
        "tasks": _tasks,
        "play": _play,
        "samples": _samples,
        "golden": _golden,
        "original": _original,
        "pretrain": _pretrain,
        "base": _base,
        "collect": _collect,
        "train": _train,
        "evaluate": _evaluate,
    }
    return steps[kind](preset, out, *rest)


def original_model(preset: Preset, out: Path) -> Path:
    """Return the folder of the original model."""
    if preset.pretraining is not None:
        return out / "pretrained"
    from step_envs.agents.local.checkpoint import checkpoint_folder

    assert preset.model is not None
    return checkpoint_folder(preset.model, download=preset.download)


def load_data(preset: Preset, out: Path, *, reflected: bool = True) -> ExperimentData:
    """Read the trajectories that arms are trained on, in the order of their tasks, from whichever worker collected them.

    Args:
        preset: The experiment.
        out: Its folder.
        reflected: Also read what was collected under the teacher; if False, D_r is empty.
    """
    tasks = read_tasks(out)
    golden = _parts(preset, out / "golden", (*tasks["u1"], *tasks["u2"]))
    collected = _parts(preset, out / "collected", tasks["u2"]) if reflected else []
    return ExperimentData(
        golden=select(golden).kept,
        u1=frozenset(tasks["u1"]),
        reflected=select(collected, max_errors=preset.max_errors),
    )


def read_tasks(out: Path) -> dict[str, list[str]]:
    """Read the tasks of U1, U2 and the held-out set."""
    found: dict[str, list[str]] = read_json(out / "tasks.json")
    return found


def _parts(preset: Preset, runs: Path, tasks: Iterable[str]) -> list[Trajectory]:
    place = {task: index for index, task in enumerate(tasks)}
    trajectories = [one for part in range(preset.workers) for one in read_trajectories(runs / str(part))]
    return sorted(trajectories, key=lambda one: place[one.task_id])


def _by_episode(run: Path) -> list[Trajectory]:
    return sorted(read_trajectories(run), key=lambda one: one.episode or 0)


def _tasks(preset: Preset, out: Path) -> dict[str, Any]:
    u1, u2 = halve_tasks(preset.task_ids("golden"), seed=preset.seed)
    tasks = {"u1": u1, "u2": u2, "held_out": preset.task_ids("held_out")}
    write_json(out / "tasks.json", tasks)
    return {name: len(names) for name, names in tasks.items()}


def _play_tasks(
    preset: Preset,
    run: Path,
    tasks: tuple[str, ...],
    agent: str,
    teacher: str | None = None,
    concurrency: int = 1,
    **options: Any,
) -> dict[str, Any]:
    from step_envs.collection.collector import collect
    from step_envs.collection.config import CollectConfig
    from step_envs.collection.failures import read_failures

    config = CollectConfig(
        env=ENV,
        env_options=preset.env_options(**options),
        tasks=tasks,
        episodes=len(tasks),
        agent=agent,
        teacher=teacher,
        max_errors=preset.max_errors if teacher else None,
        style=preset.style,
        seed=preset.seed,
    )
    figures = collect(config, run, resume=run.exists(), concurrency=concurrency)
    if figures.failed:
        last = read_failures(run)[-1]
        raise DataError(f"{figures.failed} episodes of {run} failed, the last: {last.reason}")
    return {"episodes": figures.kept, "successes": figures.successes}


def _play(preset: Preset, out: Path) -> dict[str, Any]:
    assert preset.pretraining is not None
    steps = preset.pretraining.play_steps
    return _play_tasks(preset, out / "text" / "play", preset.task_ids("play"), "random", max_steps=steps)


def _samples(preset: Preset, out: Path) -> dict[str, Any]:
    return _play_tasks(preset, out / "text" / "samples", preset.task_ids("samples"), _SAMPLED_AGENT, "oracle")


def _golden(preset: Preset, out: Path, part: str) -> dict[str, Any]:
    tasks = read_tasks(out)
    mine = (*tasks["u1"], *tasks["u2"])[int(part) :: preset.workers]
    return _play_tasks(preset, out / "golden" / part, mine, "oracle")


def _original(preset: Preset, out: Path) -> dict[str, Any]:
    if preset.pretraining is None:
        return {"model": str(original_model(preset, out))}
    from step_envs.training.tiny_model import learn_tokenizer, make_tiny_model

    # Corrected episodes contain words of every kind that an arm is trained on, so no arm needs more tokens for its words.
    texts = [
        turn.content
        for run in ("play", "samples")
        for trajectory in _by_episode(out / "text" / run)[: preset.pretraining.samples]
        for turn in trajectory.turns
    ]
    tokenizer = learn_tokenizer(texts, world_names(), preset.pretraining.size.vocabulary)
    make_tiny_model(tokenizer, preset.pretraining.size, out / "original")
    return {"tokens": len(tokenizer)}


def world_names() -> tuple[str, ...]:
    """Return the names of things and places in the world, which become tokens of a tiny model."""
    from step_envs.alfworld.generation.vocabulary import RECEPTACLES, THINGS

    return tuple(sorted({name.lower() for name in (*RECEPTACLES, *THINGS)}))


def _pretrain(preset: Preset, out: Path) -> dict[str, Any]:
    import datasets

    from step_envs.agents.local.checkpoint import load_tokenizer
    from step_envs.training.finetuning import finetune, remove_trainer_checkpoints
    from step_envs.training.tiny_model_text import copying_texts, language_rows

    made = preset.pretraining
    assert made is not None and made.training.max_length is not None
    tokenizer = load_tokenizer(out / "original")
    play = _by_episode(out / "text" / "play")
    texts = copying_texts(world_names(), made.copying, seed=preset.seed)
    rows = language_rows(tokenizer, play, texts, max_length=made.training.max_length)
    dataset = datasets.Dataset.from_dict({name: [row[name] for row in rows] for name in ("input_ids", "labels")})
    finetune(dataset, model=out / "original", out=out / "pretrained", config=made.training, tokenizer=tokenizer)
    remove_trainer_checkpoints(out / "pretrained")
    return {"rows": len(rows), "tokens": sum(len(row["input_ids"]) for row in rows)}


def _base(preset: Preset, out: Path) -> dict[str, Any]:
    d1 = load_data(preset, out, reflected=False).d1()
    config = preset.base.model_copy(update={"seed": preset.seed})
    return _finetune(d1, "partial", original_model(preset, out), out / "base", config)


def _collect(preset: Preset, out: Path, part: str) -> dict[str, Any]:
    u2 = tuple(read_tasks(out)["u2"])[int(part) :: preset.workers]
    agent = _agent(preset, out / "base")
    return _play_tasks(preset, out / "collected" / part, u2, agent, "oracle", preset.concurrency)


def _train(preset: Preset, out: Path, arm: Arm, seed: str) -> dict[str, Any]:
    training = arm_training(arm, load_data(preset, out, reflected=arm not in _GOLDEN_ONLY), preset)
    start = out / "base" if training.from_base else original_model(preset, out)
    config = preset.training.model_copy(update={"seed": int(seed), "max_steps": training.steps})
    folder = out / "arms" / arm / f"seed-{seed}"
    return _finetune(training.trajectories, training.masking, start, folder / "model", config)


def _finetune(
    trajectories: list[Trajectory], masking: Masking, model: Path, out: Path, config: FinetuneConfig
) -> dict[str, Any]:
    from step_envs.agents.local.checkpoint import load_tokenizer
    from step_envs.training.dataset import build_dataset
    from step_envs.training.finetuning import finetune, remove_trainer_checkpoints

    tokenizer = load_tokenizer(model)
    dataset, report = build_dataset(trajectories, tokenizer, masking=masking, max_length=config.max_length)
    finetune(dataset, model=model, out=out, config=config, tokenizer=tokenizer)
    remove_trainer_checkpoints(out)
    write_json(out.parent / f"{out.name}-rows.json", report.model_dump())
    return {"rows": report.rows, "tokens": report.tokens, "steps": config.max_steps}


def _evaluate(preset: Preset, out: Path, arm: str, seed: str = "") -> dict[str, Any]:
    folder = out / "arms" / arm / f"seed-{seed}" if seed else out / arm
    model = folder / "model" if seed else folder
    run = folder / "evaluation" if seed else out / f"{arm}-evaluation"
    held_out = tuple(read_tasks(out)["held_out"])
    return _play_tasks(preset, run, held_out, _agent(preset, model), None, preset.concurrency)


def _agent(preset: Preset, model: Path) -> str:
    return f"local:model={model},max_tokens={preset.max_tokens},batch={preset.concurrency}"
