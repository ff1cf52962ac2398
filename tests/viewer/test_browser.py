"""The page in a real browser: opens from disk, filters, sorts, is steered by keyboard and by address, and stays text."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sample_runs import HOSTILE, episode, hostile_run, ordinary_run, write_run

from step_envs.store import read_trajectories
from step_envs.trajectory import Trajectory
from step_envs.viewer import Page
from step_envs.viewer.pack import packed

pytestmark = pytest.mark.browser
Open = Callable[..., Any]


def page_of(path: Path, *runs: Path) -> Path:
    page = Page(runs)
    for number, run in enumerate(runs):
        for one in read_trajectories(run):
            page.add(number, one)
    return page.write(path).path


@pytest.fixture(scope="module")
def single(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_of(tmp_path_factory.mktemp("single") / "view.html", run)


@pytest.fixture(scope="module")
def double(run: Path, other_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_of(tmp_path_factory.mktemp("double") / "view.html", run, other_run)


def count(page: Any) -> str:
    return page.locator("#count").inner_text()


def titles(page: Any) -> list[str]:
    return [text.replace("\n", "") for text in page.locator("#rows .row-title").all_inner_texts()]


def heading(page: Any) -> str:
    return page.locator("#pane h2").inner_text()


def wait_until(page: Any, condition: str) -> None:
    """Wait for a condition; the policy of the page forbids the driver's own way, which evaluates text in it."""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(30)
    raise AssertionError(f"not within three seconds: {condition}")


def expect_heading(page: Any, text: str) -> None:
    wait_until(page, f"document.querySelector('#pane h2')?.textContent === {text!r}")


# Opening.


def test_it_opens_from_disk_with_the_figures_of_the_run(single: Path, open_page: Open) -> None:
    page = open_page(single)
    assert count(page) == "24 episodes"
    assert heading(page) == "Overview"
    cards = page.locator(".card").all_inner_texts()
    assert cards[0].split("\n") == ["Success", "75\u00a0%", "18 of 24, 95\u00a0% interval 55\u00a0% to 88\u00a0%"]
    assert cards[2].split("\n") == ["Errors", "8", "0.33 an episode, 8 corrected"]
    assert page.title() == "before - step-envs"


def test_an_episode_is_shown_as_the_conversation_it_is(single: Path, open_page: Open) -> None:
    page = open_page(single, "#task=boil/0")
    steps = page.locator(".step")
    assert [steps.nth(at).get_attribute("aria-label") for at in range(steps.count())] == [
        "Step 1, agent, verdict ok, loss weight 1",
        "Step 2, error, loss weight 0",
        "Step 3, correction, loss weight 1",
        "Step 4, agent, verdict ok, loss weight 1",
    ]
    wrong = page.locator(".step.error")
    assert wrong.locator("del").inner_text() == "Thought: I jump.\n\nAction: jump".replace("\n\n", "\n")
    assert "line-through" in wrong.locator("del").evaluate("node => getComputedStyle(node).textDecoration")
    assert wrong.locator(".remark dd").all_inner_texts() == [
        "It was useless.", "It changes nothing. a room", "I take the pot.", "take pot",
    ]  # fmt: skip
    assert wrong.locator(".weight").inner_text() == "loss 0"
    assert page.locator(".step.correction .score").inner_text() == "score 0.50 +0.25"
    assert page.locator(".chart").first.get_attribute("aria-label") == (
        "Score over 4 replies, at the end 1.00; rewards +0.25 at step 1, +0.25 at step 3, +0.75 at step 4; "
        "errors at step 2."
    )
    assert page.locator(".manual").evaluate("node => node.open") is False


def test_values_are_drawn_along_the_episode(open_page: Open, tmp_path: Path) -> None:
    plain = episode(0)
    values = iter((0.5, 0.6, 0.6, 0.8, 1.0))
    valued = [(turn.role == "assistant" and turn.kind != "instruction") or turn.score == 0.0 for turn in plain.turns]
    turns = [
        turn.model_copy(update={"value": next(values) if known else None})
        for turn, known in zip(plain.turns, valued, strict=True)
    ]
    write_run(tmp_path / "valued", [plain.model_copy(update={"turns": tuple(turns)}), episode(1)])
    page = open_page(page_of(tmp_path / "view.html", tmp_path / "valued"), "#task=boil/0")
    assert page.locator(".step .value").all_inner_texts() == ["value 0.60", "value 0.60", "value 0.80", "value 1.00"]
    drawn = page.locator("figure .chart .value-line").get_attribute("d")
    assert re.fullmatch(r"M34\.0 [\d.]+(L[\d.]+ [\d.]+){4}", drawn)
    assert "; values from 0.50 to 1.00; errors at step 2." in page.locator(".chart").first.get_attribute("aria-label")
    assert "value" in page.locator("figure .legend").inner_text().split("\n")
    expect_no_values = open_page(tmp_path / "view.html", "#task=melt/1")
    assert expect_no_values.locator(".value, .value-line").count() == 0


def test_the_record_shows_what_else_is_known(single: Path, open_page: Open) -> None:
    page = open_page(single, "#episode=3&tab=record")
    text = page.locator(".record").inner_text()
    assert re.search(r"agent.name\s+novice", text) and re.search(r"usage.prompt_tokens\s+300", text)


def test_without_tokens_the_page_says_how_to_get_them(single: Path, open_page: Open) -> None:
    page = open_page(single, "#episode=3&tab=tokens")
    assert "step-envs view RUN --tokens TOKENIZER" in page.locator(".empty").inner_text()


# List.


@pytest.mark.parametrize(
    ("choice", "value", "expected"),
    [
        ("type", "melt", 8),
        ("outcome", "unsuccessful", 6),
        ("outcome", "recovered", 6),
        ("outcome", "max_steps", 6),
        ("errors", "some", 8),
        ("errors", "none", 16),
        ("unknown", "some", 5),
    ],
)
def test_filters(choice: str, value: str, expected: int, single: Path, open_page: Open) -> None:
    page = open_page(single)
    page.select_option(f"#filter-{choice}", value)
    assert count(page) == f"{expected} of 24 episodes"
    assert page.locator(".lead").inner_text() == f"{expected} of 24 episodes, as filtered."
    assert page.evaluate("location.hash") == f"#{choice}={value}"
    page.click("#clear")
    assert count(page) == "24 episodes"


def test_filters_of_several_runs(double: Path, open_page: Open) -> None:
    page = open_page(double)
    assert count(page) == "48 episodes"
    page.select_option("#filter-run", "after")
    assert count(page) == "24 of 48 episodes"
    page.select_option("#filter-errors", "some")
    assert count(page) == "0 of 48 episodes"


def test_search_in_tasks_and_in_conversations(single: Path, open_page: Open) -> None:
    page = open_page(single)
    page.fill("#query", "melt/1")
    assert sorted(titles(page)) == ["melt/1", "melt/10", "melt/13", "melt/16", "melt/19"]
    page.fill("#query", "zebra")
    assert count(page) == "0 of 24 episodes"
    page.check("#deep")
    wait_until(page, "document.getElementById('count').textContent === '1 of 24 episodes'")
    assert titles(page) == ["melt/7"]
    page.locator("#list").press("Enter")
    page.wait_for_selector("#pane mark")
    assert page.locator("#pane mark").all_inner_texts() == ["zebra"]


def test_sorting(single: Path, open_page: Open) -> None:
    page = open_page(single)
    page.select_option("#sort", "task")
    assert titles(page)[:3] == ["boil/0", "boil/3", "boil/6"]
    page.click("#direction")
    assert titles(page)[0] == "melt/22"
    page.select_option("#sort", "score")
    assert page.locator(".row-score").first.inner_text().endswith("1.00")
    page.click("#direction")
    assert page.locator(".row-score").first.inner_text().endswith("0.50")
    page.select_option("#sort", "cost")
    assert titles(page)[0] == "boil/0"


def test_a_line_of_the_figures_filters_the_list(single: Path, open_page: Open) -> None:
    page = open_page(single)
    page.get_by_role("button", name="grow").click()
    assert count(page) == "8 of 24 episodes"
    assert page.locator("#filter-type").input_value() == "grow"


# Keyboard.


def test_everything_by_keyboard(single: Path, open_page: Open) -> None:
    page = open_page(single)
    page.keyboard.press("j")
    page.wait_for_selector("#pane .step")
    assert heading(page) == "boil/0"
    page.keyboard.press("ArrowDown")
    expect_heading(page, "melt/1")
    page.keyboard.press("k")
    expect_heading(page, "boil/0")
    page.keyboard.press("n")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Step 2, error, loss weight 0"
    page.keyboard.press("r")
    page.wait_for_selector(".record")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "list"
    page.keyboard.press("End")
    expect_heading(page, "grow/23")
    page.keyboard.press("Enter")
    wait_until(page, "document.activeElement.tagName === 'H2'")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query"
    page.keyboard.type("melt/4j")
    assert page.locator("#query").input_value() == "melt/4j"
    page.keyboard.press("Escape")
    assert page.locator("#query").input_value() == "" and count(page) == "24 episodes"
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect_heading(page, "Overview")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()


def test_the_list_tells_screen_readers_where_they_are(single: Path, open_page: Open) -> None:
    page = open_page(single)
    page.focus("#list")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    active = page.locator("#list").get_attribute("aria-activedescendant")
    row = page.locator(f"#{active}")
    assert row.get_attribute("aria-selected") == "true"
    assert (row.get_attribute("aria-posinset"), row.get_attribute("aria-setsize")) == ("2", "24")
    wait_until(page, "document.getElementById('live').textContent.startsWith('melt/1, out of steps')")


# Addresses.


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("#task=grow/5", "grow/5"),
        ("#episode=7", "melt/7"),
        ("#task=melt/7&episode=7&outcome=success", "melt/7"),
        ("#outcome=success", "Overview"),
        ("#outcome=nonsense&sort=sideways&tab=x&step=x", "Overview"),
    ],
)
def test_deep_links(address: str, expected: str, single: Path, open_page: Open) -> None:
    page = open_page(single, address)
    assert heading(page) == expected


def test_what_a_link_asks_for_and_the_file_does_not_hold(single: Path, open_page: Open) -> None:
    page = open_page(single, "#task=boil/99&episode=1")
    assert page.get_by_role("alert").inner_text() == "This file does not hold task boil/99, episode 1."


def test_the_address_leads_back_to_the_same_view(double: Path, open_page: Open) -> None:
    page = open_page(double)
    page.select_option("#filter-outcome", "recovered")
    page.select_option("#sort", "steps")
    page.locator("#rows .row").nth(2).click()
    page.wait_for_selector("#pane .step")
    page.keyboard.press("n")
    before = (page.locator("#pane").inner_text(), titles(page), count(page))
    again = open_page(double, page.evaluate("location.hash"))
    assert (again.locator("#pane").inner_text(), titles(again), count(again)) == before
    assert again.locator(".current").get_attribute("id") == "step-2"


def test_episodes_without_a_number_have_links_of_their_own(tmp_path: Path, open_page: Open) -> None:
    texts = ("first", "second", "third")
    run = write_run(tmp_path / "run", (episode(3, episode=None, instruction=text) for text in texts))
    path = page_of(tmp_path / "view.html", run)
    page = open_page(path)
    for text in texts:
        page.keyboard.press("j")
        wait_until(page, f"document.querySelector('#pane .instruction')?.textContent === {text!r}")
        again = open_page(path, page.evaluate("location.hash"))
        assert again.locator("#pane .instruction").inner_text() == text
    page.go_back()
    wait_until(page, "document.querySelector('#pane .instruction')?.textContent === 'second'")


def test_back_and_forth_in_the_history(single: Path, open_page: Open) -> None:
    page = open_page(single)
    for row in (0, 1):
        page.locator("#rows .row").nth(row).click()
        page.wait_for_selector("#pane .step")
    page.go_back()
    expect_heading(page, "boil/0")
    page.go_back()
    expect_heading(page, "Overview")
    page.go_forward()
    expect_heading(page, "boil/0")


# Two runs.


def test_two_runs_side_by_side(double: Path, open_page: Open) -> None:
    page = open_page(double)
    page.get_by_role("button", name="Side by side").click()
    assert count(page) == "24 pairs"
    page.select_option("#filter-outcome", "right")
    assert count(page) == "3 of 24 pairs"
    page.locator("#rows .row").first.click()
    page.wait_for_selector(".compare")
    assert heading(page) == "melt/1"
    assert page.locator(".compare-facts .badge").all_inner_texts() == ["out of steps", "success"]
    again = open_page(double, page.evaluate("location.hash"))
    assert heading(again) == "melt/1"


def test_where_two_episodes_part_is_marked(double: Path, open_page: Open) -> None:
    page = open_page(double, "#compare=1,2&task=boil/0")
    assert page.locator(".parting-note").inner_text() == "Alike for 1 step; from here on the two act differently."
    assert page.locator(".compare-steps > li").count() == 4
    assert page.locator(".cell.over").count() == 2


def test_from_an_episode_to_its_like_in_the_other_run(double: Path, open_page: Open) -> None:
    page = open_page(double, "#task=melt/1&in=before")
    page.locator(".elsewhere").get_by_role("button", name="Side by side").click()
    page.wait_for_selector(".compare")
    assert page.evaluate("location.hash") == "#compare=1,2&task=melt/1"


# Looks.


def test_on_a_phone_list_and_episode_take_turns(single: Path, open_page: Open) -> None:
    page = open_page(single, width=390, height=844, has_touch=True)
    assert page.locator("#browse").is_visible() and not page.locator("#pane").is_visible()
    page.locator("#rows .row").nth(3).tap()
    page.wait_for_selector(".step")
    assert page.locator("#pane").is_visible() and not page.locator("#browse").is_visible()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
    assert page.locator("#pane").evaluate("node => node.scrollWidth <= node.clientWidth")
    page.get_by_role("button", name="All episodes").click()
    assert page.locator("#browse").is_visible()


def test_light_and_dark(single: Path, open_page: Open) -> None:
    def ground(page: Any) -> str:
        return page.evaluate("getComputedStyle(document.documentElement).backgroundColor")

    light, dark = open_page(single, color_scheme="light"), open_page(single, color_scheme="dark")
    assert ground(light) != ground(dark)
    light.click("#theme")
    light.click("#theme")
    assert ground(light) == ground(dark)
    assert light.locator("#theme").get_attribute("aria-label") == "Colours: dark"
    light.reload()
    assert ground(light) == ground(dark)


# Text stays text.


def test_hostile_text_changes_nothing(tmp_path: Path, open_page: Open) -> None:
    trajectories = list(hostile_run())
    file = page_of(tmp_path / "view.html", write_run(tmp_path / "run", trajectories))
    page = open_page(file)
    # What was in the file before any text of it was drawn, and nothing more.
    elements = "[...document.querySelectorAll('script, style, img, iframe, object, embed, link, base, form')].length"
    before = page.evaluate(elements)
    assert count(page) == f"{len(trajectories)} episodes"
    for tab in ("c", "r"):
        page.focus("#list")
        page.keyboard.press("Home")
        for _ in trajectories:
            page.keyboard.press(tab)
            page.keyboard.press("j")
    page.wait_for_timeout(300)
    for address in ("#task=__proto__", f"#task={HOSTILE[0]}", f"#q={HOSTILE[1]}", "#type=__proto__&sort=constructor"):
        page.evaluate("address => { location.hash = address; }", address)
        page.wait_for_timeout(100)
    assert page.evaluate(elements) == before
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("({}).polluted === undefined && Object.prototype.polluted === undefined")
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


def test_every_hostile_task_has_a_link_that_works(tmp_path: Path, open_page: Open) -> None:
    trajectories = list(hostile_run())
    file = page_of(tmp_path / "view.html", write_run(tmp_path / "run", trajectories))
    page = open_page(file)
    page.focus("#list")
    for one in trajectories[:12]:
        page.keyboard.press("j")
        wait_until(page, f"location.hash.includes('episode={one.episode}')")
        page.evaluate("dispatchEvent(new PopStateEvent('popstate'))")
        page.wait_for_timeout(60)
        assert page.locator(".notice").count() == 0


def test_steering_characters_are_drawn_as_symbols(tmp_path: Path, open_page: Open) -> None:
    file = page_of(tmp_path / "view.html", write_run(tmp_path / "run", hostile_run()))
    page = open_page(file)
    page.fill("#query", "drawkcab")
    page.locator("#rows .row").first.click()
    page.wait_for_selector(".step")
    assert "<U+202E>drawkcab<U+202C>" in page.locator("#pane").inner_text()
    steering = "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
    assert not re.search(steering, page.locator("body").inner_text())


# Many.


def test_five_thousand_episodes(tmp_path: Path, open_page: Open) -> None:
    file = page_of(tmp_path / "view.html", write_run(tmp_path / "run", ordinary_run(5000)))
    page = open_page(file)
    assert count(page) == "5,000 episodes"
    assert page.locator("#rows .row").count() < 60
    page.locator("#list").evaluate("node => { node.scrollTop = node.scrollHeight; }")
    wait_until(page, "document.querySelector('#rows').innerText.includes('/4999')")
    assert page.locator("#rows .row").count() < 60
    page.fill("#query", "grow/4997")
    assert count(page) == "1 of 5,000 episodes"
    page.focus("#list")
    page.keyboard.press("Enter")
    expect_heading(page, "grow/4997")


def test_long_answers_are_folded(tmp_path: Path, open_page: Open) -> None:
    one = episode(1, text="\n".join(f"thing {number}" for number in range(40)))
    page = open_page(page_of(tmp_path / "view.html", write_run(tmp_path / "run", [one])), "#episode=1")
    world = page.locator(".below .world").first
    height = world.bounding_box()["height"]
    world.get_by_role("button", name="Show all 40 lines").click()
    assert world.bounding_box()["height"] > 2 * height
    world.get_by_role("button", name="Show less").click()
    assert world.bounding_box()["height"] == height


class Words:
    """Stands for a packer of tokens: every word is one, those of the third reply weigh a half."""

    trajectories = 1
    texts: Sequence[str] = ()

    def add(self, chunk: int, at: int, trajectory: Trajectory) -> None:
        self.texts = ["long " * 5000, *(turn.content for turn in trajectory.turns)]

    def about(self) -> dict[str, Any]:
        return {"name": "</script>words", "trajectories": 1, "tokens": 0}

    def blocks(self) -> Iterator[tuple[str, str]]:
        words = [f"{word} " for text in self.texts for word in text.split(" ")]
        yield "vocabulary", packed(json.dumps([*words, "<b>\u202e"]))
        sample = {"t": [*range(len(words)), len(words)], "w": [[len(words) - 2, 0], [2, 0.5], [1, 1]]}
        yield "tokens-0", packed(json.dumps([[sample]]))


def test_tokens_are_shown_with_their_weights(tmp_path: Path, open_page: Open) -> None:
    page = Page([tmp_path], tokens=Words())  # type: ignore[arg-type]
    page.add(0, episode(3))
    shown = open_page(page.write(tmp_path / "view.html").path, "#episode=3&tab=tokens")
    assert "3 trained" in shown.locator(".token-facts").inner_text()
    assert shown.locator(".token-view code").inner_text() == "</script>words"
    trained = shown.locator(".run.trained")
    assert [trained.nth(at).locator(".token").count() for at in range(trained.count())] == [2, 1]
    assert trained.nth(0).locator(".hidden").first.text_content() == "[weight 0.5: "
    assert trained.nth(1).locator(".token").inner_text() == "<b><U+202E>"
    grounds = [
        run.locator(".token").first.evaluate("node => getComputedStyle(node).backgroundColor") for run in trained.all()
    ]
    assert len(set(grounds)) == 2
    shown.keyboard.press("n")
    shown.keyboard.press("n")
    assert trained.nth(1).evaluate("node => node.classList.contains('current')")
    # Only the pane scrolls, never the page.
    assert shown.evaluate("document.scrollingElement.scrollHeight <= innerHeight")
    shown.keyboard.press("p")
    assert trained.nth(0).evaluate("node => node.classList.contains('current')")
