"""Measure ALFWorld on our engine and on the original, in turn, on the same games and actions.

    python benchmarks/alfworld.py --data-path DIR          # official games (generated ones without --data-path)
    python benchmarks/alfworld.py --data-path DIR --games 0  # only our engine; alfworld need not be installed

The figures are CPU time, because other work may run on the machine. ``--json`` prints them for a program.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

# In place of this folder, where a script is called alfworld like the package.
sys.path[0] = str(Path(__file__).parent.parent / "tests" / "alfworld")

if TYPE_CHECKING:
    from step_envs.alfworld.tasks import AlfworldTasks

# Run in a process of its own: what is resident after playing through a split.
_MEMORY = """
import sys, warnings, psutil
warnings.simplefilter("ignore")
from step_envs.alfworld.engine import Engine
from step_envs.alfworld.tasks import find_tasks
tasks = find_tasks(sys.argv[1] or None)
keep = sys.argv[3] == "keep"
engines = []
for name in tasks.ids(sys.argv[2]):
    game = tasks.game(name)
    engine = Engine(game)
    for command in game.walkthrough:
        engine.step(command)
        engine.admissible()
    if keep:
        engines.append(engine)
print(len(tasks.ids(sys.argv[2])), psutil.Process().memory_info().rss / 2**20)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-path", help="official games: folder or archive")
    parser.add_argument("--games", type=int, default=10, help="games to play on both engines; 0: ours alone")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")

    from step_envs.alfworld.tasks import find_tasks

    tasks = find_tasks(arguments.data_path)
    figures: dict[str, Any] = {}
    if arguments.games:
        figures["both"] = both_engines(tasks, arguments.games)
    figures["native"] = native_alone(tasks)
    figures["opening"] = opening(tasks, arguments.data_path)
    for split, keep in (("valid_unseen", "keep"), ("train", "")):
        command = [sys.executable, "-c", _MEMORY, arguments.data_path or "", split, keep]
        count, mib = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        figures[f"memory {split}"] = {"games": int(count), "MiB": float(mib), "all kept in play": bool(keep)}
    if arguments.json:
        print(json.dumps(figures, indent=1))
        return
    report(figures)


def both_engines(tasks: "AlfworldTasks", count: int) -> dict[str, Any]:
    """Play recorded walkthroughs and random steps on both engines, game by game in turn."""
    from alfworld_original import Original, commands

    from step_envs.alfworld.engine import Engine
    from step_envs.alfworld.games.game import read_game

    names = random.Random(0).sample(list(tasks.ids("valid_unseen")), count)
    read_game(tasks.game_file(names[0]), "warm")  # the first game of a release is recognised once for all
    original = Original()
    spent: defaultdict[str, float] = defaultdict(float)
    steps = 0
    for number, name in enumerate(names):
        file = tasks.game_file(name)
        player = Engine(read_game(file, name))
        script = list(_played(player, commands(player, random.Random(number), 25)))
        started = time.process_time()
        game = read_game(file, name)
        spent["native load"] += time.process_time() - started
        started = time.process_time()
        engine = Engine(game)
        engine.reset()
        spent["native reset"] += time.process_time() - started
        ours = []
        started = time.process_time()
        for command in script:
            ours.append(engine.step(command))
            _ = engine.won
        spent["native step"] += time.process_time() - started
        engine.reset()
        started = time.process_time()
        for command in script:
            engine.step(command)
            engine.admissible()
            _ = engine.won
        spent["native step and admissible"] += time.process_time() - started
        started = time.process_time()
        original.load(json.loads(file))
        spent["original load"] += time.process_time() - started
        started = time.process_time()
        original.reset()
        spent["original reset"] += time.process_time() - started
        started = time.process_time()
        theirs = [original.step(command)[0] for command in script]
        spent["original step"] += time.process_time() - started
        if ours != theirs:
            raise SystemExit(f"The engines differ in {name}.")
        steps += len(script)
    figures: dict[str, Any] = {"games": count, "steps": steps}
    for what, divisor in (("load", count), ("reset", count), ("step", steps)):
        figures[what] = {who: spent[f"{who} {what}"] / divisor for who in ("native", "original")}
    # The original works out the admissible commands in every step; it cannot be asked not to.
    figures["step and admissible"] = {
        "native": spent["native step and admissible"] / steps,
        "original": spent["original step"] / steps,
    }
    figures["cold episode"] = {who: figures["load"][who] + figures["reset"][who] for who in ("native", "original")}
    return figures


def native_alone(tasks: "AlfworldTasks") -> dict[str, float]:
    """Measure our engine over all games of valid_unseen, in seconds."""
    from alfworld_original import commands

    from step_envs.alfworld.engine import Engine
    from step_envs.alfworld.expert import next_step
    from step_envs.alfworld.games.game import read_game
    from step_envs.alfworld.planning.errands import shortest_plan

    names = tasks.ids("valid_unseen")
    files = [tasks.game_file(name) for name in names]
    figures = {}
    started = time.process_time()
    games = [read_game(file, name) for file, name in zip(files, names, strict=True)]
    figures["load"] = (time.process_time() - started) / len(names)
    engines = [Engine(game) for game in games]
    scripts = [list(_played(e, commands(e, random.Random(number), 40))) for number, e in enumerate(engines)]
    count = sum(map(len, scripts))

    def timed(what: str, each: Any, divisor: int) -> None:
        started = time.process_time()
        for engine, script in zip(engines, scripts, strict=True):
            each(engine, script)
        figures[what] = (time.process_time() - started) / divisor

    def steps(engine: Engine, script: list[str]) -> None:
        engine.reset()
        for command in script:
            engine.step(command)
            _ = engine.won

    def listed_steps(engine: Engine, script: list[str]) -> None:
        engine.reset()
        for command in script:
            engine.step(command)
            engine.admissible()
            _ = engine.won

    timed("reset", lambda engine, _: engine.reset(), len(names))
    timed("step", steps, count)
    timed("step and admissible", listed_steps, count)
    timed("save", lambda engine, _: [engine.save() for _ in range(100)], 100 * len(names))
    timed("restore", lambda engine, _: [engine.load(saved) for saved in [engine.save()] * 100], 100 * len(names))
    timed("plan in mid-game", lambda engine, _: shortest_plan(engine), len(names))
    timed("explorer's step", lambda engine, _: next_step(engine), len(names))
    for engine in engines:
        engine.reset()
    timed("plan at the start", lambda engine, _: shortest_plan(engine), len(names))
    return figures


def _played(engine: Any, stream: Any) -> Any:
    for command in stream:
        engine.step(command)
        yield command


def opening(tasks: "AlfworldTasks", data_path: str | None) -> dict[str, float]:
    """Measure how long it takes to open and list the train split: from ``--data-path``, and from an unpacked folder."""
    from step_envs.alfworld.games.archive import open_games
    from step_envs.alfworld.tasks import find_tasks

    names = tasks.ids("train")
    started = time.process_time()
    find_tasks(data_path).ids("train")
    figures = {"games": len(names), "as named": time.process_time() - started}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            trial = Path(folder) / "json_2.1.1" / name.replace("generated", "train")
            trial.mkdir(parents=True)
            (trial / "game.tw-pddl").touch()
        started = time.process_time()
        open_games(Path(folder))
        figures["unpacked"] = time.process_time() - started
    return figures


def report(figures: dict[str, Any]) -> None:
    """Print the figures as a table."""
    if "both" in figures:
        both = figures["both"]
        print(f"Both engines, {both['games']} games and {both['steps']} steps, CPU time")
        print(f"{'':22}{'native':>14}{'original':>14}{'ratio':>10}")
        for what in ("load", "reset", "cold episode", "step", "step and admissible"):
            native, original = both[what]["native"], both[what]["original"]
            print(f"{what:22}{1e6 * native:11.1f} us{1e3 * original:11.1f} ms{original / native:10,.0f}")
    print("\nOur engine alone, all games of valid_unseen, CPU time")
    for what, seconds in figures["native"].items():
        print(f"{what:22}{1e6 * seconds:11.1f} us")
    opened = figures["opening"]
    print(
        f"\nOpening {opened['games']} games: {1e3 * opened['as named']:.0f} ms as named, "
        f"{1e3 * opened['unpacked']:.0f} ms unpacked in a folder"
    )
    for split in ("valid_unseen", "train"):
        memory = figures[f"memory {split}"]
        kept = "all kept in play" if memory["all kept in play"] else "played one after the other"
        print(f"Memory with {memory['games']} games of {split}, {kept}: {memory['MiB']:.0f} MiB resident")


if __name__ == "__main__":
    main()
