"""Measure official households, write the statistics for the generator, and compare generated households with official ones.

python benchmarks/alfworld_households.py measure --data-path DIR   # writes step_envs/alfworld/data/households.json
python benchmarks/alfworld_households.py compare --data-path DIR   # compares official train games with generated ones
"""

import argparse
import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from step_envs.alfworld.games.game import Game
from step_envs.alfworld.generation.vocabulary import RECEPTACLES, THINGS, fact_type

TABLES = Path(__file__).parent.parent / "step_envs/alfworld/data/households.json"
SPELLING = {fact_type(name): name for name in (*RECEPTACLES, *THINGS)}


def room_of(task_id: str) -> str:
    """Return the room of an official game, which follows from the scene number at the end of its task folder."""
    scene = int(task_id.split("/")[1].rsplit("-", 1)[1])
    if scene <= 30:
        return "kitchen"
    return "living room" if scene < 300 else "bedroom" if scene < 400 else "bathroom"


def measure(games: Iterable[tuple[str, Game]]) -> dict[str, Any]:
    """Count what stands where in official games.

    Returns:
        By room: how many games, counts of each receptacle type and thing type (count -> games), and homes of each thing
        type (receptacle type, or "" for none -> things). Beside that the goals of each task type with their rooms, the
        share of openable receptacles and of things cold at the start.
    """
    rooms: dict[str, Any] = {}
    goals: defaultdict[str, Counter[tuple[str, str, str]]] = defaultdict(Counter)
    openable: Counter[str] = Counter()
    cold: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for task_id, game in games:
        name = room_of(task_id)
        room = rooms.setdefault(
            name,
            {
                "games": 0,
                "receptacles": defaultdict(Counter),
                "things": defaultdict(Counter),
                "homes": defaultdict(Counter),
                "standing": Counter(),
            },
        )
        room["games"] += 1
        for type_name, count in Counter(SPELLING[r.type] for r in game.receptacles).items():
            room["receptacles"][type_name][str(count)] += 1
        for type_name, count in Counter(SPELLING[t.type] for t in game.things if t.type).items():
            room["things"][type_name][str(count)] += 1
        placed: set[int] = set()
        for r, contents in enumerate(game.contents):
            placed |= contents
            for o in contents:
                if game.things[o].type:
                    room["homes"][SPELLING[game.things[o].type]][SPELLING[game.receptacles[r].type]] += 1
        for o, thing in enumerate(game.things):
            if thing.type and o not in placed:
                room["homes"][SPELLING[thing.type]][""] += 1
            total[thing.type] += 1
            cold[thing.type] += o in game.cool
        for receptacle in game.receptacles:
            total[receptacle.type] += 1
            openable[receptacle.type] += receptacle.openable
        room["standing"]["places"] += sum(bool(here) for here in game.receptacles_at)
        room["standing"]["receptacles"] += len(game.receptacles)
        goals[game.goal.task_type][(name, SPELLING[game.goal.target], SPELLING[game.goal.place])] += 1
    return {
        "rooms": rooms,
        "goals": {task: [[*key, count] for key, count in sorted(counted.items())] for task, counted in goals.items()},
        "openable": {SPELLING[t]: round(n / total[t], 4) for t, n in sorted(openable.items()) if n},
        "cold": {SPELLING[t]: round(n / total[t], 4) for t, n in sorted(cold.items()) if n},
    }


def summary(games: Iterable[Game]) -> dict[str, list[float]]:
    """Describe the size of households: name of a figure -> its value in each game."""
    figures: defaultdict[str, list[float]] = defaultdict(list)
    for game in games:
        in_some = {o for contents in game.contents for o in contents}
        figures["receptacles"].append(len(game.receptacles))
        figures["objects"].append(len(game.things))
        figures["locations"].append(len(game.locations))
        figures["objects a receptacle"].append(sum(map(len, game.contents)) / len(game.receptacles))
        figures["empty receptacles, share"].append(sum(not c for c in game.contents) / len(game.receptacles))
        figures["closed receptacles, share"].append(sum(r.openable for r in game.receptacles) / len(game.receptacles))
        figures["objects in no receptacle, share"].append(1 - len(in_some) / len(game.things))
        figures["candidates for the task"].append(len(game.things_of_type.get(game.goal.target, ())))
        figures["walkthrough"].append(len(game.walkthrough))
    return dict(figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("measure", "compare"))
    parser.add_argument("--data-path", required=True, help="official games: folder or archive")
    parser.add_argument("--games", type=int, default=600, help="how many games to compare")
    arguments = parser.parse_args()

    from step_envs.alfworld.tasks import GeneratedTasks, OfficialTasks

    official = OfficialTasks(arguments.data_path)
    ids = official.ids("train")
    if arguments.what == "measure":
        tables = measure((task_id, official.game(task_id)) for task_id in ids)
        TABLES.write_text(json.dumps(tables, separators=(",", ":"), sort_keys=True) + "\n", encoding="utf-8")
        print(f"{len(ids)} games measured, {TABLES.stat().st_size} bytes written to {TABLES}")
        return
    step = max(1, len(ids) // arguments.games)
    generated = GeneratedTasks()
    real = summary(official.game(task_id) for task_id in ids[::step])
    made = summary(generated.game(task_id) for task_id in generated.ids("train")[: arguments.games])
    print(f"{'':34}{'official':>24}{'generated':>30}")
    print(f"{'':34}{'min   median   mean   max':>26}{'min   median   mean   max':>30}")
    for name, values in real.items():
        print(f"{name:34}{_row(values)}    {_row(made[name])}")


def _row(values: list[float]) -> str:
    return f"{min(values):6.2f} {statistics.median(values):6.2f} {statistics.fmean(values):6.2f} {max(values):6.2f}"


if __name__ == "__main__":
    main()
