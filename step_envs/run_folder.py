"""The folder of a run: who may write into it, and which settings it was started with.

A collection, a training and an experiment all keep their settings in one file of their folder. That file is also the claim:
a folder that has it belongs to that run, and only the same settings may go on with it. Comparing settings as text would be
simpler, but then a field that is new in this version, or one that only says how fast to go, would lock old runs out.
"""

import json
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from step_envs.confidential import refuse_secrets
from step_envs.errors import StoreError, first_fault, quoted, shortened
from step_envs.file_reading import model_from_json, read_bytes
from step_envs.files import write_whole

Model = TypeVar("Model", bound=BaseModel)
_MOST_BYTES = 2**24


class RunFolder:
    """The folder of one run.

    Args:
        path: The folder.
        noun: What it holds, with its article, for error messages: ``"a run"``.
        record: Name of the file with the settings.
        product: The one file that must not be there before the settings are; None: no file may be there.
        conflict: Error message for other settings; it may name ``folder``, ``field``, ``saved`` and ``asked``.
    """

    def __init__(
        self, path: Path, *, noun: str, record: str = "config.json", product: str | None = None, conflict: str
    ) -> None:
        self.path = path
        self.record = path / record
        self._noun, self._product, self._conflict = noun, product, conflict

    def claim(
        self, settings: Model, *, resume: bool, meaning: str, may_differ: Collection[str] = frozenset()
    ) -> Model | None:
        """Claim the folder for a run with these settings, or go on with the run that it holds.

        Args:
            settings: The settings asked for.
            resume: Go on with a run that is there; without it, a folder that holds one is refused.
            meaning: What the file with the settings is, for error messages: ``"the configuration of a collection"``.
            may_differ: Fields that need not be as they were when the run was started.

        Returns:
            The settings that the run was started with; None where it is new.

        Raises:
            StoreError: The folder holds something else, a run although ``resume`` is not set, or a run with other
                settings.
        """
        saved = self.check(settings, resume=resume, meaning=meaning, may_differ=may_differ)
        if saved is None:
            write_model(self.record, settings)
        return saved

    def check(
        self, settings: Model, *, resume: bool, meaning: str, may_differ: Collection[str] = frozenset()
    ) -> Model | None:
        """Raise the errors that ``claim`` would raise, and write nothing; arguments and result are those of ``claim``."""
        refuse_secrets(settings.model_dump(mode="json"), "", instead="give it by environment variable.")
        if not self.record.exists():
            self._refuse_files()
            return None
        if not resume:
            raise StoreError(
                f"{self.path} already holds {self._noun}: add --resume to go on with it, or name another folder."
            )
        saved = read_model(self.record, type(settings), meaning)
        # Through JSON and back, as the saved ones: a tuple in the options of an environment comes back as a list.
        asked = type(settings).model_validate_json(settings.model_dump_json())
        fixed = set(type(settings).model_fields) - set(may_differ)
        found = first_difference(saved.model_dump(include=fixed), asked.model_dump(include=fixed))
        if found is not None:
            field, was, wanted = found
            texts = dict(zip(("saved", "asked"), tell_apart(was, wanted), strict=True))
            raise StoreError(self._conflict.format(folder=self.path, field=shortened(field), **texts))
        return saved

    def wait_until_claimed(self, seconds: float) -> None:
        """Wait until another process of the same run has claimed the folder.

        Raises:
            StoreError: It has not after so many seconds.
        """
        deadline = time.monotonic() + seconds
        while not self.record.exists():
            if time.monotonic() >= deadline:
                raise StoreError(
                    f"The first process did not claim {self.path} within {seconds:g} seconds: see what stopped it."
                )
            time.sleep(0.05)

    def _refuse_files(self) -> None:
        """Refuse a folder with files that this run would mix with its own."""
        if self._product is not None:
            product = self.path / self._product
            if product.exists() and (not product.is_file() or product.stat().st_size):
                raise StoreError(f"{self.path} holds {product.stem} without a {self.record.name}: name another folder.")
        elif self.path.is_dir() and any(not self._is_half_record(file) for file in self.path.iterdir()):
            kind = f" of {self._noun}" if self.record.name == "config.json" else ""
            raise StoreError(f"{self.path} is not empty and holds no {self.record.name}{kind}: name another folder.")

    def _is_half_record(self, file: Path) -> bool:
        """Return True for what a process leaves that was killed while it claimed the folder."""
        return file.name.startswith(f".{self.record.name}.") and file.suffix == ".tmp"


def first_difference(
    saved: Mapping[str, Any], asked: Mapping[str, Any], *, before: str = ""
) -> tuple[str, Any, Any] | None:
    """Find the first field that differs, as ``(name, saved, asked)``; one inside another is named ``outer.inner``."""
    for name, value in asked.items():
        was = saved.get(name)
        if was == value:
            continue
        if isinstance(was, Mapping) and isinstance(value, Mapping) and was.keys() == value.keys():
            return first_difference(was, value, before=f"{before}{name}.")
        return f"{before}{name}", was, value
    return None


def tell_apart(saved: Any, asked: Any, *, most: int = 160) -> tuple[str, str]:
    """Describe two values that differ, each in a few words, so that the descriptions differ as well.

    Args:
        saved: One value.
        asked: The other.
        most: Characters up to which both are shown whole.

    Examples:
        >>> tell_apart(0.3, 0.4)
        ('0.3', '0.4')
        >>> tell_apart(["a"] * 99 + ["b"], ["a"] * 99 + ["c"], most=20)
        ("100 items of which number 100 is 'b'", "100 items of which number 100 is 'c'")
    """
    texts = repr(saved), repr(asked)
    if max(map(len, texts)) <= most or type(saved) is not type(asked):
        return quoted(saved, most), quoted(asked, most)
    if isinstance(saved, (list, tuple)):
        at = next((at for at, (a, b) in enumerate(zip(saved, asked, strict=False)) if a != b), None)
        if at is None:
            return f"{len(saved):,} items", f"{len(asked):,} items"
        one, other = tell_apart(saved[at], asked[at], most=most)
        number = f"items of which number {at + 1:,} is"
        return f"{len(saved):,} {number} {one}", f"{len(asked):,} {number} {other}"
    if isinstance(saved, Mapping):
        key = next(key for key in (*saved, *asked) if key not in saved or key not in asked or saved[key] != asked[key])
        name = quoted(key, most)
        if key not in saved or key not in asked:
            here, absent = f"options with {name}", f"options without {name}"
            return (here, absent) if key in saved else (absent, here)
        one, other = tell_apart(saved[key], asked[key], most=most)
        return f"{name}: {one}", f"{name}: {other}"
    common = next((at for at, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), min(map(len, texts)))
    start = max(0, common - most // 4)
    one, other = (
        f"{'…' if start else ''}{text[start : start + most]}{'…' * (len(text) > start + most)}" for text in texts
    )
    return one, other


def write_model(path: Path, model: BaseModel) -> None:
    """Write settings or results as JSON, whole or not at all.

    Raises:
        StoreError: The file cannot be written.
    """
    write_whole(path, model.model_dump_json(indent=2, by_alias=True) + "\n")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON value as a file that people can read, whole or not at all.

    Raises:
        StoreError: The file cannot be written.
    """
    write_whole(path, json.dumps(value, indent=2) + "\n")


def read_model(path: Path, kind: type[Model], meaning: str, *, absent: str | None = None) -> Model:
    """Read settings or results that ``write_model`` wrote.

    Args:
        path: The file.
        kind: The class of its content.
        meaning: What the file is, for error messages: ``"an evaluation"``.
        absent: Error message where there is no such file; None says that it cannot be read.

    Raises:
        StoreError: The file is not there, or holds something else.
    """
    if absent is not None and not path.exists():
        raise StoreError(absent)
    data = read_bytes(path, limit=_MOST_BYTES)
    try:
        return model_from_json(kind, data)
    except ValidationError as error:
        raise StoreError(f"{path} is not {meaning}: {first_fault(error)}.") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is not {meaning}: {error}.") from error
