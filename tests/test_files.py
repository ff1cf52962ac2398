"""Files and folders that are replaced whole, or not at all."""

from pathlib import Path

import pytest

from step_envs.errors import StoreError
from step_envs.files import replacing, write_whole


def test_a_file_never_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    diary = tmp_path / "notes" / "diary.txt"
    diary.parent.mkdir()
    diary.write_text("dear diary")
    with pytest.raises(StoreError, match=r"Cannot write .*notes: Is a directory"):
        write_whole(tmp_path / "notes", "a page")
    assert diary.read_text() == "dear diary"
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_a_folder_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "old").write_text("x")
    with replacing(tmp_path / "data") as temporary:
        temporary.mkdir()
        (temporary / "new").write_text("y")
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "new"]
