"""The command that imports or downloads the official products, from files and from a server of our own."""

import hashlib
import json
import re
import shlex
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner

from step_envs.cli import app
from step_envs.errors import DataError, UnknownNameError
from step_envs.webshop import download
from step_envs.webshop.catalogue.generator import make_product
from step_envs.webshop.catalogue.importer import import_files
from step_envs.webshop.catalogue.sources import open_catalogue
from step_envs.webshop.download import HUMAN, SETS, DriveFile, OfficialSet, download_catalogue
from step_envs.webshop.env import WebShopEnv

COUNT = 30
SMALL = OfficialSet(SETS["small"].products, SETS["small"].attributes, COUNT)
FILES = (SMALL.products, SMALL.attributes, HUMAN)
QUOTA_PAGE = (
    b"<!DOCTYPE html><html><head><title>Google Drive - Quota\n exceeded</title></head><body>Sorry</body></html>"
)


def official_files(folder: Path) -> Path:
    """Write files of the official form with products made by seed."""
    folder.mkdir()
    products, attributes, human = [], {}, {}
    for number in range(COUNT):
        product, entry, wishes = make_product(0, number)
        products.append(product)
        attributes[product["asin"]] = entry
        human[product["asin"]] = wishes
    for file, value in zip(FILES, (products, attributes, human), strict=True):
        (folder / file.name).write_text(json.dumps(value), encoding="utf-8")
    return folder


class Drive:
    """Serves files by id, as Google Drive does."""

    def __init__(self, folder: Path) -> None:
        self.content = {file.key: (folder / file.name).read_bytes() for file in FILES}
        self.status = 200
        self.page: bytes | None = None
        self.ranges = True
        self.broken_after: int | None = None
        self.asked: list[tuple[str, str | None]] = []
        drive = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                key, asked = query["id"][0], self.headers.get("Range")
                assert query["export"] == ["download"] and query["confirm"] == ["t"]
                drive.asked.append((key, asked))
                if drive.status != 200:
                    self.send_error(drive.status)
                    return
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and drive.ranges else 0
                body = drive.content[key][start:] if drive.page is None else drive.page
                self.send_response(206 if start and drive.page is None else 200)
                kind = "application/octet-stream" if drive.page is None else "text/html; charset=utf-8"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: drive.broken_after])

            def log_message(self, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/download"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEBSHOP_DATA", raising=False)
    monkeypatch.setenv("STEP_ENVS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return official_files(tmp_path / "official files")


@pytest.fixture
def drive(files: Path) -> Iterator[Drive]:
    running = Drive(files)
    yield running
    running.close()


@pytest.fixture
def get(drive: Drive) -> Callable[..., Any]:
    """Downloads from the server here what the small set has here."""
    return partial(download_catalogue, "small", base_url=drive.url, official=SMALL, human_goals=COUNT)


@pytest.fixture
def command(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs the command, with the server here in place of Google's."""
    defaults = download_catalogue.__kwdefaults__
    given = {**defaults, "base_url": drive.url, "official": SMALL, "human_goals": COUNT}
    monkeypatch.setattr(download.download_catalogue, "__kwdefaults__", given)
    return lambda *arguments: CliRunner().invoke(app, ["data", "webshop", *map(str, arguments)])


# Importing.


def test_files_are_imported_and_counted(tmp_path, files, drive, command):
    done = command("--from", files, "--to", tmp_path / "shop", "--name", "mine", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    catalogue = open_catalogue(tmp_path / "shop")
    assert told["folder"] == str(tmp_path / "shop") and told["name"] == catalogue.name == "mine"
    assert told["products"] == len(catalogue) == COUNT
    assert told["goals"] == {kind: len(catalogue.goals(kind)) for kind in ("synthetic", "human")}
    assert sum(told["counts"].values()) == told["goals"]["synthetic"]
    assert drive.asked == []


def test_only_the_first_products(tmp_path, files, command):
    done = command("--from", files, "--to", tmp_path / "shop", "--products", 7)
    assert done.exit_code == 0 and "7 products" in done.stdout
    assert [open_catalogue(tmp_path / "shop").product(number).asin for number in range(7)] == [
        make_product(0, number)[0]["asin"] for number in range(7)
    ]
    assert command("--from", files, "--to", tmp_path / "none", "--products", 0).exit_code == 2


def test_an_import_goes_where_the_environment_looks(tmp_path, files, command, monkeypatch):
    monkeypatch.setenv("WEBSHOP_DATA", str(tmp_path / "shop"))
    with pytest.raises(DataError, match="no WebShop catalogue"):
        WebShopEnv()
    done = command("--from", files)
    assert done.exit_code == 0 and "WEBSHOP_DATA" not in done.stdout
    env = WebShopEnv(split="test")
    assert env.catalogue.folder == tmp_path / "shop" and len(env.catalogue) == COUNT


def test_an_import_without_a_place_goes_to_the_cache_and_says_how_to_name_it(tmp_path, files, command):
    done = command("--from", files, "--products", 5)
    folder = tmp_path / "cache/webshop/official-1000-first-5"
    assert f"set WEBSHOP_DATA={folder}" in done.stdout
    assert len(open_catalogue(folder)) == 5


def test_a_catalogue_is_replaced_only_when_that_is_asked_for(tmp_path, files, command):
    to = ("--from", files, "--to", tmp_path / "shop")
    assert command(*to, "--products", 5).exit_code == 0
    again = command(*to)
    assert again.exit_code == 2 and "exists already" in again.stderr
    assert command(*to, "--overwrite").exit_code == 0
    assert len(open_catalogue(tmp_path / "shop")) == COUNT


def test_nothing_but_a_catalogue_is_ever_replaced(tmp_path, files, command):
    (tmp_path / "home").mkdir()
    (tmp_path / "home/manifest.json").write_text("{}")
    for extra in ((), ("--overwrite",)):
        for source in (("--from", files), ()):
            done = command("--to", tmp_path / "home", *source, *extra)
            assert done.exit_code == 2 and "holds no catalogue" in done.stderr
    assert (tmp_path / "home/manifest.json").read_text() == "{}"


def test_wrong_input_is_said_in_a_sentence(tmp_path, files, command):
    for arguments, message in (
        (("--from", tmp_path / "nowhere"), "no product file"),
        (("--from", files, "--set", "all"), "give one of them"),
        (("--set", "large"), "Unknown set of products 'large'"),
        (("--from", files, "--to", files / HUMAN.name), "exists already"),
        (("--from", files, "--to", files / HUMAN.name / "shop"), "cannot be written"),
    ):
        done = command(*arguments)
        assert done.exit_code == 2 and message in done.stderr, done.output
    other = CliRunner().invoke(app, ["data", "alfworld", "--from", str(files), "--overwrite"])
    assert other.exit_code == 2 and "--from, --overwrite cannot be used with alfworld" in other.stderr
    assert "'webshop'" in CliRunner().invoke(app, ["data", "webshops"]).stderr


# What errors tell one to run.


def commands_in(error: BaseException) -> list[list[str]]:
    return [shlex.split(quoted) for quoted in re.findall(r"`step-envs data webshop ?(.*?)`", str(error))]


def spoil_manifest(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)


@pytest.mark.parametrize("named", ["data_path", "variable"])
@pytest.mark.parametrize(
    "state", ["missing", "empty", "other files", "raw files", "broken", "old", "no product", "lost column"]
)
def test_the_command_that_an_error_names_works(tmp_path, files, command, monkeypatch, named, state):
    folder = tmp_path / "the shop"
    if state == "empty":
        folder.mkdir()
    elif state == "other files":
        folder.mkdir()
        (folder / "letter.txt").write_text("keep me")
    elif state == "raw files":
        folder = files
    elif state != "missing":
        import_files(*(files / file.name for file in FILES), folder)
        if state == "lost column":
            next(folder.glob("prices*")).unlink()
        else:
            spoil_manifest(folder, {"broken": "{", "old": '{"schema": "x/0"}'}.get(state, ""))
            if state == "no product":
                spoil_manifest(folder, '{"schema": "step-webshop-catalogue/1", "products": 0}')
    if named == "variable":
        monkeypatch.setenv("WEBSHOP_DATA", str(folder))
    path = folder if named == "data_path" else None
    with pytest.raises(DataError) as caught:
        open_catalogue(path)
    (arguments,) = commands_in(caught.value)
    done = command(*arguments, "--json")
    assert done.exit_code == 0, done.output
    assert len(open_catalogue(json.loads(done.stdout)["folder"])) == COUNT
    if state == "other files":
        assert (folder / "letter.txt").read_text() == "keep me"


# Downloading.


def test_a_set_is_fetched_once_and_leaves_no_files(tmp_path, drive, command):
    done = command("--to", tmp_path / "shop")
    assert done.exit_code == 0 and f"{COUNT} products" in done.stdout, done.output
    assert drive.asked == [(file.key, None) for file in FILES]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["official files", "shop"]
    assert command("--to", tmp_path / "shop").exit_code == 0
    assert len(drive.asked) == len(FILES)
    other = command("--to", tmp_path / "shop", "--products", 5)
    assert other.exit_code == 2 and "exists already" in other.stderr
    assert len(drive.asked) == len(FILES)


def test_progress_is_told_to_the_end(tmp_path, drive, get):
    seen: dict[str, tuple[int, int | None]] = {}
    get(tmp_path / "shop", progress=lambda name, done, total: seen.update({name: (done, total)}))
    assert seen == {file.name: (len(drive.content[file.key]), len(drive.content[file.key])) for file in FILES}


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on_where_it_stopped(tmp_path, drive, get, ranges):
    drive.ranges, drive.broken_after = ranges, 500
    with pytest.raises(DataError, match=r"broke off after 500 of \d+ bytes: run the command again"):
        get(tmp_path / "shop")
    assert not (tmp_path / "shop").exists()
    drive.broken_after = None
    assert len(get(tmp_path / "shop")) == COUNT
    assert drive.asked[1] == (SMALL.products.key, "bytes=500-")


def test_a_web_page_is_no_file(tmp_path, drive, get):
    drive.broken_after = 500
    with pytest.raises(DataError, match="broke off"):
        get(tmp_path / "shop")
    drive.broken_after, drive.page = None, QUOTA_PAGE
    with pytest.raises(DataError, match=r"web page titled 'Google Drive - Quota exceeded' .*setup\.sh.*--from"):
        get(tmp_path / "shop")
    drive.page = None
    get(tmp_path / "shop")
    assert drive.asked[-3] == (SMALL.products.key, "bytes=500-"), "what was there before the page came is kept"


@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        (SMALL.products, lambda text: text[:-100], r"items_shuffle_1000\.json, line 1, in record 30"),
        (SMALL.products, lambda text: b"[]", "has 0 products of 30"),
        (SMALL.products, lambda text: QUOTA_PAGE, "a JSON array must begin with"),
        (SMALL.attributes, lambda text: text[:-1], "the file ends where"),
        (HUMAN, lambda text: b'{"B1": [{"instruction_attributes": ["x"]}]}', "has 1 human goals of 30"),
        (HUMAN, lambda text: b'{"B1": ["x"]}', "must be a list of objects"),
    ],
)
def test_what_is_not_whole_is_fetched_anew(tmp_path, drive, get, file, spoil, message):
    whole = drive.content[file.key]
    drive.content[file.key] = spoil(whole)
    with pytest.raises(DataError, match=message) as caught:
        get(tmp_path / "shop")
    assert "removed" in str(caught.value) and drive.url in str(caught.value)
    assert not (tmp_path / "shop").exists()
    drive.content[file.key] = whole
    assert len(get(tmp_path / "shop")) == COUNT
    assert [key for key, _ in drive.asked] == [*(other.key for other in FILES), file.key]


def test_a_server_that_refuses_and_no_network(tmp_path, drive, get, command):
    drive.status = 404
    with pytest.raises(DataError, match=r"the server says 404.*--from"):
        get(tmp_path / "shop")
    assert not list(tmp_path.glob("shop*"))
    drive.close()
    done = command("--to", tmp_path / "shop")
    assert done.exit_code == 2 and "cannot be reached" in done.stderr and "--from" in done.stderr


def test_what_there_is_to_download():
    with pytest.raises(UnknownNameError, match="small"):
        download_catalogue("tiny", Path("nowhere"))
    assert DriveFile("x", "key").url() == (
        "https://drive.usercontent.google.com/download?id=key&export=download&confirm=t"
    )
    assert {name: official.records for name, official in SETS.items()} == {"small": 1000, "all": 1_181_436}
    keys = {file.key for official in SETS.values() for file in (official.products, official.attributes, HUMAN)}
    assert len(keys) == 5 and all(len(key) == 33 for key in keys)


def test_every_official_file_is_known_by_its_digest(test_data):
    files = {file for official in SETS.values() for file in (official.products, official.attributes, HUMAN)}
    assert all(file.published is not None and len(file.published.sha256) == 64 for file in files)
    attributes = (test_data / "webshop" / "items_ins_v2_1000.json").read_bytes()
    known = SETS["small"].attributes.published
    assert known is not None
    assert (len(attributes), hashlib.sha256(attributes).hexdigest()) == (known.size, known.sha256)


def test_another_file_at_the_official_address_is_refused(tmp_path, drive, get, monkeypatch):
    monkeypatch.setattr("step_envs.webshop.download.DRIVE_URL", drive.url)
    with pytest.raises(DataError, match=r"is not the file that its authors published .*--from"):
        get(tmp_path / "shop")
    assert not list(tmp_path.glob("shop*"))


def test_the_official_thousand(tmp_path, test_data, command):
    done = command("--from", test_data / "webshop", "--to", tmp_path / "shop", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["products"], told["goals"]) == (1000, {"synthetic": 6910, "human": 13})
    assert told["counts"] == {"train": 5410, "eval": 1000, "test": 500}
