"""Write the report of an experiment: its records, ``report.json`` with every figure, ``report.md`` to read, and plots.

A report is made from the records of its seeds alone (see ``seed_records``), so the same seeds give the same bytes, whether
they were run at once, with interruptions, or on several machines.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

from step_envs.files import write_whole
from step_envs.run_folder import write_json
from step_envs.statistics import Interval
from step_envs.training.experiments.arm_comparisons import ArmComparison, compare_arms
from step_envs.training.experiments.arms import ARM_DESIGNS
from step_envs.training.experiments.episode_figures import RunFigures, measure_run
from step_envs.training.experiments.experiment_config import Arm, ExperimentConfig
from step_envs.training.experiments.seed_records import ArmRecord, SeedRecord, make_record, read_records, write_records
from step_envs.training.experiments.seed_statistics import detectable, seed_interval

_LIBRARIES = ("step-envs", "torch", "transformers", "trl", "datasets")
_RATES = ("score", "steps", "first_pass", "invalid", "unknown_names", "repeated", "idle", "lost", "reflections")


def write_report(config: ExperimentConfig, out: Path) -> Path:
    """Write the report of an experiment whose steps are all done.

    Args:
        config: The experiment.
        out: Its folder.

    Returns:
        The folder ``report``.
    """
    return _write(config, [make_record(config, out, seed) for seed in config.seeds], out / "report")


def merge_reports(folders: Sequence[Path], out: Path) -> Path:
    """Write one report of the seeds of several.

    Args:
        folders: Folders of reports or experiments that differ in nothing but seeds and arms.
        out: Folder of the new report.

    Returns:
        The folder.

    Raises:
        StoreError: A folder holds no report.
        DataError: Two of them are of different experiments, or hold the same seed.
    """
    config, records = read_records(folders)
    return _write(config, records, out)


def _write(config: ExperimentConfig, records: Sequence[SeedRecord], folder: Path) -> Path:
    from step_envs.training.experiments.plots import draw
    from step_envs.training.experiments.report_text import markdown_report

    figures = report_figures(config, records)
    write_records(config, records, folder)
    write_json(folder / "report.json", figures)
    draw(figures, records, folder)
    write_whole(folder / "report.md", markdown_report(config, figures))
    return folder


def report_figures(config: ExperimentConfig, records: Sequence[SeedRecord]) -> dict[str, Any]:
    """Compute the figures of a report: the content of ``report.json``.

    Args:
        config: The experiment.
        records: The records of its seeds.
    """
    comparisons = _compare(config, records, "success")
    sds = [one.test.sd for one in comparisons if one.test.sd]
    scored = any(episode.score not in (0, 1) for record in records for episode in record.episodes("base"))
    return {
        "preset": config.name,
        "env": config.env,
        "versions": {name: version(name) for name in _LIBRARIES},
        "original": {"model": config.model or "made from nothing", "parameters": records[0].parameters},
        "seeds": [record.seed for record in records],
        "shared": config.shared,
        "held_out": len(records[0].tasks),
        "collected": {str(record.seed): record.collected for record in records},
        "gate": _gate(config, records),
        "base": _arm_figures("base agent", [(record.seed, record.base, record.episodes("base")) for record in records]),
        "arms": {
            arm: _arm_figures(ARM_DESIGNS[arm].title, [(one.seed, one.arms[arm], one.episodes(arm)) for one in records])
            for arm in config.arms
        },
        "detectable": detectable(fmean(sds), len(records)) if sds and len(records) > 1 else None,
        "margin": config.margin,
        "comparisons": [_comparison(one, records) for one in comparisons],
        "score_comparisons": (
            [_comparison(one, records) for one in _compare(config, records, "score")] if scored else []
        ),
    }


def _compare(
    config: ExperimentConfig, records: Sequence[SeedRecord], figure: Literal["success", "score"]
) -> list[ArmComparison]:
    if "step" not in config.arms:
        return []
    runs = {arm: [record.episodes(arm) for record in records] for arm in config.arms}
    others: dict[Arm, Any] = {arm: runs[arm] for arm in config.arms if arm != "step"}
    return compare_arms("step", runs["step"], others, against=config.against, figure=figure, margin=config.margin)


def _gate(config: ExperimentConfig, records: Sequence[SeedRecord]) -> dict[str, Any] | None:
    if config.gate is None:
        return None
    by_seed = {}
    for record in records:
        found = measure_run(record.episodes("base"))
        met = config.gate.met(found.success.value or 0.0, found.invalid)
        by_seed[str(record.seed)] = {"success": found.success.value, "invalid": found.invalid, "met": met}
    return {"success": list(config.gate.success), "invalid": config.gate.invalid, "seeds": by_seed}


def _arm_figures(title: str, runs: Sequence[tuple[int, ArmRecord, Any]]) -> dict[str, Any]:
    outcomes = [measure_run(episodes) for _, _, episodes in runs]
    records = [record for _, record, _ in runs]
    successes = [outcome.success.value or 0.0 for outcome in outcomes]
    recovered = [outcome.recovered.value for outcome in outcomes if outcome.recovered.value is not None]
    return {
        "title": title,
        "optimizer_steps": records[0].steps,
        "trajectories": fmean(record.trajectories for record in records),
        "tokens_in_rows": fmean(record.tokens_in_rows for record in records),
        "trained_tokens_in_rows": fmean(record.trained_tokens_in_rows for record in records),
        "tokens_seen": fmean(record.tokens_seen for record in records),
        "final_loss": _mean([record.curve[-1][1] for record in records if record.curve]),
        "success": list(seed_interval(successes)),
        "success_sd": stdev(successes) if len(successes) > 1 else None,
        "recovered": _mean(recovered),
        **{name: _mean([getattr(outcome, name) for outcome in outcomes]) for name in _RATES},
        "seeds": {str(seed): _outcome(outcome) for (seed, _, _), outcome in zip(runs, outcomes, strict=True)},
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of what was measured; None where nothing was."""
    measured = [value for value in values if value is not None]
    return fmean(measured) if measured else None


def _outcome(outcome: RunFigures) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, Interval) else value for name, value in outcome._asdict().items()}


def _comparison(one: ArmComparison, records: Sequence[SeedRecord]) -> dict[str, Any]:
    by_seed: Mapping[str, float] = {
        str(record.seed): difference for record, difference in zip(records, one.by_seed, strict=True)
    }
    return {
        "first": one.first,
        "second": one.second,
        "main": one.main,
        "difference": list(one.test.difference),
        "sd": one.test.sd,
        "by_seed": by_seed,
        "p": one.test.p,
        "p_flips": one.test.p_flips,
        "p_equivalence": one.test.p_equivalence,
        "p_holm": one.p,
        "p_equivalence_holm": one.p_equivalence,
        "verdict": one.verdict,
    }
