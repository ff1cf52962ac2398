"""Play generated households in the original engine, and play the same games in both engines to find differences.

    python benchmarks/alfworld_original.py win --per-type 100             # every walkthrough must win in the original
    python benchmarks/alfworld_original.py compare --games 60 --steps 40  # random play; --data-path: official too

This script needs `pip install "step-envs[alfworld]"`. The original needs a few seconds for each game.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

# In place of this folder, where a script is called alfworld like the package.
sys.path[0] = str(Path(__file__).parent.parent / "tests" / "alfworld")

if TYPE_CHECKING:
    from alfworld_original import Original


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("win", "compare"))
    parser.add_argument("--per-type", type=int, default=100, help="generated games of each task type to win")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument(
        "--games", type=int, default=60, help="games to compare; half of them official with --data-path"
    )
    parser.add_argument("--steps", type=int, default=40, help="random steps in each")
    parser.add_argument("--data-path", help="official games: folder or archive")
    arguments = parser.parse_args()

    from alfworld_original import Original

    original = Original()
    started = time.perf_counter()
    faults = win(original, arguments) if arguments.what == "win" else compare(original, arguments)
    for fault in faults:
        print(fault)
    print(f"{len(faults)} faults in {time.perf_counter() - started:.0f} s")
    return 1 if faults else 0


def win(original: "Original", arguments: argparse.Namespace) -> list[str]:
    from step_envs.alfworld.games.goal import TASK_TYPES
    from step_envs.alfworld.generation.generator import generate_household
    from step_envs.alfworld.generation.task_ids import make_task_id
    from step_envs.alfworld.generation.writer import write_game

    faults, won = [], 0
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.per_type):
        for task_type in TASK_TYPES:
            game = json.loads(write_game(generate_household(task_type, seed)))
            original.load(game)
            answer = original.reset()
            over_early = answer[2]
            for command in game["walkthrough"]:
                answer = original.step(command)
            if over_early or not answer[2]:
                faults.append(f"{make_task_id(task_type, seed)}: {'won at the start' if over_early else 'not won'}")
            else:
                won += 1
        print(f"seed {seed}: {won} games won", file=sys.stderr, flush=True)
    print(f"{won} generated games loaded and won")
    return faults


def compare(original: "Original", arguments: argparse.Namespace) -> list[str]:
    from alfworld_original import differences

    from step_envs.alfworld.tasks import GeneratedTasks, OfficialTasks

    generated = GeneratedTasks()
    chosen = [(generated, name) for name in generated.ids("train")[: arguments.games]]
    if arguments.data_path:
        official = OfficialTasks(arguments.data_path)
        names = [name for split in official.splits for name in official.ids(split)]
        half = arguments.games // 2
        chosen = chosen[: arguments.games - half] + [(official, n) for n in random.Random(0).sample(names, half)]
    faults: list[str] = []
    for number, (tasks, name) in enumerate(chosen):
        game = json.loads(tasks.game_file(name))
        faults += differences(original, game, name, seed=number, steps=arguments.steps)
        print(f"{number + 1} games, {len(faults)} differences", file=sys.stderr, flush=True)
    print(f"{len(chosen)} games with {arguments.steps} random steps each compared")
    return faults


if __name__ == "__main__":
    sys.exit(main())
