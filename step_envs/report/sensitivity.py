"""Joins how good teachers are with what became of the models that were trained on their data.

A teacher is measured twice. ``step-envs teacher-eval`` compares its verdicts with the oracle's, on steps that all teachers
judge. An evaluation plays the model that was trained on the episodes it taught. Neither says whether better verdicts made a
better model; side by side, on the same tasks, they do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from step_envs.report import measure
from step_envs.report.gathering import Run
from step_envs.report.tables import Cell, Column, Table
from step_envs.statistics import Interval


@dataclass(frozen=True)
class TaughtModel:
    """The evaluation of a model that was trained on a teacher's data.

    Attributes:
        teacher: Specification of the teacher, as it was measured.
        quality: What ``step-envs teacher-eval`` measured of it.
        run: The episodes that the trained model played.
    """

    teacher: str
    quality: dict[str, Any]
    run: Run


def taught_models(
    named: Sequence[str], runs: Sequence[Run], teacher_reports: Sequence[dict[str, Any]]
) -> list[TaughtModel]:
    """Find teacher and run of each ``TEACHER=RUN``.

    Args:
        named: The texts. A teacher is written as it was measured, a run as the path of one of ``runs``.
        runs: The runs of the report.
        teacher_reports: What ``step-envs teacher-eval --json`` measured.

    Raises:
        ValueError: A teacher was not measured in the environment of its run, or a run is not among ``runs``.
    """
    found = []
    for text in named:
        # A specification has = signs of its own, so the measured ones say where it ends.
        fitting = [one for one in teacher_reports if text.startswith(f"{one['teacher']}=")]
        if not fitting:
            measured = ", ".join(dict.fromkeys(str(one["teacher"]) for one in teacher_reports)) or "none"
            raise ValueError(f"--taught {text!r} names no teacher that was measured (--teacher-eval): {measured}.")
        teacher = max((str(one["teacher"]) for one in fitting), key=len)
        path = Path(text.removeprefix(f"{teacher}=")).resolve()
        run = next((one for one in runs if one.path.resolve() == path), None)
        if run is None:
            raise ValueError(f"--taught {text!r} names {path}, which is not among the runs of the report.")
        quality = next((one for one in fitting if one["teacher"] == teacher and [one["env"]] == run.envs), None)
        if quality is None:
            raise ValueError(
                f"{teacher} was not measured in {', '.join(run.envs)}: give teacher-eval --env {run.envs[0]}."
            )
        found.append(TaughtModel(teacher, quality, run))
    return found


def sensitivity_table(models: Sequence[TaughtModel]) -> Table:
    """Make the table of teachers: quality of their verdicts, and success of what was trained on their data."""
    rows: list[Sequence[Cell]] = []
    for one in models:
        figures = measure.outcome(one.run.episodes)
        other = None if one is models[0] else measure.difference(models[0].run, one.run)
        quality = (Interval(*one.quality[name]) for name in ("precision", "recall", "back_on_track", "unknown"))
        rows.append(
            (
                one.teacher,
                *quality,
                one.run.name,
                figures.episodes,
                figures.success,
                figures.reward,
                None if other is None else other.success,
                None if other is None else other.success_p,
            )
        )
    columns = [Column("Teacher")]
    columns += [Column(name, "share") for name in ("Precision", "Recall", "Back on track", "Unknown")]
    columns += [Column("Trained on its data"), Column("Episodes", "count"), Column("Success", "share")]
    columns += [Column("Reward", "score"), Column("Against the first, points", "difference"), Column("p", "p")]
    notes = [
        "Quality: against the oracle, on the same steps for all teachers (step-envs teacher-eval). Success: of the model "
        "that was trained on the episodes that this teacher taught.",
        "Against the first: on the tasks that both models played. One line is one training; whether a teacher is better is "
        "a question for several training seeds, each a line of its own.",
    ]
    return Table("teacher-sensitivity", "Teachers, and what was trained on their data", columns, rows, notes)
