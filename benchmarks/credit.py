"""Compare the ways of valuing states, in all three worlds: python benchmarks/credit.py --out FOLDER.

A novice plays until there are 500 states that are good and bad. Every way values the same states: the oracle; continuations
of an agent that never errs, of the novice, and of a tiny model (five each, at temperature 1); and an estimator that was
learned from the outcomes of other episodes. The script says how well each agrees with the oracle, and how many states it
values in a CPU second. Tiny model and estimator are made from nothing, in a few minutes of CPU a world; ``--model`` names a
model that an earlier call made. What is done is kept under ``--out``, and a second call goes on.

CPU time is that of this process and of the Java processes of ScienceWorld.
"""

import argparse
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from credit_figures import TITLES, agreement_figures, common_states, draw, table
from tiny_agent import SHORT_FORM, ShortForm, train_tiny_model

from step_envs.collection import CollectConfig, collect
from step_envs.credit import AnnotateConfig, annotate, make_value_function
from step_envs.credit.value_agreement import sum_agreement
from step_envs.file_reading import read_json
from step_envs.run_folder import write_json
from step_envs.store import TrajectoryStore, read_trajectories
from step_envs.training.progress.training import ProgressConfig, train_progress_estimator
from step_envs.trajectory import Trajectory

DISCOUNT = 0.95
NOVICE = "novice:error_rate=0.4"
"""Who plays the episodes: those that are valued, and those that the estimator learns from."""


@dataclass(frozen=True)
class World:
    """How a world is measured.

    Attributes:
        env: Id of the environment.
        title: Its name.
        split: The split of the valued episodes; everything that is learned comes from ``train``.
        replies: Replies of a novice's episode, at least, on average.
        golden: Golden episodes for the tiny model.
        observed: Episodes for the estimator.
        options: Options of the environment.
        parallel: Episodes that the tiny model continues at once.
    """

    env: str
    title: str
    split: str
    replies: int
    golden: int
    observed: int
    options: dict[str, Any] = field(default_factory=dict)
    parallel: int = 64


_SHORT_TASKS = ["find-animal", "find-living-thing", "find-non-living-thing", "find-plant", "lifespan-longest-lived"]
WORLDS = {
    "alfworld": World(
        "STeP-ALFWorld-v0", "ALFWorld", "valid_unseen", 6, 3000, 400, {"household": "small", "max_steps": 15}
    ),
    "webshop": World("STeP-WebShop-v0", "WebShop", "test", 3, 6000, 500, {"max_steps": 10}),
    "sciworld": World(
        "STeP-SciWorld-v0",
        "ScienceWorld",
        "test",
        6,
        400,
        200,
        {"task_types": [*_SHORT_TASKS, "lifespan-shortest-lived"], "max_steps": 15},
        parallel=16,
    ),
}


def main() -> None:
    """Measure every world, and write figures, table and pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, default=list(WORLDS))
    parser.add_argument("--states", type=int, default=500, help="replies to value in each world, at least")
    parser.add_argument("--n", type=int, default=5, help="continuations of the novice and of the tiny model")
    parser.add_argument(
        "--model", action="append", default=[], metavar="WORLD=FOLDER", help="a tiny model that this script has made"
    )
    parser.add_argument(
        "--golden", type=int, help="golden episodes for a tiny model, in place of the world's own number"
    )
    parser.add_argument("--observed", type=int, help="episodes for an estimator, in place of the world's own number")
    parser.add_argument("--model-steps", type=int, default=600, help="optimizer steps of a tiny model")
    parser.add_argument("--estimator-steps", type=int, default=200, help="optimizer steps of an estimator")
    options = parser.parse_args()
    models = dict(one.partition("=")[::2] for one in options.model)
    for name, folder in models.items():
        if name not in WORLDS or not (Path(folder) / SHORT_FORM).is_file():
            parser.error(f"--model {name}={folder}: give one of {', '.join(WORLDS)} and a folder WORLD/tiny of a call.")
    options.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"states": options.states, "n": options.n, "discount": DISCOUNT, "worlds": {}}
    for name in options.worlds:
        run = WorldRun(WORLDS[name], options.out.absolute() / name, options, models.get(name))
        run.prepare()
        results["worlds"][name] = run.measure()
        write_json(options.out / "results.json", results)
        (options.out / "table.md").write_text(table(results), encoding="utf-8")
    print(table(results))


class WorldRun:
    """The measurement of one world.

    Args:
        world: The world.
        out: Its folder; every step has a folder inside, and is not repeated if that is complete.
        options: The options of the script.
        model: Folder of a tiny model; None makes one.
    """

    def __init__(self, world: World, out: Path, options: argparse.Namespace, model: str | None) -> None:
        self.world, self.out, self.options, self.given = world, out, options, model
        self.model = out / "tiny" if model is None else Path(model).absolute()
        self.agent = f"tiny_agent.TinyAgent:model={self.model};temperature=1"
        self.cpu: dict[str, float] = {}

    def prepare(self) -> None:
        """Play the episodes, and make the tiny model and the estimator."""
        world, options = self.world, self.options
        if self.given is None:
            # In ScienceWorld, what an explorer does depends on more than so small a model can learn.
            expert = {} if world.env == "STeP-SciWorld-v0" else {"expert": "explorer"}
            self._play("golden", options.golden or world.golden, "oracle", expert, split="train")
            self._once("tiny", self._train_model)
        self._play("observed", options.observed or world.observed, NOVICE, split="train", seed=1)
        self._once("estimator", self._train_estimator)
        self._play("novice", -(-options.states // world.replies), NOVICE, split=world.split)
        self._once("played", lambda: self._store("played", self._enough()))
        form = ShortForm.read(self.model)
        self._once("played-short", lambda: self._store("played-short", map(form.trajectory, self._enough())))
        tasks = tuple(dict.fromkeys(one.task_id for one in read_trajectories(self.out / "played")))
        player = self.agent.replace(";", ",")
        self._play("tiny-alone", len(tasks), player, tasks=tasks, concurrency=world.parallel)

    def measure(self) -> dict[str, Any]:
        """Have every way value the same states, and compare them with the oracle; draw the picture."""
        out, n = self.out, self.options.n
        ways = {
            "oracle": ("played", "oracle", 1),
            "never-errs": ("played", "rollouts:agent=oracle,n=1", 1),
            "novice": ("played", f"rollouts:agent=novice:error_rate=0.3,n={n}", 1),
            "tiny": ("played", f"rollouts:agent={self.agent},n={n}", self.world.parallel),
            "estimator": ("played-short", f"estimator:model={out / 'estimator'}", 1),
        }
        valued: dict[str, list[Trajectory]] = {}
        found: dict[str, Any] = {}
        for way, (run, value, at_once) in ways.items():
            # Imports of torch are no part of a rate.
            make_value_function(value).close()
            cost = self._once(f"valued-{way}", lambda: self._annotate(run, value, at_once, way))  # noqa: B023
            valued[way] = list(read_trajectories(out / f"valued-{way}"))
            number = sum(turn.value is not None for one in valued[way] for turn in one.turns)
            rates = {"states_per_cpu_second": number / cost["cpu"], "states_per_second": number / cost["wall"]}
            found[way] = {"value": value.replace(f"{out}{os.sep}", ""), "valued": number} | rates
            print(f"{self.world.title}: {TITLES[way]}: {number / cost['cpu']:,.0f} states a CPU second", flush=True)
        states = common_states(valued, DISCOUNT)
        for way in ways:
            found[way] |= agreement_figures(states, way)
        draw(states, f"{self.world.title}: value of a state, by its distance", out.parent, out.name)
        return {
            "title": self.world.title,
            "episodes": len(valued["oracle"]),
            "replies": sum(map(_replies, valued["oracle"])),
            "states": len(states),
            "without_a_way": sum(state.distance is None for state in states),
            "played": _outcomes(valued["oracle"]),
            "tiny_model": _outcomes(list(read_trajectories(out / "tiny-alone"))),
            "estimator": self._sum_agreement(valued["estimator"]),
            "ways": found,
            "cpu_seconds": self.cpu,
        }

    def _play(
        self, name: str, episodes: int, agent: str, env_options: dict[str, Any] | None = None, **changes: Any
    ) -> None:
        options = self.world.options | (env_options or {})
        settings: dict[str, Any] = {"teacher": None, "style": "plain", "concurrency": 2} | changes
        config = CollectConfig(env=self.world.env, env_options=options, episodes=episodes, agent=agent, **settings)

        def play() -> None:
            figures = collect(config, self.out / name, resume=(self.out / name).exists(), engine="threads")
            if figures.failed:
                raise SystemExit(f"{figures.failed} episodes in {self.out / name} failed: see its failures.jsonl.")

        self._once(name, play)

    def _played(self, name: str) -> list[Trajectory]:
        """Return the episodes of a run by their number: in the file they are in the order in which they ended."""
        return sorted(read_trajectories(self.out / name), key=lambda one: one.episode or 0)

    def _train_model(self) -> None:
        golden = [one for one in self._played("golden") if one.success]
        train_tiny_model(golden, self.model, steps=self.options.model_steps)

    def _train_estimator(self) -> None:
        form, steps = ShortForm.read(self.model), self.options.estimator_steps
        config = ProgressConfig(
            learning_rate=1e-3, max_steps=steps, batch_size=8, accumulate=1, warmup=0.05, save_steps=steps
        )
        episodes = map(form.trajectory, self._played("observed"))
        train_progress_estimator(episodes, model=self.model, out=self.out / "estimator", config=config)

    def _enough(self) -> Iterator[Trajectory]:
        """Yield the first episodes that have as many replies as are to be valued."""
        replies = 0
        for trajectory in self._played("novice"):
            yield trajectory
            replies += _replies(trajectory)
            if replies >= self.options.states:
                return
        raise SystemExit(f"The novice's episodes in {self.out / 'novice'} have only {replies} replies: play more.")

    def _store(self, name: str, trajectories: Iterable[Trajectory]) -> None:
        with TrajectoryStore(self.out / name / "trajectories.jsonl") as store:
            for trajectory in trajectories:
                store.append(trajectory)

    def _annotate(self, run: str, value: str, at_once: int, way: str) -> None:
        config = AnnotateConfig(runs=(self.out / run,), value=value, engine="threads", concurrency=at_once)
        folder = self.out / f"valued-{way}"
        # What a call that was stopped has left is done again: its time is not known.
        shutil.rmtree(folder, ignore_errors=True)
        annotate(config, folder)

    def _sum_agreement(self, valued: list[Trajectory]) -> dict[str, Any]:
        """Compare the sum of the contributions up to the last reply with the final score."""
        last = [next((turn.value for turn in reversed(one.turns) if turn.value is not None), None) for one in valued]
        pairs = [(sum_, max(0.0, one.score)) for sum_, one in zip(last, valued, strict=True) if sum_ is not None]
        return sum_agreement([sum_ for sum_, _ in pairs], [score for _, score in pairs]).model_dump()

    def _once(self, name: str, do: Callable[[], object]) -> dict[str, float]:
        """Do a step unless it is complete; return the seconds of CPU and by the clock, of the call that completed it."""
        done = self.out / name / "seconds.json"
        if not done.exists():
            cpu, wall = cpu_seconds(), time.perf_counter()
            do()
            write_json(done, {"cpu": cpu_seconds() - cpu, "wall": time.perf_counter() - wall})
            print(f"{self.world.title}: {name}: {read_json(done)['cpu']:.0f} CPU seconds", flush=True)
        found: dict[str, float] = read_json(done)
        self.cpu[name] = found["cpu"]
        return found


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its children, those that have ended included."""
    ended = os.times()
    running = time.process_time()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            running += times.user + times.system
    return running + ended.children_user + ended.children_system


def _replies(trajectory: Trajectory) -> int:
    return sum(turn.role == "assistant" and turn.kind != "instruction" for turn in trajectory.turns)


def _outcomes(trajectories: list[Trajectory]) -> dict[str, float]:
    number = len(trajectories)
    success = sum(one.success for one in trajectories) / number
    return {"episodes": number, "success": success, "score": sum(one.score for one in trajectories) / number}


if __name__ == "__main__":
    main()
