"""Write the report of an experiment: ``report.json`` with every figure, ``report.md`` to read, and plots."""

import json
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

from step_envs.files import write_whole
from step_envs.report.tables import Column, Table, written
from step_envs.run_folder import write_json, write_model
from step_envs.statistics import Interval
from step_envs.store import read_trajectories
from step_envs.training.experiments.arms import DESCRIPTIONS, TITLES, ExperimentData
from step_envs.training.experiments.figures import (
    ArmComparison,
    EpisodeFigures,
    RunFigures,
    compare_arms,
    episode_figures,
    run_figures,
)
from step_envs.training.experiments.presets import Arm, Preset
from step_envs.training.experiments.stages import load_data, original_model, read_tasks

_LIBRARIES = ("step-envs", "torch", "transformers", "trl", "datasets")


def write_report(preset: Preset, out: Path) -> Path:
    """Write the report of an experiment whose steps are all done.

    The report is made from the files of the steps alone, so the same experiment gives the same bytes, interrupted or not.

    Args:
        preset: The experiment.
        out: Its folder.

    Returns:
        The folder ``report``.
    """
    from step_envs.training.experiments.plots import draw

    gathered = load_data(preset, out)
    base = _episodes(out / "base-evaluation", out)
    runs = {
        arm: [_episodes(_folder(out, arm, seed) / "evaluation", out) for seed in preset.seeds] for arm in preset.arms
    }
    comparisons = []
    if "step" in runs:
        others: dict[Arm, list[list[EpisodeFigures]]] = {arm: runs[arm] for arm in preset.arms if arm != "step"}
        comparisons = compare_arms("step", others, runs["step"])
    curves = {arm: [_curve(_folder(out, arm, seed) / "model") for seed in preset.seeds] for arm in preset.arms}
    trained = {arm: _trained(out, arm, preset) for arm in preset.arms}
    figures = {
        "preset": preset.name,
        "versions": {name: version(name) for name in _LIBRARIES},
        "original": {
            "model": preset.model or "made from nothing",
            "parameters": _parameters(original_model(preset, out)),
        },
        "tasks": {name: len(names) for name, names in read_tasks(out).items()},
        "collected": _collected(gathered),
        "base": {"trained_steps": preset.base.max_steps, **_outcome(run_figures(base))},
        "arms": {
            arm: {
                "title": TITLES[arm],
                **trained[arm],
                "success_over_seeds": _mean([run_figures(run) for run in runs[arm]]),
                "seeds": {
                    str(seed): _outcome(run_figures(run)) for seed, run in zip(preset.seeds, runs[arm], strict=True)
                },
            }
            for arm in preset.arms
        },
        "comparisons": [_comparison(one, preset) for one in comparisons],
    }
    folder = out / "report"
    folder.mkdir(exist_ok=True)
    write_json(folder / "report.json", figures)
    write_model(folder / "config.json", preset)
    draw(figures, curves, folder)
    write_whole(folder / "report.md", _markdown(preset, figures, comparisons))
    return folder


def _folder(out: Path, arm: Arm, seed: int) -> Path:
    return out / "arms" / arm / f"seed-{seed}"


def _episodes(run: Path, out: Path) -> list[EpisodeFigures]:
    place = {task: index for index, task in enumerate(read_tasks(out)["held_out"])}
    return sorted(map(episode_figures, read_trajectories(run)), key=lambda episode: place[episode.task])


def _parameters(folder: Path) -> int:
    from math import prod

    from safetensors import safe_open

    count = 0
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(str(file), framework="np") as weights:
            count += sum(prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return count


def _collected(gathered: ExperimentData) -> dict[str, Any]:
    kept = gathered.reflected.kept
    turns = [turn for trajectory in kept for turn in trajectory.turns if turn.role == "assistant"]
    return {
        "golden": len(gathered.golden),
        "d1": len(gathered.d1()),
        "d_r": len(kept),
        "d_r_by_errors": {str(errors): n for errors, n in sorted(Counter(one.errors for one in kept).items())},
        "dropped": dict(sorted(gathered.reflected.dropped.items())),
        "error_turns": sum(turn.kind == "error" for turn in turns),
        "correction_turns": sum(turn.kind == "correction" for turn in turns),
        "turns": sum(turn.kind != "instruction" for turn in turns),
        "same_tasks": len(gathered.golden_of_reflected_tasks()),
    }


def _trained(out: Path, arm: Arm, preset: Preset) -> dict[str, Any]:
    folder = _folder(out, arm, preset.seeds[0])
    rows = json.loads((folder / "model-rows.json").read_text())
    log, record = _log(folder / "model"), json.loads((folder / "model" / "finetune.json").read_text())
    return {
        "trajectories": rows["trajectories"],
        "tokens_in_rows": rows["tokens"],
        "trained_tokens_in_rows": rows["trained_tokens"],
        "steps": record["config"]["max_steps"],
        "tokens_seen": record["figures"]["tokens"],
        "final_loss": next((entry["loss"] for entry in reversed(log) if "loss" in entry), None),
    }


def _log(model: Path) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = json.loads((model / "trainer_state.json").read_text())["log_history"]
    return history


def _curve(model: Path) -> list[tuple[int, float]]:
    return [(int(entry["step"]), float(entry["loss"])) for entry in _log(model) if "loss" in entry]


def _outcome(outcome: RunFigures) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, Interval) else value for name, value in outcome._asdict().items()}


def _mean(outcomes: list[RunFigures]) -> float:
    return sum(outcome.success.value or 0.0 for outcome in outcomes) / len(outcomes)


def _comparison(one: ArmComparison, preset: Preset) -> dict[str, Any]:
    return {
        "first": one.first,
        "second": one.second,
        "difference": list(one.difference),
        "by_seed": {
            str(seed): {"difference": list(interval), "mcnemar_p": p}
            for seed, (interval, p) in zip(preset.seeds, one.by_seed, strict=True)
        },
        "p": one.p,
        "p_holm": one.p_adjusted,
        "found": one.found,
    }


def _markdown(preset: Preset, figures: dict[str, Any], comparisons: list[ArmComparison]) -> str:
    collected, tasks = figures["collected"], figures["tasks"]
    seeds = ", ".join(map(str, preset.seeds))
    kept = ", ".join(f"{n:,} with {errors}" for errors, n in collected["d_r_by_errors"].items())
    dropped = "; ".join(f"{n:,} for {rule}" for rule, n in collected["dropped"].items()) or "none"
    base = figures["base"]
    lines = [
        f"# The three stages of STeP, preset {preset.name}",
        "",
        f"Original model: {figures['original']['model']}, {figures['original']['parameters']:,} parameters. Every arm "
        f"begins with it (the last with the base agent, which was trained from it) and takes {preset.training.max_steps:,} "
        f"optimizer steps from it in all. Seeds of training: {seeds}. Every arm is evaluated on the same "
        f"{tasks['held_out']:,} held-out tasks, greedily, with at most {preset.max_steps} steps.",
        "",
        f"- **Golden**: {collected['golden']:,} trajectories of the exploring oracle; D1 is the {collected['d1']:,} of U1.",
        f"- **Base agent**: {base['trained_steps']:,} steps on D1; "
        f"succeeds in {_percent(base['success'])} of the held-out tasks.",
        f"- **D_r**: the base agent played {tasks['u2']:,} tasks of U2 under the oracle teacher. "
        f"Kept: {collected['d_r']:,} ({kept} errors). Dropped: {dropped}. "
        f"Of its {collected['turns']:,} replies, {collected['error_turns']:,} are "
        f"errors and {collected['correction_turns']:,} corrections.",
        "",
        _arms_table(preset, figures).to_markdown(),
        _seeds_table(preset, figures).to_markdown(),
    ]
    if comparisons:
        lines += [_comparisons_table(comparisons).to_markdown(), "What the comparisons say:", ""]
        lines += [f"- {_sentence(one)}" for one in comparisons]
    lines += ["", "![Success](success.png)", "", "![Differences](differences.png)", "", "![Loss](loss.png)", ""]
    lines += ["The arms:", ""] + [f"- **{TITLES[arm]}**: {DESCRIPTIONS[arm]}." for arm in preset.arms]
    libraries = ", ".join(f"{name} {number}" for name, number in figures["versions"].items())
    lines += ["", f"Made with {libraries}. All figures: `report.json`; the configuration: `config.json`.", ""]
    return "\n".join(lines)


def _arms_table(preset: Preset, figures: dict[str, Any]) -> Table:
    columns = [
        Column("Arm"),
        Column("Trajectories", "count"),
        Column("Steps", "count"),
        Column("Tokens seen", "count"),
        Column("Success, mean of seeds", "share"),
        Column("Loss at the end", "score"),
    ]
    rows = [
        (
            arm["title"],
            arm["trajectories"],
            arm["steps"],
            arm["tokens_seen"],
            arm["success_over_seeds"],
            arm["final_loss"],
        )
        for arm in figures["arms"].values()
    ]
    note = (
        f"Steps and tokens of the last arm come on top of the base agent's {figures['base']['trained_steps']:,} steps. "
        "Losses are computed on different trajectories and cannot be compared with each other."
    )
    return Table(
        "arms", "What each arm was trained on", columns, rows, (note,) if "sequential" in figures["arms"] else ()
    )


def _seeds_table(preset: Preset, figures: dict[str, Any]) -> Table:
    columns = [
        Column("Arm"),
        Column("Seed"),
        Column("Success", "share"),
        Column("Steps an episode", "number"),
        Column("Invalid actions", "share"),
        Column("Episodes with one", "count"),
        Column("Success after one", "share"),
        Column("Reflections an episode", "number"),
    ]
    runs = [("base agent", "", figures["base"])]
    runs += [(arm["title"], seed, one) for arm in figures["arms"].values() for seed, one in arm["seeds"].items()]
    rows = [
        (
            title,
            seed,
            Interval(*one["success"]),
            one["steps"],
            one["invalid"],
            one["met"],
            Interval(*one["recovered"]),
            one["reflections"],
        )
        for title, seed, one in runs
    ]
    note = (
        "Intervals are 95 % Wilson intervals. An invalid reply has no effect: it has no action, or one that was not "
        "understood. A reflection is a reply that begins by saying what was wrong with the step before."
    )
    return Table("evaluation", "Evaluation on the held-out tasks", columns, rows, (note,))


def _comparisons_table(comparisons: list[ArmComparison]) -> Table:
    columns = [Column("STeP against"), Column("Difference in success, points", "difference")]
    columns += [Column(f"Seed {index + 1}", "difference") for index in range(len(comparisons[0].by_seed))]
    columns += [Column("McNemar p by seed"), Column("p", "p"), Column("p, Holm", "p"), Column("Verdict")]
    rows = [
        (
            TITLES[one.first],
            one.difference,
            *(interval for interval, _ in one.by_seed),
            ", ".join(written(p, "p") for _, p in one.by_seed),
            one.p,
            one.p_adjusted,
            "a difference" if one.found else "no difference",
        )
        for one in comparisons
    ]
    note = (
        "The difference has a bootstrap interval over tasks and seeds; the differences of single seeds have intervals over "
        "tasks. p is from a permutation test that exchanges the two arms within tasks. We report a difference only if its "
        "interval excludes 0, p after Holm is below 0.05, and no seed shows the opposite sign."
    )
    return Table("comparisons", "STeP beside the other arms, on the same tasks", columns, rows, (note,))


def _sentence(one: ArmComparison) -> str:
    value, low, high = (100 * (number or 0.0) for number in one.difference)
    other = TITLES[one.first]
    if not one.found:
        return f"Against {other}: no difference ({value:+.1f} points, interval {low:+.1f} to {high:+.1f})."
    better = "more" if value > 0 else "less"
    return (
        f"Against {other}: STeP succeeds {abs(value):.1f} points {better} often (interval {low:+.1f} to {high:+.1f})."
    )


def _percent(interval: list[float]) -> str:
    value, low, high = (100 * number for number in interval)
    return f"{value:.1f} % ({low:.1f} to {high:.1f})"
