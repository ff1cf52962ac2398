"""What the tests of hostile files share: every reader of the package, and what may lie in the place of its file."""

import codecs
import io
import json
import os
import random
import socket
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from test_trajectory import trajectory

from step_envs.agents.local.checkpoint import read_template
from step_envs.alfworld.games.archive import open_games
from step_envs.alfworld.games.game import read_game
from step_envs.cli.config_file import read_config_file
from step_envs.cli.inputs import tasks_in
from step_envs.collection.config import CollectConfig
from step_envs.collection.failures import read_failures
from step_envs.endpoint import read_prices
from step_envs.endpoint.cache import ResponseCache
from step_envs.endpoint.cost_ledger import CostLedger
from step_envs.report import gather, read_curve, read_teacher_eval
from step_envs.snapshots import read_snapshot
from step_envs.store import TrajectoryStore, read_trajectories
from step_envs.training import Evaluation
from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.importer import import_files
from step_envs.wrappers.teachers.prompting import PromptBook

GAME = "train/pick_and_place_simple-Mug-None-Desk-308/trial_T1/game.tw-pddl"
CONFIG = CollectConfig(env="Coin-v0", episodes=2)


@cache
def line() -> bytes:
    return trajectory(episode=0).to_json().encode() + b"\n"


def _append(path: Path) -> None:
    with TrajectoryStore(path) as store:
        store.append(trajectory())


def _cache(path: Path) -> None:
    with closing(ResponseCache(path)) as cache:
        cache.get("x")


def _summary(path: Path) -> None:
    (path.parent / "trajectories.jsonl").write_bytes(line())
    gather([path.parent])


def _games(path: Path) -> None:
    games = open_games(path)
    for name in games.names:
        read_game(games.read(name), games.source_of(name))


def _catalogue(path: Path) -> None:
    Catalogue(path.parent)


def _products(path: Path) -> None:
    attributes = path.with_name("attributes.json")
    attributes.write_text("{}")
    import_files(path, attributes, None, path.with_name("catalogue"))


def _prompts(path: Path) -> None:
    PromptBook(path.parent)


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "trajectories": ("trajectories.jsonl", lambda path: list(read_trajectories(path))),
    "a run": ("run/trajectories.jsonl", lambda path: list(read_trajectories(path.parent))),
    "the end of a store": ("trajectories.jsonl", _append),
    "failures": ("run/failures.jsonl", lambda path: read_failures(path.parent)),
    "configuration": ("config.json", CollectConfig.read),
    "settings in JSON": ("settings.json", read_config_file),
    "settings in TOML": ("settings.toml", read_config_file),
    "tasks": ("tasks.txt", tasks_in),
    "prices": ("prices.json", read_prices),
    "response cache": ("responses.sqlite", _cache),
    "bill": ("bill.jsonl", CostLedger),
    "summary": ("run/summary.json", _summary),
    "trainer state": ("model/trainer_state.json", lambda path: read_curve(path.parent)),
    "teacher evaluation": ("teachers.json", read_teacher_eval),
    "evaluation": ("run/evaluation.json", lambda path: Evaluation.read(path.parent)),
    "chat template": ("template.jinja", read_template),
    "prompts": ("prompts/common.txt", _prompts),
    "game": (f"games/{GAME}", lambda path: _games(path.parents[3])),
    "zip of games": ("games.zip", _games),
    "tar of games": ("games.tar", _games),
    "tar.xz of games": ("games.tar.xz", _games),
    "catalogue": ("catalogue/manifest.json", _catalogue),
    "products": ("items.json", _products),
    "snapshot": ("snapshot.bin", lambda path: read_snapshot(path.read_bytes(), "STeP-ALFWorld-v0")),
}
"""Kind of file -> its name, and what reads it."""

ONLY_BYTES = {"snapshot"}
"""Kinds that come as bytes: what lies in the place of their file is not the package's concern."""

CONTENTS: dict[str, bytes] = {
    "nothing": b"",
    "NUL bytes": bytes(5000),
    "brackets": b"[" * 100_000,
    "nested objects": b'{"a":' * 100_000,
    "closed brackets": b"[" * 50_000 + b"]" * 50_000,
    "UTF-16": '{"a": 1}\n'.encode("utf-16"),
    "UTF-32": '{"a": 1}\n'.encode("utf-32"),
    "Latin-1": '{"a": "größe"}\n'.encode("latin-1"),
    "surrogate bytes": b'{"a": "\xed\xa0\x80"}\n',
    "surrogate escape": b'{"a": "\\ud800"}\n',
    "not a number": b'{"score": NaN, "loss": Infinity, "x": 1e999}\n',
    "a huge number": b'{"episodes": ' + b"9" * 100_000 + b"}\n",
    "keys twice": b'{"env": "a", "env": 3, "episodes": {}}\n',
    "null": b"null\n",
    "a list": b"[]\n",
    "an object": b"{}\n",
    "a text": b'"x"\n',
    "a number": b"3\n",
    "a mark and an object": codecs.BOM_UTF8 + b"{}",
    "empty lines": b"\r\n\n \r\n",
    "half an object": b'{"a": 1',
    "an archive that is none": b"PK\x03\x04" + b"x" * 100,
    "compressed": b"\xfd7zXZ\x00" + b"x" * 100,
    "wrong types": b'{"turns": [[{}]], "config": [[{}]], "paid": [[{}]], "log_history": [[{}]], "task_id": [[{}]]}\n',
    "a long key": b'{"' + b"k" * 300_000 + b'": 1}\n',
}

LARGE: dict[str, bytes] = {
    "empty lists": b"[" + b"[]," * 6_000_000 + b"[]]\n",
    "empty objects in a known field": b'{"protocol": {"a": [' + b"{}," * 6_000_000 + b"{}]}}\n",
    "digits": b"9" * 20_000_000 + b"\n",
    "one text": b'{"a": "' + b"x" * 30_000_000 + b'"}\n',
    "one line without end": b"x" * 70_000_000,
    "NUL bytes": bytes(70_000_000),
    "empty lines": b"\n" * 3_000_000,
    "turns": b'{"turns": [' + b'{"role":"user","content":"","kind":"observation"},' * 150_000 + b"{}]}\n",
}


def no_files() -> dict[str, Callable[[Path], object]]:
    """Return what may lie in the place of a file and is none."""
    return {
        "a named pipe": os.mkfifo,
        "a folder": lambda path: path.mkdir(),
        "a socket": _bind,
        "a link to a device": lambda path: path.symlink_to("/dev/zero"),
        "a link to itself": lambda path: path.symlink_to(path.name),
        "a link to nothing": lambda path: path.symlink_to("nothing"),
    }


def _bind(path: Path) -> None:
    where = Path.cwd()
    os.chdir(path.parent)  # a socket's name may have 108 bytes
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(where)


def mutated(content: bytes, number: int) -> Iterator[bytes]:
    """Make damaged copies of a file that was whole: bytes changed, cut, doubled and exchanged for hostile ones."""
    rng = random.Random(number)
    pieces = [b"\0", b"[", b'"', b"{", b"\xff", b"\n", b"9" * 50, b"NaN", b"\\ud800", b"-1", b"null", b"../" * 3]
    for _ in range(number):
        data = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data) + 1)
            match rng.randrange(4):
                case 0:
                    data[at : at + 1] = rng.choice(pieces)
                case 1:
                    del data[at : at + rng.randint(1, 200)]
                case 2:
                    data[at:at] = data[at : at + rng.randint(1, 200)]
                case 3:
                    data[at:at] = rng.choice(pieces)
        yield bytes(data)


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def zip_of(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def whole_files() -> dict[str, bytes]:
    """Return a whole file of some kinds, to be damaged."""
    failure = {"episode": 1, "task_id": "a", "seed": 1, "reason": "x", "detail": "y"}
    prices: dict[str, Any] = {"m": {"input": 1, "output": 2.5}}
    return {
        "trajectories": line() * 2,
        "the end of a store": line() * 2,
        "failures": json.dumps(failure).encode() + b"\n",
        "configuration": CONFIG.model_dump_json().encode(),
        "settings in JSON": CONFIG.model_dump_json().encode(),
        "settings in TOML": b'env = "Coin-v0"\nepisodes = 3\n[env_options]\na = [1, 2]\n',
        "prices": json.dumps(prices).encode(),
        "summary": b'{"paid": {"prompt_tokens": 3}}',
        "trainer state": b'{"log_history": [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}]}',
        "zip of games": zip_of(**{GAME: b'{"pddl_domain": "", "grammar": "", "pddl_problem": ""}'}),
        "tar of games": tar_of((tarfile.TarInfo(GAME), b'{"pddl_domain": "", "grammar": "", "pddl_problem": ""}')),
        "catalogue": b'{"schema": "x", "name": "y", "products": 3}',
        "products": b'[{"asin": "A", "name": "b", "category": "c", "query": "d"}]',
        "snapshot": b'{"schema":"step-snapshot/1","env_id":"STeP-ALFWorld-v0","task_id":"x","state":{},"world":0}',
    }
