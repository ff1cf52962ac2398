"""Makes the tables of a report and writes its main findings as sentences."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from step_envs.report import measure
from step_envs.report.along_episodes import GRID, REPLY_KINDS, replies_by_step, time_use, value_curves
from step_envs.report.gathering import Run
from step_envs.report.tables import Cell, Column, Table, written
from step_envs.statistics import Interval

_INTERVALS = (
    "In brackets, 95 % intervals: Wilson's where each task comes once, else by drawing whole tasks (bootstrap)."
)


def all_tables(runs: Sequence[Run], teacher_reports: Sequence[dict[str, Any]] = ()) -> list[Table]:
    """Make all tables for which the runs have data."""
    tables = [
        runs_table(runs),
        outcomes_table(runs),
        differences_table(runs),
        recovery_table(runs),
        kinds_table(runs),
        categories_table(runs),
        steps_table(runs),
        replies_table(runs),
        values_table(runs),
        verdicts_table(runs),
        agreement_table(runs),
        teachers_table(teacher_reports),
        costs_table(runs),
        time_table(runs),
    ]
    return [table for table in tables if table.rows]


def runs_table(runs: Sequence[Run]) -> Table:
    """Make the table of the runs: environment, agent, teacher, digest."""
    rows = [
        (
            run.name,
            ", ".join(run.envs),
            ", ".join(run.agents),
            ", ".join(run.teachers),
            len(run.episodes),
            run.digest[:12],
        )
        for run in runs
    ]
    columns = [Column(name) for name in ("Run", "Environment", "Agent", "Teacher")]
    columns += [Column("Episodes", "count"), Column("SHA-256 of its trajectories")]
    return Table("runs", "The runs", columns, rows)


def outcomes_table(runs: Sequence[Run]) -> Table:
    """Give success and reward by split and task type."""
    rows: list[Sequence[Cell]] = []
    fewest = None
    for run in runs:
        for split, name, one in measure.by_split_and_type(run):
            rows.append((run.name, split, name, one.episodes, one.tasks, one.success, one.reward, one.steps))
            fewest = one.tasks if fewest is None else min(fewest, one.tasks)
    columns = [
        Column("Run"),
        Column("Split"),
        Column("Task type"),
        Column("Episodes", "count"),
        Column("Tasks", "count"),
    ]
    columns += [Column("Success", "share"), Column("Reward", "score"), Column("Steps", "score")]
    notes = [_INTERVALS, "A mean without brackets: all are alike, or of one task, and no interval can be told."]
    if fewest is not None and fewest < measure.FEW:
        notes.append(f"Lines of fewer than {measure.FEW} tasks are of few: read their intervals, not their figures.")
    return Table("outcomes", "Success and reward by split and task type", columns, rows, notes)


def differences_table(runs: Sequence[Run]) -> Table:
    """Make the table that compares every pair of runs on the tasks that both played."""
    rows: list[Sequence[Cell]] = []
    for first, second in combinations(runs, 2):
        found = measure.difference(first, second)
        if found is not None:
            rows.append(
                (
                    first.name, second.name, found.pairs, found.tasks, found.success, found.only_first, found.only_second,
                    found.success_p, found.reward, found.reward_p, found.verdict(),
                )
            )  # fmt: skip
    columns = [Column("First"), Column("Second"), Column("Pairs", "count"), Column("Tasks", "count")]
    columns += [Column("Success, points", "difference"), Column("Only first", "count"), Column("Only second", "count")]
    columns += [
        Column("p of success", "p"),
        Column("Reward", "change"),
        Column("p of reward", "p"),
        Column("Success says"),
    ]
    notes = [
        "Second minus first, episode by episode on the same tasks; intervals by drawing whole tasks.",
        "p of success: McNemar's exact test where each task comes once, else signs flipped by task; p of reward: signs "
        "flipped by task. A difference whose interval holds 0, or with p above 0.05, is called none.",
    ]
    if len(rows) > 1:
        notes.append(f"{len(rows)} comparisons were made, and p is not corrected for it.")
    return Table("differences", "Paired differences on the same tasks", columns, rows, notes)


def recovery_table(runs: Sequence[Run]) -> Table:
    """Make the table of how often episodes with an error still succeeded."""
    rows: list[Sequence[Cell]] = []
    for run in runs:
        one = measure.recovery(run)
        rows.append((run.name, one.stumbled, one.recovered, one.smooth, one.smooth_success, one.corrected))
    columns = [Column("Run"), Column("With an error", "count"), Column("Success with", "share")]
    columns += [Column("Without", "count"), Column("Success without", "share"), Column("Errors corrected", "share")]
    note = "With an error: a reply judged wrong, without an action, or that changed nothing in the world."
    return Table("recovery", "Recovery", columns, rows, [note, _INTERVALS])


def kinds_table(runs: Sequence[Run]) -> Table:
    """Make the table of errors by kind."""
    rows: list[Sequence[Cell]] = [
        (run.name, one.kind, one.number, one.share, one.success) for run in runs for one in measure.errors_by_kind(run)
    ]
    columns = [Column("Run"), Column("Kind"), Column("Errors", "count"), Column("Share", "share")]
    columns.append(Column("Episodes with one succeed", "share"))
    note = (
        "The first kind that fits: the reply held no action; it closed the way to success (fatal); it repeats the step "
        "before; the world did not change; all others."
    )
    return Table("errors-by-kind", "Errors by kind", columns, rows, [note, _INTERVALS])


def categories_table(runs: Sequence[Run]) -> Table:
    """Make the table of errors by the category that the teacher put them into."""
    rows: list[Sequence[Cell]] = [
        (run.name, one.kind, one.number, one.share, one.success)
        for run in runs
        for one in measure.errors_by_category(run)
    ]
    columns = [Column("Run"), Column("Category"), Column("Errors", "count"), Column("Share", "share")]
    columns.append(Column("Episodes with one succeed", "share"))
    note = "What failed in the agent, in the teacher's words: the modules of AgentDebug (arXiv 2509.25370)."
    return Table("errors-by-category", "Errors by category", columns, rows, [note, _INTERVALS])


def steps_table(runs: Sequence[Run]) -> Table:
    """Return the share of wrong replies by step number."""
    rows: list[Sequence[Cell]] = []
    for run in runs:
        if any(one.errors for one in run.episodes):
            rows += [(run.name, step, number, share) for step, number, share in measure.errors_by_step(run)]
    columns = [Column("Run"), Column("Step"), Column("Replies", "count"), Column("Wrong", "share")]
    note = (
        "The teacher's own replies count as steps, but not among those that can be wrong; nor do replies that were not "
        "judged or whose verdict is unknown."
    )
    return Table("errors-by-step", "Errors by step", columns, rows, [note, _INTERVALS])


def replies_table(runs: Sequence[Run]) -> Table:
    """Make the table of the kinds of replies at every step."""
    found = [(run.name, step) for run in runs for step in replies_by_step(run)]
    kinds = [kind for kind in REPLY_KINDS if any(kind in step.shares for _, step in found)]
    rows: list[Sequence[Cell]] = [
        (name, step.step, step.episodes, step.replies, *(step.shares.get(kind, 0.0) for kind in kinds))
        for name, step in found
    ]
    columns = [Column("Run"), Column("Step"), Column("Episodes that get there", "count"), Column("Replies", "count")]
    columns += [Column(REPLY_KINDS[kind].capitalize(), "share") for kind in kinds]
    note = (
        "Right again: the agent's first right reply after an error. An effect again: the first reply that has one, after "
        "one without, where nobody judges. An unknown verdict counts as not judged."
    )
    return Table("replies-by-step", "Kinds of replies by step", columns, rows, [note])


def values_table(runs: Sequence[Run]) -> Table:
    """Make the table of the values along the episodes of annotated runs."""
    rows: list[Sequence[Cell]] = []
    for run in runs:
        for curve in value_curves(run):
            mean = [curve.mean[GRID.index(percent)] for percent in (0, 25, 50, 75, 100)]
            rows.append((run.name, ", ".join(run.valued_by), curve.outcome, curve.episodes, *mean))
    columns = [Column("Run"), Column("Valued by"), Column("Outcome"), Column("Episodes", "count")]
    columns += [Column(name, "score") for name in ("Value at the start", "at 25 %", "at 50 %", "at 75 %", "at the end")]
    note = "Means; each episode is laid out from its start (0 %) to its end (100 %)."
    return Table("values", "Value along an episode", columns, rows, [note])


def verdicts_table(runs: Sequence[Run]) -> Table:
    """Make the table of the teachers' verdicts."""
    rows: list[Sequence[Cell]] = []
    for run in runs:
        one = measure.verdicts(run)
        if one.judged:
            said = (one.judged, one.unjudged, one.error, one.unknown, one.trained)
            rows.append((run.name, ", ".join(run.teachers), *said))
    columns = [Column("Run"), Column("Teacher"), Column("Verdicts", "count"), Column("Steps not judged", "count")]
    columns += [Column("Error", "share")]
    columns += [Column("Unknown", "share"), Column("Replies fit to train on", "share")]
    note = "Without the step that completes a task, which is right without a teacher being asked."
    return Table("verdicts", "Verdicts", columns, rows, [note, _INTERVALS])


def agreement_table(runs: Sequence[Run]) -> Table:
    """Compare teachers with the oracle on the steps that both judged after the same history."""
    rows: list[Sequence[Cell]] = []
    for oracle in runs:
        for other in runs:
            if oracle.teachers == ["oracle"] and other.teachers not in (["oracle"], ["none"]):
                found = measure.agreement(oracle, other)
                if found is not None:
                    teacher = ", ".join(other.teachers)
                    rows.append(
                        (oracle.name, other.name, teacher, found.steps, found.agreement, found.precision, found.recall)
                    )
    columns = [Column("Oracle's run"), Column("Run"), Column("Teacher"), Column("Steps", "count")]
    columns += [Column("Agree", "share"), Column("Precision", "share"), Column("Recall", "share")]
    note = (
        "Steps that both judged, as long as the two episodes of a task had gone the same way. Precision: of what the "
        "teacher calls wrong, how much is by the oracle; recall: of what is wrong, how much it calls so."
    )
    return Table("agreement", "Verdicts beside the oracle's", columns, rows, [note, _INTERVALS])


def teachers_table(reports: Sequence[dict[str, Any]]) -> Table:
    """Make the table of what ``step-envs teacher-eval`` measured."""
    names = ("precision", "recall", "f1", "back_on_track", "unknown")
    rows: list[Sequence[Cell]] = [
        (str(one["teacher"]), str(one["env"]), int(one["steps"]), *(Interval(*one[name]) for name in names))
        for one in reports
    ]
    columns = [Column("Teacher"), Column("Environment"), Column("Steps", "count"), Column("Precision", "share")]
    columns += [Column(name, "share") for name in ("Recall", "F1", "Back on track", "Unknown")]
    note = "Measured by step-envs teacher-eval, on episodes of a novice with the oracle's labels."
    return Table("teachers", "Teachers against the oracle", columns, rows, [note])


def costs_table(runs: Sequence[Run]) -> Table:
    """Make the table of costs."""
    rows: list[Sequence[Cell]] = []
    for run in runs:
        episodes = len(run.episodes)
        successes = sum(one.success for one in run.episodes)
        cost = run.usage.cost if run.paid is None else run.paid.cost
        rows.append(
            (
                run.name,
                run.usage.prompt_tokens / episodes,
                run.usage.completion_tokens / episodes,
                run.usage.requests,
                run.usage.cached,
                run.usage.seconds / episodes,
                cost,
                None if cost is None or not successes else cost / successes,
            )
        )
    columns = [Column("Run"), Column("Tokens read an episode", "number"), Column("written", "number")]
    columns += [Column("Requests", "count"), Column("From the cache", "count"), Column("Seconds an episode", "number")]
    columns += [Column("Cost", "dollars"), Column("Cost of a success", "dollars")]
    note = (
        "Cost is all that was paid where the run kept a bill, requests without a trajectory included; else that of its "
        "trajectories; - where no price is known. An episode's seconds are wall time with others in flight."
    )
    return Table("costs", "Tokens, time and cost", columns, rows, [note])


def time_table(runs: Sequence[Run]) -> Table:
    """Make the table of where the time of an episode goes."""
    rows: list[Sequence[Cell]] = []
    for run in runs:
        use = time_use(run)
        if use is not None:
            missing = "; ".join(use.not_recorded()) or "the world's time"
            rows.append((run.name, use.episodes, use.total, use.agent, use.teacher, use.rest, missing))
    columns = [
        Column("Run"),
        Column("Episodes", "count"),
        Column("Seconds an episode", "score"),
        Column("Agent", "score"),
    ]
    columns += [Column("Teacher", "score"), Column("Rest", "score"), Column("Not recorded, in the rest")]
    note = (
        "Means in seconds of wall time, with other episodes in flight. The world's own time is always part of the rest."
    )
    return Table("time", "Where the time of an episode goes", columns, rows, [note])


def findings(runs: Sequence[Run]) -> list[str]:
    """Write the main results as sentences, with their uncertainty."""
    said = []
    for run in runs:
        one = measure.outcome(run.episodes)
        text = f"{run.name}: {written(one.success, 'share')} of {one.episodes:,} episodes succeed"
        text += f", mean reward {written(one.reward, 'score')}."
        said.append(text + _small(one.tasks))
    for first, second in combinations(runs, 2):
        found = measure.difference(first, second)
        if found is None:
            said.append(f"{first.name} and {second.name} have no task in common: they cannot be compared.")
            continue
        points = f"{written(found.success, 'difference')} points, p = {written(found.success_p, 'p')}".replace(
            "= <", "<"
        )
        amount = {
            "no difference shown": "no difference in success is shown",
            "second better": f"{second.name} succeeds more often",
            "first better": f"{first.name} succeeds more often",
        }[found.verdict()]
        said.append(
            f"{second.name} against {first.name}, {found.pairs:,} pairs on the same tasks: {amount} ({points})."
            + _small(found.tasks)
        )
    return said


def _small(tasks: int) -> str:
    return f" Small: {tasks} task{'' if tasks == 1 else 's'} only." if tasks < measure.FEW else ""
