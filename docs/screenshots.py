"""Make the pictures of the viewer in docs/images: python docs/screenshots.py [--tokenizer FOLDER] [--runs FOLDER].

The script collects two small runs of ScienceWorld, writes the HTML file of ``step-envs view``, and takes screenshots of its
main views in Chromium. It needs the extras browser and report, and Debian's chromium or another one named by
STEP_ENVS_CHROMIUM. It uses the font Roboto if it is installed.
"""

import argparse
import json
import os
import tempfile
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from step_envs.collection import CollectConfig, collect
from step_envs.store import read_trajectories
from step_envs.viewer import Page
from step_envs.viewer.watch_server import WatchServer

CHROMIUM = os.environ.get("STEP_ENVS_CHROMIUM", "/usr/bin/chromium")
IMAGES = Path(__file__).parent / "images"
TYPES = (
    "use-thermometer",
    "find-living-thing",
    "chemistry-mix-paint-secondary-color",
    "power-component",
    "lifespan-longest-lived",
)
DESK, PHONE = (1280, 800), (390, 780)
FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
<include ignore_missing="yes">/etc/fonts/fonts.conf</include>
<match target="pattern"><test name="family"><string>system-ui</string></test>
<edit name="family" mode="prepend" binding="strong"><string>Roboto</string></edit></match>
<match target="pattern"><test name="family"><string>ui-sans-serif</string></test>
<edit name="family" mode="prepend" binding="strong"><string>Roboto</string></edit></match>
</fontconfig>"""


def runs(folder: Path) -> list[Path]:
    made = []
    for name, rate in (("half-trained", 0.3), ("after-stage-2", 0.12)):
        config = CollectConfig(
            env="STeP-SciWorld-v0",
            env_options={"task_types": TYPES},
            episodes=24,
            agent=f"novice:error_rate={rate}",
            seed=1,
        )
        collect(config, folder / name, concurrency=2, resume=True)
        made.append(folder / name)
    return made


def page_of(path: Path, folders: list[Path], tokenizer: Path | None) -> Path:
    tokens = None
    if tokenizer is not None:
        from step_envs.agents.local.checkpoint import load_tokenizer
        from step_envs.viewer.tokens import TokenPacker

        tokens = TokenPacker(load_tokenizer(tokenizer), str(tokenizer))
    page = Page(folders, tokens=tokens)
    for number, run in enumerate(folders):
        for trajectory in read_trajectories(run):
            page.add(number, trajectory)
    return page.write(path).path


def shoot(
    browser: Any, file: Path, name: str, address: str, *keys: str, size: tuple[int, int] = DESK, scheme: str = "light"
) -> None:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(f"{file.as_uri()}{address}")
    page.wait_for_selector("html[data-ready]")
    for key in keys:
        page.keyboard.press(key)
        page.wait_for_timeout(150)
    page.wait_for_timeout(150)
    picture = Image.open(BytesIO(page.screenshot()))
    picture.convert("RGB").save(IMAGES / f"{name}.png", optimize=True)
    context.close()


def shoot_watched(browser: Any, run: Path, folder: Path) -> None:
    """Take pictures of the page that follows a run which is half written, with episodes that have failed."""
    watched = folder / run.name
    watched.mkdir(parents=True)
    lines = (run / "trajectories.jsonl").read_text().splitlines(keepends=True)
    (watched / "config.json").write_text((run / "config.json").read_text())
    (watched / "trajectories.jsonl").write_text("".join(lines[:9]))
    records = (
        {"episode": 20 + at, "task_id": f"boil/{at}", "reason": "TimeoutError: The episode took longer than 60 s."}
        for at in range(2)
    )
    (watched / "failures.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    with WatchServer([watched]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, size, scheme in (("", DESK, "light"), ("-dark", DESK, "dark"), ("-phone", PHONE, "light")):
            context = browser.new_context(
                viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce"
            )
            page = context.new_page()
            page.goto(server.url)
            page.wait_for_selector("html[data-ready]")
            if size == PHONE:
                page.click("#show-overview")
            for line in lines[9:11] if not name else ():
                with (watched / "trajectories.jsonl").open("a") as file:
                    file.write(line)
                page.wait_for_timeout(2500)
            page.wait_for_timeout(300)
            picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
            picture.quantize(128).save(IMAGES / f"viewer-watch{name}.png", optimize=True)
            context.close()
        server.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokenizer", type=Path, help="for the picture of the token view; without it, that one stays")
    parser.add_argument("--runs", type=Path, help="folder in which the runs stay, for another time")
    arguments = parser.parse_args()
    tokenizer = arguments.tokenizer
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "fonts.conf").write_text(FONTS)
        one, other = runs(arguments.runs or folder)
        # The shortest episode that went wrong twice and still succeeded: the most to see on one page.
        shown = min(
            (each for each in read_trajectories(one) if each.errors == 2 and each.success),
            key=lambda each: len(each.turns),
        )
        episode = f"#task={shown.task_id}&episode={shown.episode}"
        single = page_of(folder / "single.html", [one], tokenizer)
        double = page_of(folder / "double.html", [one, other], None)
        with sync_playwright() as driver:
            environment = os.environ | {"FONTCONFIG_FILE": str(folder / "fonts.conf")}
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], env=environment)
            shoot(browser, single, "viewer-overview", "#")
            shoot(browser, single, "viewer-episode", episode, "n")
            shoot(browser, single, "viewer-episode-dark", episode, scheme="dark")
            shoot(browser, double, "viewer-side-by-side", f"#compare=1,2&task={shown.task_id}")
            shoot(browser, single, "viewer-phone-list", "#errors=some", size=PHONE)
            shoot(browser, single, "viewer-phone-episode", episode, "n", size=PHONE, scheme="dark")
            if tokenizer is not None:
                shoot(browser, single, "viewer-tokens", f"{episode}&tab=tokens", "n", "n")
            shoot_watched(browser, one, folder / "watched")
            browser.close()


if __name__ == "__main__":
    main()
