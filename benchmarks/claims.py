"""How often a rule claims a difference between two arms that is not there, and how often it finds one that is.

    python benchmarks/claims.py --out docs/results/claims

Simulates experiments (``step_envs.training.experiments.claim_simulation``) under two rules: the one of our reports,
Student's t over training seeds, and the one of our first report, which pooled the tasks of all seeds: a permutation
test that exchanges the arms within tasks, a bootstrap interval over tasks and seeds, and the demand that no seed shows
the opposite sign.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from step_envs.run_folder import write_json
from step_envs.training.experiments.claim_simulation import (
    ClaimRule,
    SimulatedExperiment,
    Successes,
    claim_rates,
    claims_over_seeds,
)

SIZES = [(2, 300), (3, 300), (3, 500), (5, 300), (8, 300), (12, 300)]
"""Seeds and tasks."""
EFFECTS = [0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14]
RESAMPLES = 500


def claims_over_pooled_tasks(first: Successes, others: Sequence[Successes]) -> list[bool]:
    """Claim as our first report did, with p below 0.05 for one comparison."""
    rng = np.random.default_rng(0)
    return [_pooled(first.astype(float) - other.astype(float), rng) for other in others]


def _pooled(differences: np.ndarray, rng: np.random.Generator) -> bool:
    seeds, tasks = differences.shape
    by_seed, mean = differences.mean(1), differences.mean()
    if (by_seed * mean < 0).any() or mean == 0:
        return False
    of_tasks = differences.sum(0)
    signs = rng.integers(0, 2, (RESAMPLES, tasks)) * 2 - 1
    p = float(np.mean(np.abs(signs @ of_tasks) >= abs(of_tasks.sum())))
    drawn = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        drawn[i] = differences[rng.integers(seeds, size=seeds)][:, rng.integers(tasks, size=tasks)].mean()
    low, high = np.quantile(drawn, [0.025, 0.975])
    return bool(p < 0.05 and (low > 0 or high < 0))


RULES: dict[str, ClaimRule] = {"over seeds": claims_over_seeds, "pooled tasks": claims_over_pooled_tasks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of results.json and the picture")
    parser.add_argument("--repeats", type=int, default=1000, help="simulated experiments for each figure")
    parser.add_argument("--seed-sd", type=float, default=0.037, help="spread of an arm's success between seeds")
    options = parser.parse_args()
    results = simulate(options.repeats, options.seed_sd)
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "results.json", results)
    draw(results, options.out / "claims.png")


def simulate(repeats: int, seed_sd: float) -> dict[str, Any]:
    """Return false claims by rule and size, and claims by effect for the seeds' rule."""
    false = []
    for seeds, tasks in SIZES:
        # The tasks of a seed are its own for our rule; the first report played the same ones with all seeds.
        known = SimulatedExperiment(seeds, tasks, seed_sd=seed_sd)
        rates = {name: claim_rates(known, rule, repeats=repeats).any_claim for name, rule in RULES.items()}
        false.append({"seeds": seeds, "tasks": tasks, **rates})
        print(false[-1], flush=True)
    power = []
    for seeds, tasks in SIZES:
        rates = [
            claim_rates(SimulatedExperiment(seeds, tasks, seed_sd, effect), repeats=repeats).any_claim
            for effect in EFFECTS
        ]
        power.append({"seeds": seeds, "tasks": tasks, "claims": rates})
        print(power[-1], flush=True)
    return {"repeats": repeats, "seed_sd": seed_sd, "effects": EFFECTS, "false_claims": false, "power": power}


def draw(results: dict[str, Any], file: Path) -> None:
    """Draw false claims beside power."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained", dpi=110)
    left, right = figure.subplots(1, 2)
    places = np.arange(len(results["false_claims"]))
    for number, (name, colour) in enumerate(zip(RULES, ("#0072b2", "#d55e00"), strict=True)):
        heights = [100 * one[name] for one in results["false_claims"]]
        left.bar(places + 0.4 * number - 0.2, heights, 0.38, color=colour, label=name)
    left.axhline(5, color="#555555", linewidth=1, linestyle="--")
    left.set_xticks(places, [f"{one['seeds']} x {one['tasks']}" for one in results["false_claims"]])
    left.set_xlabel("seeds x tasks")
    left.set_ylabel("% of experiments")
    left.set_title("A difference is claimed, and there is none", fontsize=10)
    left.legend(frameon=False)
    for one, colour in zip(
        results["power"], ("#999999", "#e69f00", "#cc79a7", "#56b4e9", "#0072b2", "#009e73"), strict=True
    ):
        right.plot(
            [100 * effect for effect in results["effects"]],
            [100 * share for share in one["claims"]],
            color=colour,
            marker=".",
            label=f"{one['seeds']} x {one['tasks']}",
        )
    right.axhline(80, color="#555555", linewidth=1, linestyle="--")
    right.set_xlabel("true difference, points of success")
    right.set_title("The rule over seeds claims a difference", fontsize=10)
    right.legend(frameon=False, title="seeds x tasks", fontsize=8)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, metadata={"Software": None})


if __name__ == "__main__":
    main()
