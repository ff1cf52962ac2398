"""Runs that are read while they are written, and the server that shows them."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from run_writer import RunWriter
from sample_runs import episode, ordinary_run, write_run
from typer.testing import CliRunner

from step_envs.cli import app
from step_envs.errors import StoreError
from step_envs.viewer.watch_index import WatchIndex
from step_envs.viewer.watched_runs import WatchedRun

ALL = 2**30


def numbers(found: list[Any]) -> list[int | None]:
    return [one.episode for _, one in found]


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[RunWriter]:
    with RunWriter(tmp_path / "run") as one:
        yield one


def test_a_run_is_followed_from_before_its_beginning_to_its_end(writer: RunWriter) -> None:
    run = WatchedRun(writer.folder)
    assert run.read(ALL) == [] and run.figures().state == "waiting"
    writer.order("plan 3", 0, 1)
    assert numbers(run.read(ALL)) == [0, 1]
    assert run.read(ALL) == []
    figures = run.figures()
    assert (figures.state, figures.episodes, figures.planned, figures.problem) == ("running", 2, 3, None)
    writer.order(2)
    assert numbers(run.read(ALL)) == [2]
    assert run.figures().state == "ended"
    assert run.trajectory(1) == episode(1)


def test_half_a_line_breaks_nothing_and_a_resumed_run_goes_on(writer: RunWriter) -> None:
    run = WatchedRun(writer.folder)
    writer.order("plan 9", 0, "half")
    assert numbers(run.read(ALL)) == [0]
    writer.order("end")
    assert run.read(ALL) == [] and run.figures().problem is None
    writer.kill()
    with RunWriter(writer.folder) as resumed:
        resumed.order(1, 2)  # this cuts off half a line, as --resume does
        assert numbers(run.read(ALL)) == [1, 2]
        assert (run.generation, run.figures().state) == (0, "running")
        resumed.order("end")
        figures = run.figures()
        assert (figures.state, figures.episodes, figures.planned) == ("ended", 3, 9)


def test_a_whole_last_line_counts_without_its_line_break(tmp_path: Path) -> None:
    file = tmp_path / "trajectories.jsonl"
    file.write_text(episode(0).to_json())
    run = WatchedRun(tmp_path)
    assert numbers(run.read(ALL)) == [0]
    with file.open("a") as stream:
        stream.write(f"\n{episode(1).to_json()}\n")
    assert numbers(run.read(ALL)) == [1] and run.generation == 0


def test_a_damaged_line_is_told_of_and_left_out(writer: RunWriter) -> None:
    run = WatchedRun(writer.folder)
    writer.order(0, 'raw {"schema": 1}', 1)
    assert numbers(run.read(ALL)) == [0, 1]
    problem = run.figures().problem
    assert problem is not None
    assert problem.startswith(
        f"Line 2 of {writer.folder / 'trajectories.jsonl'} is not a trajectory, and is left out: "
    )
    assert run.trajectory(1) == episode(1)


@pytest.mark.parametrize("longer", [False, True])
def test_a_run_that_is_begun_anew_in_the_same_folder_replaces_the_old_one(writer: RunWriter, longer: bool) -> None:
    run = WatchedRun(writer.folder)
    writer.order(0, 1, 2)
    assert numbers(run.read(ALL)) == [0, 1, 2]
    writer.order("again", *([3, 4, 5, 6, 7] if longer else [3]))
    assert numbers(run.read(ALL)) == ([3, 4, 5, 6, 7] if longer else [3])
    assert run.generation == 1 and run.trajectory(0) == episode(3)


def test_what_is_no_run_is_a_problem_and_no_fault(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / "trajectories.jsonl")
    run = WatchedRun(tmp_path / "run")
    assert run.read(ALL) == []
    assert "it is a named pipe, not a file" in str(run.figures().problem)


def test_failures_are_grouped_by_reason_until_their_episodes_succeed(writer: RunWriter) -> None:
    run = WatchedRun(writer.folder)
    writer.order("plan 9", 0, "fail 3 TimeoutError: The episode took longer than 30 s.")
    writer.order("fail 4 TimeoutError: The episode took longer than 45 s.", "fail 5 KeyError: 'x'")
    run.read(ALL)
    first, second = run.failures().groups()
    assert first.example == (3, "boil/3", "TimeoutError: The episode took longer than 30 s.")
    assert (first.episodes, second.episodes) == (2, 1)
    assert first.advice == "Give episodes more time with --episode-seconds, or play fewer at once with --concurrency."
    writer.order(3, 4)
    run.read(ALL)
    assert [group.example.task_id for group in run.failures().groups()] == ["boil/5"]
    assert run.figures().failed == 1


def test_the_index_answers_in_parts_and_begins_anew_with_the_run(writer: RunWriter) -> None:
    writer.order("plan 100", *range(3))
    index = WatchIndex([writer.folder])
    news = json.loads(index.news(0, 0))
    assert [row[1] for row in news["rows"]] == [0, 1, 2] and news["start"] == 0
    writer.order(3)
    news = json.loads(index.news(news["generation"], 3))
    assert [row[1] for row in news["rows"]] == [3] and news["start"] == 3
    (run,) = news["runs"]
    assert (run["episodes"], run["planned"], run["state"]) == (4, 100, "running")
    (first, *_, last) = json.loads(index.chunk(0))
    assert (first["record"]["task_id"], last["record"]["task_id"]) == ("boil/0", "boil/3")
    writer.order("again", 5)
    news = json.loads(index.news(news["generation"], 4))
    while news["more"]:
        news = json.loads(index.news(news["generation"], len(news["rows"])))
    news = json.loads(index.news(0, 4))
    assert news["generation"] == 1 and news["start"] == 0 and [row[1] for row in news["rows"]] == [5]


def test_a_conversation_that_is_gone_is_an_error_in_words(tmp_path: Path) -> None:
    index = WatchIndex([write_run(tmp_path / "run", ordinary_run(2))])
    index.news(0, 0)
    (tmp_path / "run" / "trajectories.jsonl").write_text("{}\n" * 9)
    with pytest.raises(StoreError, match="was changed while it was read: look at the run again"):
        index.chunk(0)


# The command.


def start(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "step_envs.cli", "view", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def get(url: str, path: str = "") -> tuple[int, dict[str, str], bytes]:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port or 0, timeout=60)
    connection.request("GET", f"{address.path}{path}")
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def test_the_command_serves_until_ctrl_c(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ordinary_run(4))
    process = start(run, "--watch", "--json")
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    assert urlsplit(url).hostname == "127.0.0.1"
    status, headers, page = get(url)
    assert status == 200 and b"connect-src 'self'" in page and headers["Cache-Control"] == "no-store"
    status, _, news = get(url, "news?generation=0&from=0")
    assert status == 200 and len(json.loads(news)["rows"]) == 4
    assert get(url, "chunk-7")[::2] == (404, b"There is no chunk 7.")
    assert get(url, "other")[0] == get(url, "news?from=x")[0] == 404
    # Other users of the machine reach the port, but do not know the address.
    without_secret = f"http://{urlsplit(url).netloc}/"
    for path in ("", "news?generation=0&from=0", "wrong/news?generation=0&from=0"):
        assert get(without_secret, path)[0] == 404
    process.send_signal(signal.SIGINT)
    printed, complained = process.communicate(timeout=60)
    assert (process.returncode, printed, complained) == (0, "", "")
    assert not (run / "view.html").exists()


def test_the_command_waits_for_a_run_that_is_not_begun(tmp_path: Path) -> None:
    process = start(tmp_path / "run", "--watch")
    assert process.stdout is not None
    first, second = process.stdout.readline(), process.stdout.readline()
    assert first == f"Nothing is written to {tmp_path / 'run'} yet: its episodes appear as a run writes them there.\n"
    url = second.removeprefix("Open in a browser: ").strip()
    assert json.loads(get(url, "news?generation=0&from=0")[2])["runs"][0]["state"] == "waiting"
    write_run(tmp_path / "run", ordinary_run(2))
    assert len(json.loads(get(url, "news?generation=0&from=0")[2])["rows"]) == 2
    process.send_signal(signal.SIGTERM)
    printed, complained = process.communicate(timeout=60)
    assert process.returncode == 0 and complained == ""
    assert printed.splitlines()[-1] == "No longer served. The runs were only read: what writes them goes on."


def test_a_port_that_is_taken_is_a_sentence(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ordinary_run(1))
    process = start(run, "--watch", "--json")
    assert process.stdout is not None
    port = urlsplit(json.loads(process.stdout.readline())["url"]).port
    other = start(run, "--watch", "--port", port)
    _, complained = other.communicate(timeout=60)
    assert other.returncode == 2
    assert complained == (
        f"Cannot listen on 127.0.0.1 port {port}: Address already in use. Name another one with --port, or none to get a "
        "free one.\n"
    )
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--watch", "--task", "boil/0"], "--watch shows whole runs: leave --task out.\n"),
        (["--watch", "--html", "x.html"], "--watch shows whole runs: leave --html out.\n"),
        (["--terminal", "--port", "1"], "--terminal shows whole runs: leave --port out.\n"),
        (["--watch", "--terminal"], "--watch shows whole runs: leave --terminal out.\n"),
        (["--port", "1"], "--port says where --watch listens: add --watch, or leave it out.\n"),
    ],
)
def test_options_without_effect_are_refused(tmp_path: Path, options: list[str], sentence: str) -> None:
    done = CliRunner().invoke(app, ["view", str(tmp_path), *options])
    assert (done.exit_code, done.stderr) == (2, sentence)
