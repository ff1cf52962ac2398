"""The conformance kit: one call that checks everything the contract promises, for our environments and other people's.

Example:
    >>> from step_envs.testing import check_text_env
    >>> check_text_env("STeP-SciWorld-v0", task_types=["find-plant"])  # doctest: +SKIP
"""

import hashlib
import json
import multiprocessing
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

from step_envs.core import TextEnv
from step_envs.errors import SnapshotError, UnknownNameError
from step_envs.registration import env_class, list_tasks
from step_envs.spaces import TextSpace
from step_envs.vector import TextVectorEnv

ODD_ACTIONS = (
    "",
    " ",
    "\n",
    "\x00\x07",
    "0",
    "go",
    "ask" * 3000,
    "пойти на кухню",
    "冷蔵庫を開ける",
    "🧪⚗️",
    "‮olleh",
    "\ud800",
    "{}[]()'\"\\",
)
"""Strings that no engine expects; every environment answers them."""

_NOT_TEXT = (None, 3, 2.5, b"look", ["look"], {"action": "look"})
"""Values that callers pass by mistake where a str is asked for."""

_NO_TASKS = ("", "/", "no/such/task", "boil/-1", "boil/007", "generated/x/y", "\x00", "a" * 5000)
"""Task ids that no world has."""

_INFO_TYPES: dict[str, type] = {
    "task_id": str,
    "split": str,
    "instruction": str,
    "score": float,
    "success": bool,
    "valid_action": bool,
    "steps": int,
    "details": dict,
}


class ConformanceError(AssertionError):
    """An environment breaks the contract; the message says where."""


def check_text_env(
    env_id: str,
    *,
    num_envs: int = 3,
    steps: int = 6,
    oracle_tasks: int = 1,
    admissible_is_valid: bool = True,
    **kwargs: Any,
) -> None:
    """Check that an environment keeps the whole contract of ``TextEnv``.

    Gymnasium's own ``check_env`` with warnings as errors; spaces; ``info`` and its types; the same bytes for the same seed
    or task, after any history and in another process; rewards that add up to the score; the step limit; odd strings as
    actions; admissible actions; snapshots within and across environments; the oracle reaching success; tasks and splits;
    misuse; vector environments equal to single ones.

    Args:
        env_id: A registered id.
        num_envs: Size of the vector environment.
        steps: Length of the scripted plays.
        oracle_tasks: For how many tasks the oracle is followed to the end; 0 where the environment has no oracle.
        admissible_is_valid: Every action that the engine lists is one that it understands. False for an original engine
            that lists some which its own parser then refuses; half of those tried must still be understood.
        **kwargs: Passed to ``gymnasium.make``.

    Raises:
        ConformanceError: The contract is broken; the message says how.
    """
    make = _maker(env_id, kwargs)
    for check in (
        _check_gymnasium,
        _check_tasks,
        _check_info,
        _check_determinism,
        _check_other_process,
        _check_limits,
        _check_odd_actions,
        _check_snapshots,
        _check_misuse,
        _check_garbled,
    ):
        check(make, env_id, steps, kwargs)
    _check_admissible(make, steps, admissible_is_valid)
    _check_vector(make, env_id, num_envs, steps, kwargs)
    if oracle_tasks:
        _check_oracle(make, oracle_tasks)


Make = Callable[..., gym.Env[str, str]]


def _maker(env_id: str, kwargs: dict[str, Any]) -> Make:
    return lambda **more: gym.make(env_id, **(kwargs | more))


@contextmanager
def _open(make: Make, **kwargs: Any) -> Iterator[tuple[gym.Env[str, str], TextEnv]]:
    env = make(**kwargs)
    try:
        yield env, _world(env)
    finally:
        env.close()


def _world(env: gym.Env[str, str]) -> TextEnv:
    world = env.unwrapped
    _require(isinstance(world, TextEnv), f"{world!r} is not a step_envs.core.TextEnv.")
    assert isinstance(world, TextEnv)
    return world


def _require(kept: bool, sentence: str) -> None:
    if not kept:
        raise ConformanceError(sentence)


@contextmanager
def _refused(error: type[Exception], what: str) -> Iterator[None]:
    try:
        yield
    except error:
        return
    raise ConformanceError(f"{what} must raise {error.__name__}.")


def script(world: TextEnv, steps: int) -> list[str]:
    """Choose actions for a play of a world that was just reset: admissible ones spread over the list, and a foolish one.

    The same state gives the same actions, so that plays can be compared.
    """
    admissible = world.admissible_actions()
    stride = max(1, len(admissible) // max(1, steps))
    return [*admissible[::stride][: steps - 1], "frobnicate the wug"]


def play(env: gym.Env[str, str], actions: Sequence[str], **reset: Any) -> list[Any]:
    """Play actions from a reset and return everything that was answered, until the episode ends."""
    answers: list[Any] = [env.reset(**reset)]
    for action in actions:
        answers.append(env.step(action))
        if answers[-1][2] or answers[-1][3]:
            break
    return answers


def _check_gymnasium(make: Make, env_id: str, steps: int, kwargs: dict[str, Any]) -> None:
    with _open(make) as (_, world), warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(world, skip_render_check=world.render_mode is None)
    for space in (world.observation_space, world.action_space):
        _require(isinstance(space, TextSpace), f"{env_id}: {space!r} is not a TextSpace.")


def _check_tasks(make: Make, env_id: str, steps: int, kwargs: dict[str, Any]) -> None:
    cls = env_class(env_id)
    for name in ("env_id", "default_split", "react"):
        _require(hasattr(cls, name), f"{cls.__name__} lacks the class attribute {name!r}.")
    with _open(make) as (_, world):
        tasks = world.tasks
        _require(world.split in tasks.splits, f"The split {world.split!r} is not among {tasks.splits}.")
        official = 0
        for split in tasks.splits:
            ids = tasks.ids(split)
            _require(len(set(ids)) == len(ids), f"Split {split!r} lists a task twice.")
            _require(list(ids) == list(tasks.ids(split)), f"Split {split!r} is listed in a different order each time.")
            # A task's official split is a function of the task: that is what keeps the official splits disjoint.
            homes = {tasks.split_of(task_id) for task_id in ids}
            official += homes == {split}
            _require(homes <= set(tasks.splits), f"split_of names a split that is not listed, among {homes}.")
            for task_id in ids[:: max(1, len(ids) // 20)]:
                _require(tasks.type_of(task_id) in tasks.types, f"Task {task_id!r} has a type that is not listed.")
        _require(official >= 1, "No split holds exactly the tasks whose split_of it is.")
        with _refused(UnknownNameError, "A split that does not exist"):
            tasks.select("no-such-split")
        with _refused(UnknownNameError, "A task that does not exist"):
            world.reset(options={"task_id": "no/such/task"})
        with _refused(UnknownNameError, "A reset option that does not exist"):
            world.reset(options={"taskid": "x"})


def _check_info(make: Make, env_id: str, steps: int, kwargs: dict[str, Any]) -> None:
    with _open(make, max_steps=None) as (env, world):
        observation, info = env.reset(seed=1)
        _check_one_info(info, env_id, "reset")
        _require(isinstance(observation, str), f"reset() observed a {type(observation).__name__}, not a str.")
        _require(info["steps"] == 0 and not info["success"], "At reset, steps is 0 and success False.")
        _require(bool(info["instruction"].strip()), "The instruction is empty.")
        total = 0.0
        for count, action in enumerate(script(world, steps), 1):
            observation, reward, terminated, truncated, info = env.step(action)
            _check_one_info(info, env_id, f"step {count}")
            total += float(reward)
            _require(info["steps"] == count, f"After {count} actions, steps is {info['steps']}.")
            _require(abs(total - info["score"]) < 1e-9, f"The rewards add up to {total}, the score is {info['score']}.")
            _require(not truncated, "An environment without a step limit truncated.")
            _require(terminated or not info["success"], "success before the engine ended the episode.")
            if terminated:
                break


def _check_one_info(info: dict[str, Any], env_id: str, where: str) -> None:
    for name, kind in _INFO_TYPES.items():
        _require(name in info, f"{env_id}: info at {where} lacks {name!r}.")
        _require(
            type(info[name]) is kind, f"{env_id}: info[{name!r}] at {where} is {info[name]!r}, not a {kind.__name__}."
        )
    try:
        json.dumps(info["details"])
    except TypeError as error:
        raise ConformanceError(f"{env_id}: info['details'] at {where} is not JSON: {error}.") from error


def _check_determinism(make: Make, env_id: str, steps: int, kwargs: dict[str, Any]) -> None:
    with _open(make) as (env, world), _open(make) as (other, _):
        env.reset(seed=7)
        actions = script(world, steps)
        first = play(env, actions, seed=7)
        play(env, actions[::-1], seed=8)
        _require(
            play(env, actions, seed=7) == first, "The same seed and actions answer differently after another episode."
        )
        _require(
            play(other, actions, seed=7) == first,
            "The same seed and actions answer differently in another environment.",
        )
        task_id = first[0][1]["task_id"]
        named = play(other, actions, options={"task_id": task_id})
        _require(named == first, f"Task {task_id!r} answers differently when it is named than when a seed picks it.")
        tasks = {env.reset(seed=seed)[1]["task_id"] for seed in range(4)}
        listed = list_tasks(env_id, split=world.split, **_data_kwargs(kwargs))
        _require(tasks <= set(listed), "A seed picked a task that list_tasks does not list.")
        _require(len(tasks) > 1 or len(listed) == 1, "Different seeds always pick the same task.")


def _data_kwargs(kwargs: dict[str, Any]) -> dict[str, Any]:
    own = {"split", "max_steps", "admissible_actions", "render_mode"}
    return {name: value for name, value in kwargs.items() if name not in own}


def _check_other_process(make: Make, env_id: str, steps: int, kwargs: dict[str, Any]) -> None:
    with _open(make) as (env, world):
        env.reset(seed=11)
        actions = script(world, steps)
        here = _digest(play(env, actions, seed=11))
    # The spec travels; the function behind the vector entry point would not.
    spec = replace(gym.spec(env_id), vector_entry_point=None)
    # Not multiprocessing.Pool: it starts a worker that dies at its start again and again, without end.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            there = pool.submit(_play_elsewhere, spec, kwargs, actions).result()
        except BrokenProcessPool as error:
            raise ConformanceError(
                "A second process could not play the same episode: it ended at its start. If the check is called from a "
                'script, put the call under `if __name__ == "__main__":`.'
            ) from error
    _require(here == there, "The same seed and actions answer differently in another process.")


def _play_elsewhere(spec: EnvSpec, kwargs: dict[str, Any], actions: list[str]) -> str:
    env: gym.Env[str, str] = gym.make(spec, **kwargs)
    try:
        return _digest(play(env, actions, seed=11))
    finally:
        env.close()


def _digest(answers: list[Any]) -> str:
    return hashlib.sha256(json.dumps(answers, sort_keys=True).encode()).hexdigest()


def _check_limits(make: Make, env_id: str, steps: int, kwargs: dict[str, Any]) -> None:
    with _open(make, max_steps=2) as (env, _):
        env.reset(seed=0)
        _, _, terminated, truncated, _ = env.step("frobnicate the wug")
        _require(not truncated, "max_steps=2 truncated after one step.")
        if not terminated:
            truncated = env.step("frobnicate the wug")[3]
            _require(truncated, "max_steps=2 did not truncate after two steps.")
            with _refused(ResetNeeded, "A step after the end of an episode"):
                env.step("frobnicate the wug")
    for wrong in (0, -1, "many", True, 2.5):
        with _refused(ValueError, f"max_steps={wrong!r}"):
            make(max_steps=wrong)


def _check_odd_actions(make: Make, env_id: str, steps: int, kwargs: dict[str, Any]) -> None:
    with _open(make, max_steps=None) as (env, world):
        env.reset(seed=0)
        for action in ODD_ACTIONS:
            answer = env.step(action)
            _require(isinstance(answer[0], str), f"The action {action[:20]!r} was answered with {answer[0]!r}.")
            if answer[2]:
                env.reset(seed=0)
        with _refused(TypeError, "An action that is not a string"):
            world.step(3)  # type: ignore[arg-type]


def _check_admissible(make: Make, steps: int, all_valid: bool) -> None:
    with _open(make, admissible_actions=True) as (env, world):
        _, info = env.reset(seed=2)
        listed = info.get("admissible_actions")
        _require(isinstance(listed, tuple) and bool(listed), "admissible_actions=True puts a tuple into info at reset.")
        _require(world.admissible_actions() == listed, "admissible_actions() differs from the list in info.")
        _require(all(isinstance(action, str) for action in listed or ()), "An admissible action is not a str.")
        tried = script(world, steps)[:-1]
        refused = []
        for action in tried:
            _require(world.accepts(action), f"accepts({action!r}) denies an admissible action.")
            env.reset(seed=2)
            info = env.step(action)[4]
            _require("admissible_actions" in info, "admissible_actions=True puts the list into info at every step.")
            if not info["valid_action"]:
                refused.append(action)
        allowed = 0 if all_valid else len(tried) // 2
        _require(len(refused) <= allowed, f"Of {len(tried)} admissible actions these are not valid: {refused}.")


def _check_snapshots(make: Make, env_id: str, steps: int, kwargs: dict[str, Any]) -> None:
    with _open(make) as (env, world), _open(make) as (_, other):
        env.reset(seed=5)
        actions = script(world, steps)
        half = len(actions) // 2
        played = play(env, actions[:half], seed=5)
        saved, at = world.snapshot(), played[-1]
        _require(isinstance(saved, bytes), "snapshot() gives bytes.")
        if len(at) == 5 and (at[2] or at[3]):
            return
        rest = _go_on(world, actions[half:])
        for target in (world, other):
            observation, info = target.restore(saved)
            _require(
                (observation, info) == (at[0], at[-1]), "restore() answers differently from the moment of snapshot()."
            )
            _require(target.snapshot() == saved, "A snapshot of a restored state differs from the one restored.")
            _require(_go_on(target, actions[half:]) == rest, "An episode goes on differently after restore().")
        for garbage in (b"", b"{}", saved[:-9], saved.replace(world.env_id.encode(), b"Another-v0")):
            with _refused(SnapshotError, "restore() of other bytes"):
                world.restore(garbage)


def _go_on(world: TextEnv, actions: Sequence[str]) -> list[Any]:
    answers: list[Any] = []
    for action in actions:
        answers.append(world.step(action))
        if answers[-1][2] or answers[-1][3]:
            break
    return answers


def _check_misuse(make: Make, env_id: str, steps: int, kwargs: dict[str, Any]) -> None:
    world = _world(make())
    with _refused(ResetNeeded, "A step before reset()"):
        world.step("look")
    with _refused(ResetNeeded, "snapshot() before reset()"):
        world.snapshot()
    world.close()
    world.close()
    for name, value in (("split", "no-such-split"), ("task_types", ["no-such-type"])):
        with _refused(UnknownNameError, f"{name}={value!r}"):
            make(**{name: value}).close()


def _check_garbled(make: Make, env_id: str, steps: int, kwargs: dict[str, Any]) -> None:
    """Call every method that takes something from outside with what is not one of its arguments."""
    with _open(make) as (env, world):
        for name in ("plan", "next_action"):
            with _refused(ResetNeeded, f"oracle.{name}() before reset()"):
                getattr(world.oracle, name)()
        for name in ("thought", "is_informative"):
            with _refused(ResetNeeded, f"oracle.{name}() before reset()"):
                getattr(world.oracle, name)("look")
        env.reset(seed=5)
        saved = world.snapshot()
        for garbled in garbled_snapshots(saved):
            with _refused(SnapshotError, f"oracle.plan({garbled[:60]!r} ...)"):
                world.oracle.plan(garbled)
            with _refused(SnapshotError, f"restore({garbled[:60]!r} ...)"):
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
                "oracle.thought": world.oracle.thought,
                "oracle.is_informative": world.oracle.is_informative,
                "oracle.plan(after=[...])": lambda action: world.oracle.plan(after=[action]),
                "reset(task_id)": lambda task_id: world.reset(options={"task_id": task_id}),
            }
            for name, call in calls.items():
                with _refused(TypeError, f"{name} with {value!r}"):
                    call(value)
            world.restore(saved)
        for name in ("split_of", "type_of"):
            for task_id in _NO_TASKS:
                with _refused(UnknownNameError, f"tasks.{name}({task_id!r})"):
                    getattr(world.tasks, name)(task_id)
            for value in _NOT_TEXT:
                with _refused(TypeError, f"tasks.{name}({value!r})"):
                    getattr(world.tasks, name)(value)
        for action in ODD_ACTIONS:
            _require(type(world.accepts(action)) is bool, f"accepts({action[:20]!r}) is not a bool.")
            _require(type(world.is_move(action)) is bool, f"is_move({action[:20]!r}) is not a bool.")
            _require(isinstance(world.verb_of(action), str), f"verb_of({action[:20]!r}) is not a str.")
            _require(
                type(world.oracle.is_informative(action)) is bool, f"is_informative({action[:20]!r}) is not a bool."
            )
            thought = world.oracle.thought(action)
            _require(
                "\n" not in thought and bool(thought.strip()), f"thought({action[:20]!r}) is not one line of text."
            )
        _require(world.snapshot() == saved, "Questions with garbled arguments changed the state.")


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


def _check_vector(make: Make, env_id: str, num_envs: int, steps: int, kwargs: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vector = gym.make_vec(env_id, num_envs, **kwargs)
    singles = [make() for _ in range(num_envs)]
    try:
        _require(isinstance(vector, TextVectorEnv), "gym.make_vec() does not give a TextVectorEnv.")
        observations, infos = vector.reset(seed=3)
        expected = [env.reset(seed=3 + i) for i, env in enumerate(singles)]
        _require(
            list(observations) == [answer[0] for answer in expected], "Vector and single observations differ at reset."
        )
        scripts = [script(_world(env), steps) for env in singles]
        for turn in range(min(map(len, scripts))):
            actions = tuple(actions[turn] for actions in scripts)
            observations, rewards, terminated, truncated, infos = vector.step(actions)
            answers = [env.step(action) for env, action in zip(singles, actions, strict=True)]
            _require(
                list(observations) == [answer[0] for answer in answers], f"Observations differ at vector step {turn}."
            )
            _require(list(rewards) == [answer[1] for answer in answers], f"Rewards differ at vector step {turn}.")
            _require(
                list(terminated) == [answer[2] for answer in answers], f"terminated differs at vector step {turn}."
            )
            _require(
                list(infos["score"]) == [answer[4]["score"] for answer in answers], f"Scores differ at step {turn}."
            )
            if any(terminated) or any(truncated):
                break
    finally:
        vector.close()
        for env in singles:
            env.close()
    with _refused(TypeError, "A vector environment with shared memory"):
        gym.make_vec(env_id, 2, vectorization_mode="async", **kwargs).close()


def _check_oracle(make: Make, count: int) -> None:
    with _open(make, max_steps=None) as (env, world):
        for task_id in world.tasks.ids(world.split)[:count]:
            env.reset(options={"task_id": task_id})
            before = world.snapshot()
            plan = world.oracle.plan()
            _require(bool(plan), f"The oracle has no plan for {task_id!r}.")
            _require(world.snapshot() == before, "Asking the oracle changed the state.")
            _require(
                world.oracle.next_action() == (plan or [""])[0], "next_action() is not the first action of the plan."
            )
            success = False
            for action in plan or ():
                thought = world.oracle.thought(action)
                _require(bool(thought.strip()) and "\n" not in thought, f"thought({action!r}) is not one line of text.")
                success = env.step(action)[4]["success"]
            _require(success, f"The oracle's plan for {task_id!r} does not end in success.")
