"""Measure the speed, the memory and the exactness of the shop, and print the figures next to their targets.

Usage:
    python benchmarks/webshop.py small [--files FOLDER]
    python benchmarks/webshop.py large --folder FOLDER [--size N]
    python benchmarks/webshop.py ranking --files FOLDER --jar ANSERINI_FATJAR [--made N]
    python benchmarks/webshop.py lucene --folder FOLDER --jar ANSERINI_FATJAR [--queries N] [--rounds N] [--size N]

``small`` measures with 1,000 products: the official ones of ``--files``, or generated ones. ``large`` makes a catalogue
(once) and measures search and memory. ``ranking`` compares the order with Lucene's, and ``lucene`` the order and the CPU
time on a large catalogue, the two engines taking turns at each query; README.md says how to get the jar.
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
from collections import Counter, defaultdict
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

    _make_once(folder, size)
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


def _make_once(folder: Path, size: int) -> None:
    if not (folder / "manifest.json").is_file():
        # In a process of its own, whose memory is not that of searching.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pool.apply(_make, (folder, size))


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


def _queries(catalogue: Any, count: int = 300) -> Iterator[tuple[str, list[str]]]:
    from step_envs.webshop.shop.instruction_parser import split_price

    stream = random.Random(5)
    for kind in ("human", "synthetic"):
        goals = catalogue.goals(kind)
        numbers = [stream.randrange(len(goals)) for _ in range(count)]
        yield f"{kind} instructions", [split_price(catalogue.goal(kind, n).instruction_text)[0] for n in numbers]
    yield "titles", [catalogue.product(stream.randrange(len(catalogue))).title for _ in range(count)]


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
        _index_with_lucene(catalogue, jar, Path(scratch) / "index")
        answer = subprocess.run(
            [*_reference(jar, Path(scratch)), "search", str(Path(scratch) / "index"), "50"],
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


def _index_with_lucene(catalogue: Any, jar: Path, index: Path) -> None:
    """Index the products with Lucene, as the original does."""
    with tempfile.TemporaryDirectory(dir=index.parent) as documents:
        with (Path(documents) / "documents.jsonl").open("w", encoding="utf-8") as file:
            for number in range(len(catalogue)):
                product = catalogue.product(number)
                file.write(json.dumps({"id": product.asin, "contents": product.document()}) + "\n")
        build = ["io.anserini.index.IndexCollection", "-collection", "JsonCollection", "-threads", "1", "-optimize"]
        build += ["-generator", "DefaultLuceneDocumentGenerator", "-input", documents, "-index", str(index)]
        subprocess.run(["java", "-cp", str(jar), *build], capture_output=True, check=True)


def _reference(jar: Path, folder: Path) -> list[str]:
    """Compile Lucene's side into a folder, and return the command that runs it."""
    subprocess.run(["javac", "-cp", str(jar), "-d", str(folder), str(HERE / "lucene" / "Reference.java")], check=True)
    return ["java", "-XX:+UseSerialGC", "-cp", f"{jar}:{folder}", "Reference"]


def lucene(folder: Path, jar: Path, queries: int, rounds: int, size: int) -> None:
    """Compare the order and the CPU time of searches with Lucene's, one query after the other in both engines."""
    from step_envs.webshop.catalogue.catalogue import Catalogue

    _make_once(folder, size)
    catalogue = Catalogue(folder)
    index = folder.with_name(f"{folder.name}-lucene")
    if not index.is_dir():
        _index_with_lucene(catalogue, jar, index)
    kinds = {name: [" ".join(query.split()) for query in listed] for name, listed in _kinds(catalogue, queries)}
    before = memory()
    with tempfile.TemporaryDirectory() as scratch:
        command = [*_reference(jar, Path(scratch)), "time", str(index), "50"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reference:
            # In the first round, Java compiles what it runs, and both engines read their files.
            for _ in range(2):
                for listed in kinds.values():
                    for query in listed:
                        _both(catalogue, reference, query)
            print("CPU time: here and Lucene, each median and 90 %; the original's call; here/Lucene; exact order")
            total = [0, 0]
            for name, listed in kinds.items():
                spent: tuple[list[float], list[float], list[float]] = ([], [], [])
                different = set()
                for _ in range(rounds):
                    for query in listed:
                        ours, theirs, times = _both(catalogue, reference, query)
                        if ours != theirs:
                            different.add(query)
                        for engine, time_of in zip(spent, times, strict=True):
                            engine.append(time_of)
                here, alone, original = ((statistics.median(times), _percentile(times)) for times in spent)
                print(
                    f"{name:<24} {here[0]:8.3f} {here[1]:8.3f} {alone[0]:8.3f} {alone[1]:8.3f} {original[0]:8.3f} ms "
                    f"{here[0] / alone[0]:6.2f} {here[1] / alone[1]:6.2f}   {len(set(listed) - different):,} of "
                    f"{len(set(listed)):,}",
                    flush=True,
                )
                total[0] += len(set(listed) - different)
                total[1] += len(set(listed))
            assert reference.stdin is not None
            reference.stdin.close()
    report("exact order at 50", total[0] / total[1], "", f"{total[0]:,} of {total[1]:,}")
    for kind, value in memory().items():
        report(f"{kind} memory here before and after", before[kind], "MB", f"{value:,.0f} MB")


def _both(catalogue: Any, reference: "subprocess.Popen[str]", query: str) -> tuple[list[str], list[str], list[float]]:
    """Search in both engines, and return the ids of ours, theirs, and the milliseconds: ours, Lucene's, the original's."""
    assert reference.stdin is not None and reference.stdout is not None
    reference.stdin.write(query + "\n")
    reference.stdin.flush()
    alone, original, *theirs = reference.stdout.readline().split()
    begin = time.thread_time_ns()
    found = catalogue.search(query)
    spent = time.thread_time_ns() - begin
    return [catalogue.product(n).asin for n in found], theirs, [n / 1e6 for n in (spent, int(alone), int(original))]


def _percentile(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.9)]


def _kinds(catalogue: Any, count: int) -> Iterator[tuple[str, list[str]]]:
    """Make queries of each kind: what agents search for, and what is hard for an index."""
    from step_envs.webshop.catalogue.analyzer import analyze

    yield from _queries(catalogue, count)
    stream = random.Random(7)
    products = [catalogue.product(stream.randrange(len(catalogue))) for _ in range(count)]
    containing: Counter[str] = Counter()
    for number in range(0, len(catalogue), max(1, len(catalogue) // 20_000)):
        containing.update(set(analyze(catalogue.product(number).document())))
    common = [word for word, _ in containing.most_common(120)]
    rare = sorted(word for word, times in containing.items() if times == 1)
    yield "short product names", [product.query for product in products]
    yield "one common word", common[:count]
    for number in (2, 5, 12):
        yield f"{number} common words", [" ".join(stream.sample(common, number)) for _ in range(count)]
    yield "rare words", [" ".join(stream.sample(rare, stream.randint(1, 3))) for _ in range(count)]
    yield "a rare and common words", [" ".join([stream.choice(rare), *stream.sample(common, 4)]) for _ in range(count)]
    yield "words repeated", [_repeated(stream, product.title) for product in products]
    yield "whole descriptions", [product.document() for product in products[: count // 4]]
    yield "nonsense", ["".join(stream.choices("bcdfgqxz", k=9)) for _ in range(count)]


def _repeated(stream: random.Random, text: str) -> str:
    return " ".join(word for word in text.split() for _ in range(stream.randint(1, 30)))


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
    verb = verbs.add_parser("lucene")
    verb.add_argument("--folder", type=Path, required=True, help="the catalogue; made if it is not there")
    verb.add_argument("--jar", type=Path, required=True, help="Anserini's jar with everything in it")
    verb.add_argument("--queries", type=int, default=120, help="queries of each kind")
    verb.add_argument("--rounds", type=int, default=3)
    verb.add_argument("--size", type=int, default=1_180_000)
    arguments = vars(parser.parse_args())
    {"small": small, "large": large, "ranking": ranking, "lucene": lucene}[arguments.pop("verb")](**arguments)


if __name__ == "__main__":
    main()
