"""Measure the speed, the memory and the exactness of the shop, and print the figures next to their targets.

Usage:
    python benchmarks/webshop.py small [--files FOLDER]
    python benchmarks/webshop.py large --folder FOLDER [--size N]
    python benchmarks/webshop.py ranking --files FOLDER --jar ANSERINI_FATJAR [--made N]

``small`` measures with 1,000 products: the official ones of ``--files``, or generated ones. ``large`` makes a catalogue
(once) and measures search and memory. ``ranking`` compares with Lucene itself; README.md says how to get the jar.
"""

import argparse
import json
import multiprocessing
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
MEGABYTE = 2**20


def report(what: str, value: float, unit: str, target: str = "") -> None:
    print(f"{what:<58} {value:>12,.2f} {unit:<8} {target}", flush=True)


def memory() -> dict[str, float]:
    """Return this process's memory in MB: resident, and private (which no other process can share).

    Pages of a file that only one process maps count as that process's own until a second one maps them.
    """
    info = psutil.Process().memory_full_info()
    anonymous = sum(getattr(entry, "anonymous", 0) for entry in psutil.Process().memory_maps())
    return {"resident": info.rss / MEGABYTE, "private": anonymous / MEGABYTE}


def small(files: Path | None) -> None:
    """Measure whole episodes at 1,000 products."""
    from step_envs.webshop.catalogue.generator import make_catalogue
    from step_envs.webshop.catalogue.importer import import_folder
    from step_envs.webshop.engine import ShopEngine
    from step_envs.webshop.planning.purchase_plan import PurchasePlanner

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "catalogue"
        begin = time.perf_counter()
        catalogue = import_folder(files, folder) if files else make_catalogue(folder, size=1000)
        report("import of 1,000 products", time.perf_counter() - begin, "s")
        started = _start_up(folder)
        report("start-up from an existing index (import, make, reset)", started["seconds"], "s", "target < 0.5 (7)")
        report("  of that, make and first reset", started["made"], "s")
        report("resident after it", started["resident"], "MB", "target < 150 (770)")
        engine = ShopEngine(catalogue)
        oracle = PurchasePlanner(engine)
        episodes = []
        for number in range(400):
            goal = catalogue.goal("synthetic", number)
            engine.begin(goal, str(number))
            plan = (oracle.best_plan() or ([], 0.0))[0]
            if plan:
                read = ["click[description]", "click[< prev]", "click[features]", "click[< prev]"]
                episodes.append((goal, [*plan[:2], *read, *plan[2:]]))
        engine = ShopEngine(catalogue)
        steps = 0
        kinds: defaultdict[str, list[float]] = defaultdict(list)
        begin = time.perf_counter()
        for number, (goal, plan) in enumerate(episodes):
            engine.begin(goal, str(number))
            for action in plan:
                engine.act(action)
            steps += len(plan)
        rate = steps / (time.perf_counter() - begin)
        report("steps a second over whole episodes with search", rate, "/s", "target >= 5,000 (49)")
        for number, (goal, plan) in enumerate(episodes):
            engine._searches.clear()
            kinds["reset"].append(_timed(lambda goal=goal, number=number: engine.begin(goal, str(number))))
            for action in plan:
                spent = _timed(lambda action=action: engine.act(action))
                kind = "search" if action.startswith("search") else engine.page.kind
                kinds[kind].append(spent)
            kinds["invalid"].append(_timed(lambda: engine.act("click[nothing]")))
            kinds["available actions"].append(_timed(engine.available_actions))
        for kind, spent in kinds.items():
            report(f"  {kind}", statistics.median(spent) * 1e6, "us")
        report("resident after 800 episodes", memory()["resident"], "MB", "(1,066)")
        _environment_rate(folder)


def _environment_rate(folder: Path) -> None:
    import gymnasium as gym

    import step_envs  # noqa: F401  registers the id

    env = gym.make("STeP-WebShop-v0", data_path=folder, goals="synthetic", split="train").unwrapped
    plans = []
    for seed in range(200):
        env.reset(seed=seed)
        plans.append((seed, env.oracle.plan() or []))
    begin, steps = time.perf_counter(), 0
    for seed, plan in plans:
        env.reset(seed=seed)
        for action in plan:
            env.step(action)
            steps += 1
    report("steps a second through the environment", steps / (time.perf_counter() - begin), "/s")


_START_UP = """
import json, sys, time
begin = time.perf_counter()
import gymnasium as gym, step_envs
half = time.perf_counter()
env = gym.make("STeP-WebShop-v0", data_path=sys.argv[1], goals="synthetic", split="test")
env.reset(seed=0); env.step("search[lamp]")
end = time.perf_counter()
import psutil
print(json.dumps({"seconds": end - begin, "made": end - half, "resident": psutil.Process().memory_info().rss / 2**20}))
"""


def _start_up(folder: Path) -> dict[str, float]:
    runs = []
    for _ in range(5):
        answer = subprocess.run(
            [sys.executable, "-c", _START_UP, str(folder)], capture_output=True, text=True, check=True
        )
        runs.append(json.loads(answer.stdout.splitlines()[-1]))
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def large(folder: Path, size: int) -> None:
    """Measure opening, searching and sharing a large catalogue."""
    from step_envs.webshop.catalogue.catalogue import Catalogue

    if not (folder / "manifest.json").is_file():
        # In a process of its own, whose memory is not that of searching.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pool.apply(_make, (folder, size))
    on_disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    report("on disk", on_disk / MEGABYTE, "MB")
    begin = time.perf_counter()
    catalogue = Catalogue(folder)
    report(f"open, {len(catalogue):,} products", time.perf_counter() - begin, "s", "target < 2")
    for name, queries in _queries(catalogue):
        catalogue.search(queries[0])
        spent = sorted(_timed(lambda query=query: catalogue.search(query)) * 1000 for query in queries)
        report(f"search, {name}, median", statistics.median(spent), "ms", "target < 30")
        report(f"search, {name}, 90th percentile", spent[int(len(spent) * 0.9)], "ms")
    report("resident after that", memory()["resident"], "MB", "target < 1,024")
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        shares = pool.map(_search_and_measure, [(folder, seed) for seed in range(8)], chunksize=1)
    report("8 processes, sum of private memory", sum(share["private"] for share in shares), "MB", "target < 1,024")
    report("8 processes, largest resident", max(share["resident"] for share in shares), "MB", "target < 1,024")


def _make(folder: Path, size: int) -> None:
    from step_envs.webshop.catalogue.generator import make_catalogue

    begin = time.perf_counter()
    make_catalogue(folder, size=size, progress=lambda n: n % 100_000 == 0 and print(f"  {n:,}", flush=True))
    report(f"making and indexing {size:,} products", time.perf_counter() - begin, "s")
    report("  peak resident while making", _peak(), "MB")


def _search_and_measure(task: tuple[Path, int]) -> dict[str, float]:
    from step_envs.webshop.catalogue.catalogue import Catalogue

    folder, seed = task
    catalogue = Catalogue(folder)
    stream = random.Random(seed)
    goals = catalogue.goals("human")
    for _ in range(60):
        for product in catalogue.search(catalogue.goal("human", stream.randrange(len(goals))).instruction_text)[:10]:
            catalogue.product(product)
    time.sleep(3)
    return memory()


def _queries(catalogue: Any) -> Iterator[tuple[str, list[str]]]:
    from step_envs.webshop.shop.instruction_parser import split_price

    stream = random.Random(5)
    for kind in ("human", "synthetic"):
        goals = catalogue.goals(kind)
        numbers = [stream.randrange(len(goals)) for _ in range(300)]
        yield f"{kind} instructions", [split_price(catalogue.goal(kind, n).instruction_text)[0] for n in numbers]
    yield "titles", [catalogue.product(stream.randrange(len(catalogue))).title for _ in range(300)]


def ranking(files: Path, jar: Path, made: int) -> None:
    """Compare the order of results with Lucene's, on official products and on generated products."""
    from step_envs.webshop.catalogue.generator import make_catalogue
    from step_envs.webshop.catalogue.importer import import_folder

    human = json.loads((files / "human_goals.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        catalogue = import_folder(files, Path(scratch) / "official")
        _compare("official products, human instructions", catalogue, human, jar)
        other = make_catalogue(Path(scratch) / "made", size=made, seed=1)
        for name, queries in _queries(other):
            _compare(f"{made:,} made products, {name}", other, queries, jar)
        _compare(f"{made:,} made products, human instructions", other, human[:1000], jar)


def _compare(name: str, catalogue: Any, queries: Sequence[str], jar: Path) -> None:
    lines = [" ".join(query.split()) for query in queries]
    with tempfile.TemporaryDirectory() as scratch:
        documents, index = Path(scratch) / "documents", Path(scratch) / "index"
        documents.mkdir()
        with (documents / "documents.jsonl").open("w", encoding="utf-8") as file:
            for number in range(len(catalogue)):
                product = catalogue.product(number)
                file.write(json.dumps({"id": product.asin, "contents": product.document()}) + "\n")
        options = ["-collection", "JsonCollection", "-generator", "DefaultLuceneDocumentGenerator", "-threads", "1"]
        build = ["io.anserini.index.IndexCollection", *options, "-input", str(documents), "-index", str(index)]
        subprocess.run(["java", "-cp", str(jar), *build], capture_output=True, check=True)
        subprocess.run(["javac", "-cp", str(jar), "-d", scratch, str(HERE / "lucene" / "Reference.java")], check=True)
        answer = subprocess.run(
            ["java", "-cp", f"{jar}:{scratch}", "Reference", "search", str(index), "50"],
            input="\n".join(lines) + "\n",
            capture_output=True,
            text=True,
            check=True,
        )
    theirs = [line.split() for line in answer.stdout.splitlines()]
    ours = [[catalogue.product(number).asin for number in catalogue.search(line)] for line in lines]
    assert len(theirs) == len(ours)
    exact = sum(mine == their for mine, their in zip(ours, theirs, strict=True))
    for depth in (10, 50):
        shares = [
            len(set(mine[:depth]) & set(their[:depth])) / max(len(their[:depth]), 1) if their else not mine
            for mine, their in zip(ours, theirs, strict=True)
        ]
        report(f"{name}: overlap at {depth}", statistics.fmean(shares), "", "target 1")
    report(f"{name}: exact order at 50", exact / len(ours), "", f"{exact:,} of {len(ours):,}")


def _timed(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _peak() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("small")
    verb.add_argument("--files", type=Path, help="folder of the official files")
    verb = verbs.add_parser("large")
    verb.add_argument("--folder", type=Path, required=True, help="the catalogue; made if it is not there")
    verb.add_argument("--size", type=int, default=1_180_000)
    verb = verbs.add_parser("ranking")
    verb.add_argument("--files", type=Path, required=True, help="folder of the official files and human_goals.json")
    verb.add_argument("--jar", type=Path, required=True, help="Anserini's jar with everything in it")
    verb.add_argument("--made", type=int, default=20_000, help="products to make by seed")
    arguments = vars(parser.parse_args())
    {"small": small, "large": large, "ranking": ranking}[arguments.pop("verb")](**arguments)


if __name__ == "__main__":
    main()
