"""Measure how long the HTML file of ``step-envs view`` takes to write and to open: python benchmarks/viewer.py [EPISODES].

The script collects real episodes of ALFWorld and repeats them under new numbers, up to 5,000 (or EPISODES). It writes
the file and opens it from disk in Chromium, three times with a fresh profile each. The page is ready when the list is
drawn and answers keys. This needs the extra browser, and Debian's chromium or another one named by STEP_ENVS_CHROMIUM.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.store import TrajectoryStore, read_trajectories
from step_envs.viewer import Page

CHROMIUM = os.environ.get("STEP_ENVS_CHROMIUM", "/usr/bin/chromium")
FRAMES = """() => new Promise((done) => {
  const box = document.getElementById("list"), times = [];
  let before = performance.now(), at = 0;
  const step = (now) => {
    times.push(now - before); before = now; at += 1;
    box.scrollTop += 400;
    at < 180 ? requestAnimationFrame(step) : done(times.slice(1));
  };
  requestAnimationFrame(step);
})"""


def run_of(episodes: int, folder: Path) -> Path:
    config = CollectConfig(env="STeP-ALFWorld-v0", episodes=200, agent="novice:error_rate=0.2", seed=1)
    collect(config, folder / "some")
    some = list(read_trajectories(folder / "some"))
    many = folder / "many"
    with TrajectoryStore(many / "trajectories.jsonl") as store:
        store.append_line(
            "\n".join(
                one.model_copy(update={"episode": number, "task_id": f"{one.task_id}-{number}"}).to_json()
                for number, one in enumerate(islice(cycle(some), episodes))
            )
        )
    return many


def write(run: Path) -> tuple[Path, float, int]:
    start = time.perf_counter()
    page = Page([run])
    for trajectory in read_trajectories(run):
        page.add(0, trajectory)
    written = page.write(run / "view.html")
    return written.path, time.perf_counter() - start, written.size


def look(browser: Any, path: Path) -> dict[str, float]:
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    start = time.perf_counter()
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")
    ready = time.perf_counter() - start
    start = time.perf_counter()
    page.locator("#rows .row").first.click()
    page.wait_for_selector(".step")
    opened = time.perf_counter() - start
    frames = page.evaluate(FRAMES)
    start = time.perf_counter()
    page.fill("#query", "soapbottle")
    found = time.perf_counter() - start
    start = time.perf_counter()
    page.check("#deep")
    page.wait_for_selector("#count:not(:has-text('searching'))")
    deep = time.perf_counter() - start
    context.close()
    return {
        "ready_seconds": ready,
        "episode_seconds": opened,
        "search_seconds": found,
        "search_in_conversations_seconds": deep,
        "frame_median_ms": statistics.median(frames),
        "frame_slowest_ms": max(frames),
    }


def main() -> None:
    episodes = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    with tempfile.TemporaryDirectory() as folder:
        run = run_of(episodes, Path(folder))
        path, seconds, size = write(run)
        lines = (run / "trajectories.jsonl").stat().st_size
        with sync_playwright() as driver:
            measured = []
            for _ in range(3):
                browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
                measured.append(look(browser, path))
                browser.close()
    figures = {name: round(statistics.median(one[name] for one in measured), 3) for name in measured[0]}
    print(
        json.dumps(
            {
                "episodes": episodes,
                "run_bytes": lines,
                "file_bytes": size,
                "write_seconds": round(seconds, 2),
                **figures,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
