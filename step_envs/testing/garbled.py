"""Garbled input: every method of the contract is called with what is not one of its arguments.

The worlds read snapshots, task ids and actions in ways of their own. So each could answer wrong ones with an error of its
own, or not notice them until many steps later. Here all of them have to answer with the same errors, at once.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from gymnasium.error import ResetNeeded

from step_envs.errors import SnapshotError, UnknownNameError
from step_envs.testing.plays import ODD_ACTIONS, Make, opened, refused, require

_NOT_TEXT = (None, 3, 2.5, b"look", ["look"], {"action": "look"})
"""Values that callers pass by mistake where a str is asked for."""

_NO_TASKS = ("", "/", "no/such/task", "boil/-1", "boil/007", "generated/x/y", "\x00", "a" * 5000)
"""Task ids that no world has."""


def check_garbled(make: Make, env_id: str, steps: int, kwargs: dict[str, Any]) -> None:
    """Call every method that takes something from outside with what is not one of its arguments."""
    with opened(make) as (env, world):
        for name in ("plan", "next_action"):
            with refused(ResetNeeded, f"oracle.{name}() before reset()"):
                getattr(world.oracle, name)()
        for name in ("thought", "is_informative"):
            with refused(ResetNeeded, f"oracle.{name}() before reset()"):
                getattr(world.oracle, name)("look")
        env.reset(seed=5)
        saved = world.snapshot()
        for garbled in garbled_snapshots(saved):
            with refused(SnapshotError, f"oracle.plan({garbled[:60]!r} ...)"):
                world.oracle.plan(garbled)
            with refused(SnapshotError, f"restore({garbled[:60]!r} ...)"):
                world.restore(garbled)
            world.restore(saved)
        for value in _NOT_TEXT:
            calls: dict[str, Callable[[Any], object]] = {
                "step": world.step,
                "pass_step": world.pass_step,
                "accepts": world.accepts,
                "task_type": world.task_type,
                "verb_of": world.verb_of,
                "is_move": world.is_move,
                "takes_back": lambda action: world.takes_back(action, "look"),
                "takes_back, earlier": lambda action: world.takes_back("look", action),
                "vaguer": world.vaguer,
                "oracle.thought": world.oracle.thought,
                "oracle.is_informative": world.oracle.is_informative,
                "oracle.plan(after=[...])": lambda action: world.oracle.plan(after=[action]),
                "reset(task_id)": lambda task_id: world.reset(options={"task_id": task_id}),
            }
            for name, call in calls.items():
                with refused(TypeError, f"{name} with {value!r}"):
                    call(value)
            world.restore(saved)
        for name in ("split_of", "type_of"):
            for task_id in _NO_TASKS:
                with refused(UnknownNameError, f"tasks.{name}({task_id!r})"):
                    getattr(world.tasks, name)(task_id)
            for value in _NOT_TEXT:
                with refused(TypeError, f"tasks.{name}({value!r})"):
                    getattr(world.tasks, name)(value)
        for action in ODD_ACTIONS:
            require(type(world.accepts(action)) is bool, f"accepts({action[:20]!r}) is not a bool.")
            require(type(world.is_move(action)) is bool, f"is_move({action[:20]!r}) is not a bool.")
            require(isinstance(world.verb_of(action), str), f"verb_of({action[:20]!r}) is not a str.")
            for earlier in ODD_ACTIONS:
                taken = world.takes_back(action, earlier)
                require(type(taken) is bool, f"takes_back({action[:20]!r}, {earlier[:20]!r}) is not a bool.")
            vaguer = world.vaguer(action)
            texts = isinstance(vaguer, tuple) and all(isinstance(text, str) for text in vaguer)
            require(texts, f"vaguer({action[:20]!r}) is not a tuple of str.")
            require(
                type(world.oracle.is_informative(action)) is bool, f"is_informative({action[:20]!r}) is not a bool."
            )
            thought = world.oracle.thought(action)
            require("\n" not in thought and bool(thought.strip()), f"thought({action[:20]!r}) is not one line of text.")
        require(world.snapshot() == saved, "Questions with garbled arguments changed the state.")


def garbled_snapshots(saved: bytes) -> Iterator[bytes]:
    """Make snapshots that are wrong in one place each: every field of the frame missing, or of another type."""
    yield from (b"", b"\xff\x00", b"null", b"[]", b"{}", b"[" * 100_000, saved[:-9])
    frame = json.loads(saved)
    for name in frame:
        yield json.dumps({key: value for key, value in frame.items() if key != name}).encode()
        values: tuple[Any, ...] = (None, [], {}, -1, "x", 1e308, [[]])
        for value in values:
            # What a world keeps of its own may be any of these; a wrong one has to be found by the world.
            if type(value) is not type(frame[name]):
                yield json.dumps(frame | {name: value}).encode()
    for part in ("state", "world"):
        inner = frame[part] if isinstance(frame[part], dict) else {}
        for name in inner:
            yield json.dumps(frame | {part: {key: value for key, value in inner.items() if key != name}}).encode()
            if inner[name] is not None and not isinstance(inner[name], dict):
                yield json.dumps(frame | {part: inner | {name: {"garbled": [None]}}}).encode()
