"""Downloading the official games, from a server of our own that breaks off, refuses, or sends something else."""

import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from test_archive import make_data, pack

from step_envs.alfworld.download import download_games
from step_envs.alfworld.tasks import OfficialTasks, find_tasks
from step_envs.download import PublishedFile, fetch
from step_envs.errors import DataError

EXPECTED = {"valid_seen": 5}


class Server:
    """Serves bytes; ``broken_after`` makes it hang up that far into them."""

    def __init__(self) -> None:
        self.content = b""
        self.status = 200
        self.ranges = True
        self.says_length = True
        self.broken_after: int | None = None
        self.asked: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked = self.headers.get("Range")
                server.asked.append(asked)
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
                if server.status != 200:
                    self.send_error(server.status)
                    return
                if start and start >= len(server.content):
                    self.send_error(416)
                    return
                body = server.content[start:]
                self.send_response(206 if start else 200)
                if server.says_length:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: server.broken_after])

            def log_message(self, *args):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/games.zip"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server()
    running.content = pack(make_data(tmp_path / "source", 5), tmp_path / "games.zip").read_bytes()
    yield running
    running.close()


@pytest.mark.filterwarnings("ignore::step_envs.alfworld.tasks.PartialDataWarning")
def test_games_are_fetched_once_and_found(server, tmp_path):
    seen = []
    folder = download_games(
        tmp_path / "data", url=server.url, expected=EXPECTED, progress=lambda *now: seen.append(now)
    )
    assert seen[-1] == (len(server.content), len(server.content))
    tasks = OfficialTasks(tmp_path / "data")
    assert len(tasks.ids("valid_seen")) == 5 and tasks.game(tasks.ids("valid_seen")[0]).goal.count == 1
    assert not [file for file in (tmp_path / "data").rglob("*") if file.suffix in (".part", ".zip")]
    assert download_games(tmp_path / "data", url=server.url, expected=EXPECTED) == folder
    assert server.asked == [None]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path, ranges):
    server.ranges, server.broken_after = ranges, 1000
    with pytest.raises(DataError, match=r"run the command again"):
        download_games(tmp_path / "data", url=server.url, expected=EXPECTED)
    server.broken_after = None
    download_games(tmp_path / "data", url=server.url, expected=EXPECTED)
    assert server.asked == [None, "bytes=1000-"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_broken_download_goes_on_though_a_child_has_a_copy_of_the_file(server, tmp_path):
    wait, end = os.pipe()
    children = []

    def progress(received, total):
        if not children:
            children.append(os.fork())
            if children == [0]:
                os.close(end)
                os.read(wait, 1)
                os._exit(0)

    server.broken_after = 1000
    with pytest.raises(DataError, match=r"run the command again"):
        download_games(tmp_path / "data", url=server.url, expected=EXPECTED, progress=progress)
    server.broken_after = None
    assert download_games(tmp_path / "data", url=server.url, expected=EXPECTED).is_dir()
    os.close(end)
    os.close(wait)
    assert [os.waitpid(child, 0)[1] for child in children] == [0]


def test_a_download_that_was_whole_is_not_fetched_again(server, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/games.zip.part").write_bytes(server.content)
    assert download_games(tmp_path / "data", url=server.url, expected=EXPECTED).is_dir()


def test_two_downloads_of_one_file_do_not_mix_their_bytes(server, tmp_path):
    part = tmp_path / "games.zip.part"
    with part.open("ab") as other:
        other.write(b"half of the ")
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(
            DataError,
            match=rf"^Another process is downloading {server.url} to {part}: wait for it, then run the command",
        ):
            fetch(server.url, tmp_path / "games.zip", otherwise="get it by other means")
    assert part.read_bytes() == b"half of the "
    assert not server.asked


OTHERWISE = "get it by other means"


def published(content: bytes, **changes: object) -> PublishedFile:
    return replace(PublishedFile(len(content), hashlib.sha256(content).hexdigest()), **changes)  # type: ignore[arg-type]


def test_the_file_that_was_published_is_taken_and_its_digest_returned(server, tmp_path):
    known = published(server.content)
    assert fetch(server.url, tmp_path / "a", otherwise=OTHERWISE, published=known) == known.sha256
    server.broken_after = 100
    with pytest.raises(DataError, match="broke off"):
        fetch(server.url, tmp_path / "b", otherwise=OTHERWISE, published=known)
    server.broken_after = None
    assert fetch(server.url, tmp_path / "b", otherwise=OTHERWISE, published=known) == known.sha256
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == server.content


def test_another_file_is_removed_and_fetched_anew(server, tmp_path):
    known, good = published(server.content), server.content
    server.content = b"x" * len(good)
    with pytest.raises(
        DataError, match=r"is not the file that its authors published \(its SHA-256 is .*it was removed"
    ):
        fetch(server.url, tmp_path / "new.zip", otherwise=OTHERWISE, published=known)
    assert not list(tmp_path.glob("new*"))
    server.content = good
    fetch(server.url, tmp_path / "new.zip", otherwise=OTHERWISE, published=known)
    assert server.asked == [None, None]


@pytest.mark.parametrize("says", [True, False])
def test_a_file_that_is_too_large_is_refused_before_it_fills_the_disk(server, tmp_path, says):
    server.says_length = says
    sizes: list[int] = []
    with pytest.raises(
        DataError, match=r"sends \S+ bytes, where the file has at most 100: it is another file; get it by"
    ):
        fetch(
            server.url,
            tmp_path / "x",
            otherwise=OTHERWISE,
            published=published(server.content, size=100),
            progress=lambda done, total: sizes.append(done),
        )
    assert not list(tmp_path.glob("x*"))
    assert sizes == []


def test_the_official_archive_is_known_and_what_came_is_written_down(server, tmp_path, monkeypatch):
    monkeypatch.setattr("step_envs.alfworld.download.GAMES_URL", server.url)
    with pytest.raises(DataError, match="is not the file that its authors published"):
        download_games(tmp_path / "data", url=server.url, expected=EXPECTED)
    monkeypatch.setattr("step_envs.alfworld.download.GAMES_FILE", published(server.content))
    folder = download_games(tmp_path / "data", url=server.url, expected=EXPECTED)
    digest = hashlib.sha256(server.content).hexdigest()
    assert json.loads((folder / "download.json").read_text()) == {"url": server.url, "sha256": digest}


def test_folders_without_games_are_filled(server, tmp_path):
    # Such as the package's own download leaves behind when it breaks off before the games.
    trial = tmp_path / "data/json_2.1.1/valid_seen/pick_and_place_simple-Apple-None-CounterTop-1/trial_0"
    trial.mkdir(parents=True)
    (trial / "traj_data.json").write_text("{}")
    assert download_games(tmp_path / "data", url=server.url, expected=EXPECTED).is_dir()
    assert (trial / "traj_data.json").exists() and (trial / "game.tw-pddl").exists()


@pytest.mark.filterwarnings("ignore::step_envs.alfworld.tasks.PartialDataWarning")
@pytest.mark.parametrize("named", [True, False])
def test_games_come_to_where_they_are_looked_for(server, tmp_path, monkeypatch, named):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "named" if named else tmp_path / "home/.cache/alfworld"
    monkeypatch.setenv("ALFWORLD_DATA", str(folder) if named else "")
    assert download_games(url=server.url, expected=EXPECTED) == folder / "json_2.1.1"
    assert len(find_tasks(source="official").ids("valid_seen")) == 5


def test_faults_are_said_plainly(server, tmp_path):
    server.status = 404
    with pytest.raises(DataError, match="the server says 404"):
        download_games(tmp_path / "a", url=server.url, expected=EXPECTED)
    server.status, server.content = 200, b"<html>Log in</html>"
    with pytest.raises(DataError, match="no whole archive of games"):
        download_games(tmp_path / "b", url=server.url, expected=EXPECTED)
    assert not list((tmp_path / "b").iterdir())
    server.content = pack(make_data(tmp_path / "few", 2), tmp_path / "few.zip").read_bytes()
    with pytest.raises(DataError, match="valid_seen 2 of 5"):
        download_games(tmp_path / "c", url=server.url, expected=EXPECTED)
    server.close()
    with pytest.raises(DataError, match=r"cannot be reached .*data_path="):
        download_games(tmp_path / "d", url=server.url, expected=EXPECTED)


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        download_games(tmp_path / "file" / "data", url=server.url, expected=EXPECTED)
