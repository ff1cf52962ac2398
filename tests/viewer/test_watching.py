"""The page that follows a run, in a real browser, while a real process writes the run."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from run_writer import RunWriter

pytestmark = pytest.mark.browser
Watch = Callable[..., Any]


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[RunWriter]:
    with RunWriter(tmp_path / "run") as one:
        yield one


@pytest.fixture
def server(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "step_envs.cli", "view", str(tmp_path / "run"), "--watch"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    yield process
    process.kill()
    process.communicate()


def address(server: "subprocess.Popen[str]") -> str:
    assert server.stdout is not None
    while not (line := server.stdout.readline()).startswith("Open in a browser: "):
        assert line
    return line.removeprefix("Open in a browser: ").strip()


@pytest.fixture
def watch(browser: Any, server: "subprocess.Popen[str]") -> Iterator[Watch]:
    """Opens the page that follows the run; at the end sees to it that it threw no error and asked nobody else."""
    contexts, faults = [], []

    def opened(hash: str = "", *, width: int = 1280, height: int = 860) -> Any:
        url = address(server)
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("request", lambda request: None if request.url.startswith(url) else faults.append(request.url))
        page.goto(f"{url}{hash}")
        page.wait_for_selector("html[data-ready]")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def wait_for(page: Any, selector: str, text: str) -> None:
    """Wait until an element has a text; the policy of the page forbids the driver's own way."""
    found = ""
    for _ in range(400):
        found = page.locator(selector).first.inner_text() if page.locator(selector).count() else ""
        if text in found:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{selector} holds {found!r}, not {text!r}")


def titles(page: Any) -> list[str]:
    return [text.replace("\n", "") for text in page.locator("#rows .row-title").all_inner_texts()]


def test_episodes_appear_from_before_the_run_begins_until_after_it_was_resumed(writer: RunWriter, watch: Watch) -> None:
    page = watch()
    assert page.locator("#watch-state").inner_text() == "Waiting for the first episode"
    writer.order("plan 5", 0)
    wait_for(page, "#watch-state", "Following: 1 of 5")
    assert titles(page) == ["boil/0"]
    writer.order(1, "half")
    wait_for(page, "#count", "2 episodes")
    writer.order("end")
    wait_for(page, "#watch-state", "Stopped at 2 of 5")
    writer.kill()
    with RunWriter(writer.folder) as resumed:
        resumed.order(2, 3, 4)
        wait_for(page, "#watch-state", "Ended: 5 of 5")
    assert len(titles(page)) == 5
    # The overview follows, too.
    wait_for(page, ".card .small", "4 of 5")


def test_what_the_reader_has_open_chosen_and_typed_stays(writer: RunWriter, watch: Watch) -> None:
    writer.order("plan 99", *range(30))
    page = watch("#task=melt/10&outcome=success&sort=-task&q=e", height=500)
    page.locator("#list").evaluate("node => { node.scrollTop = 140 }")
    page.locator("#pane").evaluate("node => { node.scrollTop = 60 }")
    page.locator("#query").focus()
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#pane h2'))")
    top = page.locator("#rows .row").filter(has_text="melt/10").bounding_box()["y"]
    before = page.url
    writer.order(*range(30, 60))
    wait_for(page, "#watch-state", "Following: 60 of 99")
    assert page.url == before
    assert page.locator("#pane h2").inner_text() == "melt/10"
    assert page.locator("#pane").evaluate("node => node.scrollTop") == 60
    assert page.evaluate("getSelection().toString()") == "melt/10"
    assert page.locator("#query").input_value() == "e"
    assert page.locator("#filter-outcome").input_value() == "success"
    # Rows came before and behind it; what is chosen stands where it stood.
    assert page.locator("#rows .row").filter(has_text="melt/10").bounding_box()["y"] == top
    assert page.locator("#rows [aria-selected=true] .row-title").inner_text().replace("\n", "") == "melt/10"
    # Episodes that came later can be read like the first ones.
    page.goto(f"{page.url.split('#')[0]}#task=grow/59")
    wait_for(page, "#pane h2", "grow/59")
    assert page.locator(".step").count() > 0


def test_an_episode_that_a_link_names_is_shown_when_it_is_written(writer: RunWriter, watch: Watch) -> None:
    writer.order("plan 9", 0)
    page = watch("#task=melt/1")
    assert page.locator("[role=alert]").inner_text() == "This file does not hold task melt/1."
    writer.order(1)
    wait_for(page, "#pane h2", "melt/1")


def test_conversations_that_come_later_are_searched_too(writer: RunWriter, watch: Watch) -> None:
    writer.order("plan 9", 0, 1)
    page = watch("#q=zebra&deep=1")
    wait_for(page, "#count", "0 of 2 episodes")
    writer.order(6, 7, 8)
    wait_for(page, "#count", "1 of 5 episodes")
    assert titles(page) == ["melt/7"]


def test_failures_have_a_place_of_their_own(writer: RunWriter, watch: Watch) -> None:
    writer.order("plan 9", 0)
    page = watch()
    writer.order(
        "fail 3 TimeoutError: The episode took longer than 30 s.",
        "fail 4 TimeoutError: The episode took longer than 5 s.",
    )
    wait_for(page, ".failed h3", "2 episodes without a trajectory")
    assert page.locator(".failures li").all_inner_texts() == [
        "2\n\nTimeoutError: The episode took longer than 30 s.\n\nFor example episode 3, task boil/3. Give episodes more "
        "time with --episode-seconds, or play fewer at once with --concurrency."
    ]
    assert page.locator("#watch-state").inner_text() == "Following: 1 of 9, 2 failed"


def test_a_run_begun_anew_replaces_what_is_shown(writer: RunWriter, watch: Watch) -> None:
    writer.order("plan 9", 0, 1, 2)
    page = watch("#task=melt/1")
    assert page.locator("#pane h2").inner_text() == "melt/1"
    writer.order("again", 5)
    wait_for(page, "#count", "1 episode")
    assert titles(page) == ["grow/5"]


def test_it_says_when_it_is_not_followed_any_more_and_stays_readable(
    writer: RunWriter, watch: Watch, server: "subprocess.Popen[str]"
) -> None:
    writer.order("plan 9", 0, 1)
    page = watch("#task=boil/0")
    server.send_signal(signal.SIGINT)
    wait_for(page, "#watch-state", "Not followed any more")
    assert page.locator("#pane h2").inner_text() == "boil/0"
    assert len(titles(page)) == 2


def test_on_a_phone_the_state_is_in_sight(writer: RunWriter, watch: Watch) -> None:
    writer.order("plan 5", 0)
    page = watch(width=390, height=780)
    wait_for(page, "#watch-state", "Following: 1 of 5")
    assert page.locator("#watch-state").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
