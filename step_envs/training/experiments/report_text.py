"""Write the report of an experiment in words and tables: what was done, what came out, and what may be claimed."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from step_envs.report.tables import Column, Table, markdown
from step_envs.statistics import Interval
from step_envs.training.experiments.arms import ARM_DESIGNS
from step_envs.training.experiments.experiment_config import ExperimentConfig, SharedStages

_SHARED: dict[SharedStages, str] = {
    "nothing": "Every seed draws tasks, original model, base agent and D_r anew, so the intervals cover all of them",
    "original": "The seeds share the original model, and draw tasks, base agent and D_r anew",
    "data": "The seeds share original model, tasks, base agent and D_r: the intervals cover the final training alone",
}


def markdown_report(config: ExperimentConfig, figures: Mapping[str, Any]) -> str:
    """Write ``report.md``.

    Args:
        config: The experiment.
        figures: Content of ``report.json``.
    """
    seeds = figures["seeds"]
    lines = [
        f"# The three stages of STeP in {figures['env']}, preset {figures['preset']}",
        "",
        f"Original model: {figures['original']['model']}, {figures['original']['parameters']:,} parameters. Every arm "
        f"begins with it (some with the base agent, which was trained from it) and takes {config.training.max_steps:,} "
        f"optimizer steps from it in all. Training seeds: {', '.join(map(str, seeds))}. {_SHARED[config.shared]}. With "
        f"each seed, all arms are evaluated on the same {figures['held_out']:,} held-out tasks, greedily, with at most "
        f"{config.max_steps} steps. The teacher is {config.teacher}.",
        "",
        *_data_lines(config, figures),
        "",
        _outcome_table(figures).to_markdown(),
    ]
    if figures["comparisons"]:
        title, note = "STeP beside the other arms: success", _claim_note(figures)
        lines += [_comparison_table("comparisons", title, figures["comparisons"], note).to_markdown()]
        lines += ["What the comparisons say:", "", *(f"- {_sentence(one)}" for one in figures["comparisons"]), ""]
    if figures["score_comparisons"]:
        note = "The same for the mean score. Claims are made about success; this table is for reading it."
        table = _comparison_table("scores", "STeP beside the other arms: score", figures["score_comparisons"], note)
        lines += [table.to_markdown()]
    lines += [
        _error_table(figures).to_markdown(),
        _training_table(figures).to_markdown(),
        _seed_table(figures).to_markdown(),
        *_picture_lines(figures),
        "The arms:",
        "",
        *(f"- **{ARM_DESIGNS[arm].title}**: {ARM_DESIGNS[arm].description}." for arm in config.arms),
        "",
    ]
    libraries = ", ".join(f"{name} {number}" for name, number in figures["versions"].items())
    lines += [
        f"Made with {libraries}. All figures: `report.json`; every episode: `seed-<n>.json`; the configuration: "
        "`config.json`.",
        "",
    ]
    return "\n".join(lines)


def _picture_lines(figures: Mapping[str, Any]) -> list[str]:
    """Link every plot with what it says in words, and its PNG for a slide."""
    successes = ", ".join(f"{one['title']} {_percent(one['success'][0])}" for one in _all(figures))
    differences = ", ".join(
        f"against {ARM_DESIGNS[one['first']].title} {100 * one['difference'][0]:+.1f} points ({one['verdict']})"
        for one in figures["comparisons"]
    )
    invalid = ", ".join(f"{one['title']} {_percent(one['invalid'])}" for one in _all(figures))
    said = {
        "success": f"Success by arm, each seed as a point: {successes}",
        "differences": f"Success of STeP minus that of each other arm: {differences or 'no comparisons were made'}",
        "errors": f"Errors by kind; replies without effect: {invalid}",
        "loss": "Training loss of every arm, one line for each seed",
    }
    lines = []
    for name, text in said.items():
        lines += [f"![{markdown(text)}.]({name}.svg)", "", f"[For a slide]({name}.png)", ""]
    return lines


def _data_lines(config: ExperimentConfig, figures: Mapping[str, Any]) -> list[str]:
    collected = list(figures["collected"].values())

    def mean(name: str) -> str:
        return f"{fmean(one[name] for one in collected):,.0f}"

    errors: dict[str, list[int]] = {}
    for one in collected:
        for count, number in one["d_r_by_errors"].items():
            errors.setdefault(count, []).append(number)
    kept = ", ".join(f"{sum(numbers) / len(collected):,.0f} with {count}" for count, numbers in sorted(errors.items()))
    wrong = sum(one["error_turns"] for one in collected)
    valid = 1 - sum(one["error_turns_invalid"] for one in collected) / max(wrong, 1)
    base = figures["base"]
    lines = [
        f"- **Golden** (means of the seeds): {mean('golden')} trajectories of the expert; D1 is the {mean('d1')} of U1.",
        f"- **Base agent**: {base['optimizer_steps']:,} steps on D1; succeeds in {_percent(base['success'][0])} of the "
        f"held-out tasks, and {_percent(base['invalid'])} of its replies have no effect.",
        f"- **D_r**: the base agent played U2 under the teacher. Kept: {mean('d_r')} ({kept} errors). Of its "
        f"{mean('turns')} replies, {mean('error_turns')} are errors ({_percent(valid)} of them valid actions) and "
        f"{mean('correction_turns')} corrections.",
    ]
    if figures["gate"] is not None:
        lines.append(f"- **Gate**: {_gate_sentence(figures['gate'])}")
    return lines


def _gate_sentence(gate: Mapping[str, Any]) -> str:
    low, high = gate["success"]
    wanted = (
        f"a base agent that succeeds in {_percent(low)} to {_percent(high)} of the tasks and of whose replies at most "
        f"{_percent(gate['invalid'])} have no effect"
    )
    missed = [
        f"seed {seed} ({_percent(one['success'])}, {_percent(one['invalid'])})"
        for seed, one in gate["seeds"].items()
        if not one["met"]
    ]
    if not missed:
        return f"met by every seed: {wanted}."
    met = len(gate["seeds"]) - len(missed)
    return f"asks for {wanted}. Met by {met} of {len(gate['seeds'])} seeds; not by {', '.join(missed)}."


def _outcome_table(figures: Mapping[str, Any]) -> Table:
    columns = [
        Column("Arm"),
        Column("Success", "share"),
        Column("SD of seeds", "share"),
        Column("First pass", "share"),
        Column("Recovery", "share"),
        Column("Score", "score"),
        Column("Steps an episode", "number"),
    ]
    rows = [
        (
            one["title"],
            Interval(*one["success"]),
            one["success_sd"],
            one["first_pass"],
            one["recovered"],
            one["score"],
            one["steps"],
        )
        for one in _all(figures)
    ]
    note = (
        "Means of the seeds; success with Student's 95 % interval over seeds. First pass: the episode succeeded and every "
        "reply had an effect. Recovery: success of the episodes with a reply that had none."
    )
    return Table("arms", "What came out", columns, rows, (note,))


def _claim_note(figures: Mapping[str, Any]) -> str:
    seeds, margin = len(figures["seeds"]), 100 * figures["margin"]
    text = (
        "Each seed gives one difference, on the same tasks. Interval and p are Student's over these differences; p of the "
        "exchange is the permutation test that exchanges the arms within seeds. p is adjusted by Holm's method within the "
        "main comparisons and within the others. We claim a difference if the adjusted p is below 0.05, and no difference "
        f"that matters if two one-sided tests exclude {margin:g} points and more; all else is undecided."
    )
    if figures["detectable"] is not None:
        text += (
            f" With {seeds} seeds that spread as these do, a true difference of {100 * figures['detectable']:.1f} points "
            "is found with probability 0.8 (before the adjustment)."
        )
    return text


def _comparison_table(name: str, title: str, comparisons: Sequence[Mapping[str, Any]], note: str) -> Table:
    columns = [
        Column("STeP against"),
        Column("Difference, points", "difference"),
        Column("SD of seeds", "share"),
        Column("p", "p"),
        Column("p, exchange", "p"),
        Column("p, Holm", "p"),
        Column("Family"),
        Column("Verdict"),
    ]
    rows = [
        (
            ARM_DESIGNS[one["first"]].title,
            Interval(*one["difference"]),
            one["sd"],
            one["p"],
            one["p_flips"],
            one["p_holm"],
            "main" if one["main"] else "further",
            one["verdict"],
        )
        for one in comparisons
    ]
    return Table(name, title, columns, rows, (note,))


def _sentence(one: Mapping[str, Any]) -> str:
    value, other = 100 * one["difference"][0], ARM_DESIGNS[one["first"]].title
    if one["difference"][1] is None:
        return f"Against {other}: {value:+.1f} points with one seed, which says nothing about the next seed."
    interval = f"interval {100 * one['difference'][1]:+.1f} to {100 * one['difference'][2]:+.1f}"
    if one["verdict"] == "a difference":
        better = "more" if value > 0 else "less"
        return f"Against {other}: STeP succeeds {abs(value):.1f} points {better} often ({interval})."
    if one["verdict"] == "undecided":
        return f"Against {other}: undecided ({value:+.1f} points, {interval})."
    return f"Against {other}: no difference that matters ({value:+.1f} points, {interval})."


def _error_table(figures: Mapping[str, Any]) -> Table:
    columns = [
        Column("Arm"),
        Column("No effect", "share"),
        Column("... unknown name", "share"),
        Column("... repeated", "share"),
        Column("Valid, no nearer", "share"),
        Column("Valid, farther", "share"),
        Column("Reflections an episode", "number"),
    ]
    names = ("invalid", "unknown_names", "repeated", "idle", "lost", "reflections")
    rows = [(one["title"], *(one[name] for name in names)) for one in _all(figures)]
    note = (
        "Shares of all replies. No effect: without an action, or with one that the world did not understand; among "
        "them those that repeat an action that had no effect before, and of the others those that name something the "
        "conversation had not mentioned. Valid actions are judged by the oracle's distance to success before and "
        "after, in a part of the episodes."
    )
    return Table("errors", "Errors by kind", columns, rows, (note,))


def _training_table(figures: Mapping[str, Any]) -> Table:
    columns = [
        Column("Arm"),
        Column("Trajectories", "count"),
        Column("Optimizer steps", "count"),
        Column("Tokens seen", "count"),
        Column("Tokens with loss, per pass", "count"),
        Column("Loss at the end", "score"),
    ]
    rows = [
        (
            one["title"],
            round(one["trajectories"]),
            one["optimizer_steps"],
            round(one["tokens_seen"]),
            round(one["trained_tokens_in_rows"]),
            one["final_loss"],
        )
        for one in _all(figures)
    ]
    notes = [
        "Means of the seeds. Losses are computed on different trajectories and cannot be compared with each other."
    ]
    later = [arm["title"] for name, arm in figures["arms"].items() if ARM_DESIGNS[name].from_base]
    if later:
        notes.append(
            f"Steps and tokens of {', '.join(later)} come on top of the base agent's "
            f"{figures['base']['optimizer_steps']:,} steps."
        )
    if any(ARM_DESIGNS[name].on_pairs for name in figures["arms"]):
        notes.append("Arms on pairs count pairs in place of trajectories; their losses compare two sides.")
    return Table("training", "What each arm was trained on", columns, rows, tuple(notes))


def _seed_table(figures: Mapping[str, Any]) -> Table:
    columns = [Column("Arm"), *(Column(f"Seed {seed}", "share") for seed in figures["seeds"])]
    rows = [
        (one["title"], *(one["seeds"][str(seed)]["success"][0] for seed in figures["seeds"])) for one in _all(figures)
    ]
    return Table("seeds", "Success with each seed", columns, rows)


def _all(figures: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [figures["base"], *figures["arms"].values()]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
