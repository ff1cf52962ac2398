"""The file that ``step-envs view`` writes: what it holds, and that nothing in it can be taken for markup."""

import base64
import gzip
import hashlib
import json
import os
import re
import sys
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from sample_runs import HOSTILE, episode, hostile_run, ordinary_run, write_run
from typer.testing import CliRunner, Result

from step_envs.cli import app
from step_envs.runs import run_names
from step_envs.store import read_trajectories
from step_envs.trajectory import Trajectory
from step_envs.viewer import Page
from step_envs.viewer.pack import COLUMNS, inert


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


class Scripts(HTMLParser):
    """Collects the elements of a page, and the text of its scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.policy = ""
        self.held: list[tuple[str, str]] = []
        self._open = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        self.tags.append(tag)
        if named.get("http-equiv") == "Content-Security-Policy":
            self.policy = named["content"] or ""
        if tag in ("script", "style"):
            self._open = named.get("id") or tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.held.append((self._open, data))
            self._open = ""


def parsed(path: Path) -> Scripts:
    page = Scripts()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def unpacked(text: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(json.loads(text))))


def written(folder: Path, *trajectories: Trajectory) -> Path:
    page = Page([folder])
    for one in trajectories:
        page.add(0, one)
    return page.write(folder / "view.html").path


def records(path: Path) -> list[Trajectory]:
    blocks = dict(parsed(path).held)
    manual = unpacked(blocks["manual"])
    index = json.loads(blocks["index"])
    found = []
    for row in index["rows"]:
        named = dict(zip(COLUMNS, row, strict=True))
        item = unpacked(blocks[f"chunk-{named['chunk']}"])[named["at"]]
        for at, number in enumerate(item["manual"]):
            item["record"]["turns"][at]["content"] = manual[number]
        found.append(Trajectory.model_validate(item["record"]))
    return found


@pytest.mark.parametrize("trajectories", [list(ordinary_run(7)), list(hostile_run())], ids=["ordinary", "hostile"])
def test_the_page_holds_every_trajectory_whole(trajectories: list[Trajectory], tmp_path: Path) -> None:
    assert records(written(tmp_path, *trajectories)) == trajectories


def test_conversations_are_cut_into_chunks(tmp_path: Path) -> None:
    trajectories = [episode(number, text=f"{number} " + "long " * 20_000) for number in range(4)]
    path = written(tmp_path, *trajectories)
    assert records(path) == trajectories
    assert {name for name, _ in parsed(path).held} >= {"chunk-0", "chunk-1"}


def test_no_text_becomes_markup(tmp_path: Path) -> None:
    plain, hostile = (
        parsed(written(tmp_path, *trajectories)) for trajectories in (ordinary_run(3), list(hostile_run())[:3])
    )
    assert hostile.tags == plain.tags
    for name, text in hostile.held:
        if name not in ("script", "style"):
            assert re.fullmatch(r"[ -~]*", text) and not set(text) & set("<>&"), name


def test_the_policy_allows_the_one_script_and_the_one_style_and_nothing_else(run: Path, tmp_path: Path) -> None:
    page = parsed(written(tmp_path, *read_trajectories(run)))
    texts = dict(page.held)

    def digest(name: str) -> str:
        return "sha256-" + base64.b64encode(hashlib.sha256(texts[name].encode()).digest()).decode()

    rules = dict(rule.split(" ", 1) for rule in page.policy.split("; "))
    assert rules == {
        "default-src": "'none'",
        "script-src": f"'{digest('script')}'",
        "style-src": f"'{digest('style')}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_the_script_makes_no_markup_out_of_text_and_asks_for_nothing() -> None:
    folder = resources.files("step_envs.viewer") / "page"
    texts = {file.name: file.read_text() for file in folder.iterdir() if file.name.endswith(".js")}
    text = "\n".join(texts.values())
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(",
                      "XMLHttpRequest", "import(", "srcdoc", "</script", "<!--", "WebSocket", "sendBeacon"):  # fmt: skip
        assert forbidden not in text
    # What asks the server for more is only in the page that follows a run.
    assert [name for name, script in texts.items() if "fetch(" in script] == ["live.js"]
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}


def test_the_same_run_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    one = written(tmp_path, *read_trajectories(run)).read_bytes()
    assert written(tmp_path, *read_trajectories(run)).read_bytes() == one


@pytest.mark.parametrize("text", [*HOSTILE, "plain"])
def test_inert_text_is_the_same_value(text: str) -> None:
    assert json.loads(inert(text)) == text


def test_runs_are_named_by_what_tells_them_apart(tmp_path: Path) -> None:
    assert run_names([tmp_path / "a", tmp_path / "b" / "trajectories.jsonl"]) == ["a", "b"]
    assert run_names([tmp_path / "1" / "run", tmp_path / "2" / "run"]) == ["1/run", "2/run"]
    with pytest.raises(ValueError, match="run is named twice: name each run once"):
        run_names([tmp_path / "run", tmp_path / "run"])


# The verb.


def test_view_writes_the_page_into_the_run(run: Path) -> None:
    result = call("view", run)
    assert result.exit_code == 0
    assert re.search(r"To read in a browser: .*view\.html \(\d+\.\d MB\)", result.stdout.replace("\n", " "))
    assert len(records(run / "view.html")) == 24


def test_view_writes_nothing_unasked(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", ordinary_run(4))
    for more in (["--no-html"], ["--json"], ["--episode", 1], ["--corrected"], ["--outcome", "success"]):
        assert call("view", folder, *more).exit_code == 0
    assert [file.name for file in folder.iterdir()] == ["trajectories.jsonl"]


@pytest.mark.parametrize(
    ("options", "episodes"),
    [
        (["--episode", 3], [3]),
        (["--task", "boil/0"], [0]),
        (["--outcome", "unsuccessful"], [1, 5, 9, 13, 17, 21]),
        (["--outcome", "success", "--json"], [number for number in range(24) if number % 4 != 1]),
    ],
)
def test_view_writes_what_the_options_leave_where_it_is_told(
    options: list[object], episodes: list[int], run: Path, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "some.html"
    result = call("view", run, *options, "--html", path)
    assert result.exit_code == 0, result.output
    assert [one.episode for one in records(path)] == episodes


def test_view_of_two_runs(run: Path, other_run: Path) -> None:
    result = call("view", run, other_run, "--limit", 1)
    assert result.exit_code == 0
    path = run / "view-with-after.html"
    assert json.loads(dict(parsed(path).held)["index"])["runs"] == ["before", "after"]
    assert len(records(path)) == 48
    both = json.loads(call("view", run, other_run, "--json").output)["runs"]
    assert [one["summary"]["trajectories"] for one in both] == [24, 24]


def test_view_finds_a_task_in_whichever_run_holds_it(run: Path, tmp_path: Path) -> None:
    short = write_run(tmp_path / "short", ordinary_run(2))
    assert "grow/5" in call("view", run, short, "--task", "grow/5").output
    assert "grow/5" in call("view", short, run, "--task", "grow/5").output
    nowhere = call("view", short, run, "--task", "grow/99")
    assert nowhere.exit_code == 2 and "Unknown task 'grow/99'." in nowhere.stderr


def test_view_of_a_file_writes_beside_it(tmp_path: Path) -> None:
    folder = write_run(tmp_path, ordinary_run(2))
    for name in ("some.jsonl", "other.txt"):
        file = folder / name
        file.write_bytes((folder / "trajectories.jsonl").read_bytes())
        call("view", file)
        assert len(records(file.with_suffix(".html"))) == 2


def test_the_name_of_a_file_about_many_runs_stays_short(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"a-run-with-a-long-name-{number}", ordinary_run(1)) for number in range(12)]
    assert call("view", *runs).exit_code == 0
    assert len(records(runs[0] / "view-with-11-others.html")) == 12


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are text")
def test_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    folder = write_run(tmp_path / os.fsdecode(b"run-\xff\x1b"), ordinary_run(2))
    result = call("view", folder)
    assert result.exit_code == 0, result.output
    assert len(records(folder / "view.html")) == 2
    assert "<title>run-&lt;U+DCFF&gt;␛ - step-envs</title>" in (folder / "view.html").read_text(encoding="utf-8")


def test_view_goes_on_where_it_may_not_write(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    result = call("view", run)
    assert result.exit_code == 0
    said = " ".join(result.stdout.split())
    assert "Permission denied. Name another place with --html FILE, or leave it with --no-html." in said
    asked = call("view", run, "--html", run / "x.html")
    assert asked.exit_code == 2 and asked.stderr.endswith("x.html: Permission denied.\n")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--tokens", "nowhere", "--json"], "--tokens is for the HTML file: say with --html FILE where it is to go."),
        (["--html", "x.html", "--episode", "99"], "Unknown episode 99."),
    ],
)
def test_view_says_what_is_wrong(options: list[str], sentence: str, run: Path) -> None:
    result = call("view", run, *options)
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_a_run_named_twice_is_refused(run: Path) -> None:
    result = call("view", run, run)
    assert result.exit_code == 2
    assert "is named twice: name each run once." in result.stderr
