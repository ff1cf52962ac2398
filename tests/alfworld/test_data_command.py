"""The command that gets the official games."""

import json

import pytest
from test_archive import make_data, pack
from test_download import EXPECTED, Server
from typer.testing import CliRunner

from step_envs.alfworld import download
from step_envs.cli import app


@pytest.mark.filterwarnings("ignore::step_envs.alfworld.tasks.PartialDataWarning")
def test_games_are_got_and_counted(tmp_path, monkeypatch):
    server = Server()
    server.content = pack(make_data(tmp_path / "source", 5), tmp_path / "games.zip").read_bytes()
    monkeypatch.setattr(download, "OFFICIAL_COUNTS", EXPECTED)
    monkeypatch.setattr(
        download.download_games, "__kwdefaults__", {**download.download_games.__kwdefaults__, "url": server.url}
    )
    done = CliRunner().invoke(app, ["data", "alfworld", "--to", str(tmp_path / "data"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["counts"] == {"train": 0, "valid_seen": 5, "valid_unseen": 0}
    server.close()


def test_other_names_and_no_network(tmp_path, monkeypatch):
    assert CliRunner().invoke(app, ["data", "webpages"]).exit_code == 2
    monkeypatch.setattr(
        download.download_games,
        "__kwdefaults__",
        {**download.download_games.__kwdefaults__, "url": "http://127.0.0.1:9/x.zip"},
    )
    done = CliRunner().invoke(app, ["data", "alfworld", "--to", str(tmp_path)])
    assert done.exit_code == 2 and "cannot be reached" in done.output
