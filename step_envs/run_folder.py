"""The folder of a run: who may write into it, and which settings it was started with.

A collection, a training and an experiment all keep their settings in one file of their folder. That file is also the claim:
a folder that has it belongs to that run, and only the same settings may go on with it. Comparing settings as text would be
simpler, but then a field that is new in this version, or one that only says how fast to go, would lock old runs out.
"""

import json
import reprlib
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from step_envs.confidential import refuse_secrets
from step_envs.errors import StoreError, first_fault
from step_envs.files import write_whole

Model = TypeVar("Model", bound=BaseModel)


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
        refuse_secrets(settings.model_dump(mode="json"), "", instead="give it by environment variable.")
        if not self.record.exists():
            self._refuse_files()
            write_model(self.record, settings)
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
            values = {"saved": reprlib.repr(was), "asked": reprlib.repr(wanted)}
            raise StoreError(self._conflict.format(folder=self.path, field=field, **values))
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
            if product.exists() and product.stat().st_size:
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
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise StoreError(absent or f"Cannot read {path}: {error.strerror}.") from error
    except OSError as error:
        raise StoreError(f"Cannot read {path}: {error.strerror}.") from error
    except ValidationError as error:
        raise StoreError(f"{path} is not {meaning}: {first_fault(error)}.") from error
