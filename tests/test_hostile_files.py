"""Whatever lies in the place of a file: one sentence of this package names it, and nobody waits for ever."""

import resource
import signal
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from hostile_files import CONTENTS, GAME, LARGE, ONLY_BYTES, READERS, mutated, no_files, tar_of, whole_files, zip_of
from test_trajectory import trajectory
from typer.testing import CliRunner

from step_envs.alfworld.games.archive import open_games
from step_envs.cli import app
from step_envs.errors import DataError, StepEnvsError, StoreError
from step_envs.file_reading import MOST_BYTES, bounded_lines, parse_json, read_bytes, read_json, read_text
from step_envs.store import read_trajectories

WITHOUT_NAME = {"snapshot"}
"""Readers of bytes, which know no file."""
READER = pytest.mark.parametrize("kind", READERS)


@pytest.fixture(autouse=True)
def _nobody_waits() -> Iterator[None]:
    """End a test that waits at a named pipe; otherwise it would wait for ever."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise AssertionError("waited for a minute")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def read(kind: str, folder: Path, content: bytes) -> str | None:
    """Have a reader read a content; return its error message, which has to be a sentence that names the file."""
    name = READERS[kind][0]
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return refused(kind, path)


def refused(kind: str, path: Path) -> str | None:
    try:
        READERS[kind][1](path)
    except StepEnvsError as error:
        text = str(error)
        assert "\n" not in text.strip() and len(text) < 3000, text[:3000]
        assert path.name in text or path.parent.name in text or kind in WITHOUT_NAME, text
        return text
    return None


@READER
def test_hostile_contents_are_refused_in_one_sentence(kind: str, tmp_path: Path) -> None:
    for number, content in enumerate(CONTENTS.values()):
        folder = tmp_path / str(number)
        read(kind, folder, content)


@pytest.mark.parametrize("kind", [kind for kind in READERS if kind not in ONLY_BYTES])
def test_what_is_no_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    name, _ = READERS[kind]
    for number, (what, put) in enumerate(no_files().items()):
        path = tmp_path / str(number) / name
        path.parent.mkdir(parents=True)
        put(path)
        said = refused(kind, path)
        if kind in ("trajectories", "configuration", "tasks", "prices", "settings in JSON", "teacher evaluation"):
            words = {"a folder": "folder" if kind != "trajectories" else "Cannot read", "a link to a device": "device"}
            words |= {"a link to itself": "symbolic links", "a link to nothing": "No such file"}
            assert said is not None and words.get(what, what) in said


@pytest.mark.parametrize("kind", whole_files())
def test_damaged_files_are_refused_in_one_sentence(kind: str, tmp_path: Path) -> None:
    for number, content in enumerate(mutated(whole_files()[kind], 25)):
        read(kind, tmp_path / str(number), content)


@pytest.mark.slow
@pytest.mark.parametrize("kind", whole_files())
def test_hundreds_of_damaged_files(kind: str, tmp_path: Path) -> None:
    signal.alarm(600)
    for number, content in enumerate(mutated(whole_files()[kind], 200)):
        before = time.process_time()
        read(kind, tmp_path / str(number), content)
        assert time.process_time() - before < 1


@pytest.mark.slow
@READER
def test_large_hostile_files_take_neither_time_nor_memory(kind: str, tmp_path: Path) -> None:
    signal.alarm(600)
    for number, (what, content) in enumerate(LARGE.items()):
        before = time.process_time()
        read(kind, tmp_path / str(number), content)
        assert time.process_time() - before < 5, what  # an idle core needs a fifth of it
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1_500_000  # the contents themselves take a third


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (bytes(5000), "Line 1 of {} holds 5,000 NUL bytes, as a power cut leaves them: take the line out."),
        (b"hello", "Line 1 of {} is not a trajectory: it is no JSON object."),
        (b"\xff\xfe{\x00", "Cannot read {}: it is text in UTF-16, not in UTF-8; save it as UTF-8."),
        (b"[[]\n", "Line 1 of {} is not a trajectory: Invalid JSON: "),
    ],
)
def test_trajectories_that_are_none_are_told_by_line(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    with pytest.raises(StoreError) as error:
        list(read_trajectories(path))
    assert str(error.value).startswith(sentence.format(path))
    shown = CliRunner().invoke(app, ["view", str(path), "--no-html"])
    assert shown.exit_code == 2 and "Traceback" not in shown.stderr


def test_lines_of_any_editor_are_read(tmp_path: Path) -> None:
    one, path = trajectory(episode=3).to_json().encode(), tmp_path / "t.jsonl"
    for content in (
        one + b"\r\n" + one,
        b"\xef\xbb\xbf" + one + b"\n\n \r\n" + one + b"\r",
        one + b"\n" + one + b"\n\n",
    ):
        path.write_bytes(content)
        assert [found.episode for found in read_trajectories(path)] == [3, 3]
        assert path.read_bytes() == content


def test_a_line_has_a_longest_length(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)  # a file with a hole, which takes no room on the disk
    with pytest.raises(StoreError, match=r"^Cannot read .*t\.jsonl: line 1 has more than 67,108,864 bytes\.$"):
        list(bounded_lines(path))
    with pytest.raises(
        DataError, match=r"^Cannot read .*t\.jsonl: it has more than 10 bytes, the most for such a file\.$"
    ):
        read_bytes(path, limit=10, fault=DataError)


def test_what_is_read_is_text_and_json(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": "\xc3\xa9"}')
    assert read_text(path) == '{"a": "é"}'
    assert read_json(path) == {"a": "é"}
    path.write_bytes(b'{\n"a": \xff}')
    with pytest.raises(
        StoreError, match=r"it is not text in UTF-8 \(invalid start byte at line 2\); save it as UTF-8\.$"
    ):
        read_text(path)
    with pytest.raises(DataError, match=r"^this is not valid JSON: it is nested too deeply\.$"):
        parse_json("[" * 10**6, "this", fault=DataError)
    with pytest.raises(DataError, match=r"^this is not valid JSON: its lists and objects would take about \d+ MiB"):
        parse_json("[" + "[]," * 4_000_000 + "[]]", "this", fault=DataError)


def _link(kind: bytes, name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        (_link(tarfile.SYMTYPE, GAME, "/etc/passwd"), "is a link to /etc/passwd, which is no game in the archive"),
        (_link(tarfile.LNKTYPE, GAME, "nowhere"), "is a link to nowhere, which is no game in the archive"),
        (_link(tarfile.SYMTYPE, GAME, "game.tw-pddl"), "is a link to game.tw-pddl, which is no game in the archive"),
        (_link(tarfile.CHRTYPE, GAME, ""), "is a folder or a device, not a file"),
        (_link(tarfile.FIFOTYPE, GAME, ""), "is a folder or a device, not a file"),
    ],
)
def test_links_and_devices_in_a_tar_lead_nowhere(member: tarfile.TarInfo, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "games.tar"
    path.write_bytes(tar_of((member, b"")))
    with pytest.raises(DataError) as error:
        open_games(path)
    assert str(error.value).startswith(f"{path}: {GAME} {sentence}")


def test_what_is_larger_than_a_game_is_not_unpacked(tmp_path: Path) -> None:
    large = bytes(2**24 + 1)
    (tmp_path / "games.zip").write_bytes(zip_of(**{GAME: large}))
    games = open_games(tmp_path / "games.zip")
    with pytest.raises(DataError, match=r"it would have 16,777,217 bytes unpacked, which no game file has\.$"):
        games.read(games.names[0])
    (tmp_path / "games.tar").write_bytes(tar_of((tarfile.TarInfo(GAME), large)))
    with pytest.raises(DataError, match=r"has more than 16,777,216 bytes, which no game file has\.$"):
        open_games(tmp_path / "games.tar")
