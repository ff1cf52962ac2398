"""The conformance kit: one call that checks everything the contract promises, for our environments and other people's.

Example:
    >>> from step_envs.testing import check_text_env
    >>> check_text_env("STeP-SciWorld-v0", task_types=["find-plant"])  # doctest: +SKIP
"""

import hashlib
import json
import multiprocessing
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
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
from step_envs.testing.garbled import check_garbled
from step_envs.testing.plays import (
    ODD_ACTIONS,
    ConformanceError,
    Make,
    maker,
    opened,
    play,
    refused,
    require,
    script,
    world_of,
)
from step_envs.vector import TextVectorEnv

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
    make = maker(env_id, kwargs)
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
        check_garbled,
    ):
        check(make, env_id, steps, kwargs)
    _check_admissible(make, steps, admissible_is_valid)
    check_vector(make, env_id, num_envs, steps, kwargs)
    if oracle_tasks:
        _check_oracle(make, oracle_tasks)


def _check_gymnasium(make: Make, env_id: str, steps: int, kwargs: dict[str, Any]) -> None:
    with opened(make) as (_, world), warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(world, skip_render_check=world.render_mode is None)
    for space in (world.observation_space, world.action_space):
        require(isinstance(space, TextSpace), f"{env_id}: {space!r} is not a TextSpace.")


def _check_tasks(make: Make, env_id: str, steps: int, kwargs: dict[str, Any]) -> None:
    cls = env_class(env_id)
    for name in ("env_id", "default_split", "react"):
        require(hasattr(cls, name), f"{cls.__name__} lacks the class attribute {name!r}.")
    with opened(make) as (_, world):
        tasks = world.tasks
        require(world.split in tasks.splits, f"The split {world.split!r} is not among {tasks.splits}.")
        official = 0
        for split in tasks.splits:
            ids = tasks.ids(split)
            require(len(set(ids)) == len(ids), f"Split {split!r} lists a task twice.")
            require(list(ids) == list(tasks.ids(split)), f"Split {split!r} is listed in a different order each time.")
            # A task's official split is a function of the task: that is what keeps the official splits disjoint.
            homes = {tasks.split_of(task_id) for task_id in ids}
            official += homes == {split}
            require(homes <= set(tasks.splits), f"split_of names a split that is not listed, among {homes}.")
            for task_id in ids[:: max(1, len(ids) // 20)]:
                require(tasks.type_of(task_id) in tasks.types, f"Task {task_id!r} has a type that is not listed.")
        require(official >= 1, "No split holds exactly the tasks whose split_of it is.")
        with refused(UnknownNameError, "A split that does not exist"):
            tasks.select("no-such-split")
        with refused(UnknownNameError, "A task that does not exist"):
            world.reset(options={"task_id": "no/such/task"})
        with refused(UnknownNameError, "A reset option that does not exist"):
            world.reset(options={"taskid": "x"})


def _check_info(make: Make, env_id: str, steps: int, kwargs: dict[str, Any]) -> None:
    with opened(make, max_steps=None) as (env, world):
        observation, info = env.reset(seed=1)
        _check_one_info(info, env_id, "reset")
        require(isinstance(observation, str), f"reset() observed a {type(observation).__name__}, not a str.")
        require(info["steps"] == 0 and not info["success"], "At reset, steps is 0 and success False.")
        require(bool(info["instruction"].strip()), "The instruction is empty.")
        total = 0.0
        for count, action in enumerate(script(world, steps), 1):
            observation, reward, terminated, truncated, info = env.step(action)
            _check_one_info(info, env_id, f"step {count}")
            total += float(reward)
            require(info["steps"] == count, f"After {count} actions, steps is {info['steps']}.")
            require(abs(total - info["score"]) < 1e-9, f"The rewards add up to {total}, the score is {info['score']}.")
            require(not truncated, "An environment without a step limit truncated.")
            require(terminated or not info["success"], "success before the engine ended the episode.")
            if terminated:
                break


def _check_one_info(info: dict[str, Any], env_id: str, where: str) -> None:
    for name, kind in _INFO_TYPES.items():
        require(name in info, f"{env_id}: info at {where} lacks {name!r}.")
        require(
            type(info[name]) is kind, f"{env_id}: info[{name!r}] at {where} is {info[name]!r}, not a {kind.__name__}."
        )
    try:
        json.dumps(info["details"])
    except TypeError as error:
        raise ConformanceError(f"{env_id}: info['details'] at {where} is not JSON: {error}.") from error


def _check_determinism(make: Make, env_id: str, steps: int, kwargs: dict[str, Any]) -> None:
    with opened(make) as (env, world), opened(make) as (other, _):
        env.reset(seed=7)
        actions = script(world, steps)
        first = play(env, actions, seed=7)
        play(env, actions[::-1], seed=8)
        require(
            play(env, actions, seed=7) == first, "The same seed and actions answer differently after another episode."
        )
        require(
            play(other, actions, seed=7) == first,
            "The same seed and actions answer differently in another environment.",
        )
        task_id = first[0][1]["task_id"]
        named = play(other, actions, options={"task_id": task_id})
        require(named == first, f"Task {task_id!r} answers differently when it is named than when a seed picks it.")
        tasks = {env.reset(seed=seed)[1]["task_id"] for seed in range(4)}
        listed = list_tasks(env_id, split=world.split, **_data_kwargs(kwargs))
        require(tasks <= set(listed), "A seed picked a task that list_tasks does not list.")
        require(len(tasks) > 1 or len(listed) == 1, "Different seeds always pick the same task.")


def _data_kwargs(kwargs: dict[str, Any]) -> dict[str, Any]:
    own = {"split", "max_steps", "admissible_actions", "render_mode"}
    return {name: value for name, value in kwargs.items() if name not in own}


def _check_other_process(make: Make, env_id: str, steps: int, kwargs: dict[str, Any]) -> None:
    with opened(make) as (env, world):
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
    require(here == there, "The same seed and actions answer differently in another process.")


def _play_elsewhere(spec: EnvSpec, kwargs: dict[str, Any], actions: list[str]) -> str:
    env: gym.Env[str, str] = gym.make(spec, **kwargs)
    try:
        return _digest(play(env, actions, seed=11))
    finally:
        env.close()


def _digest(answers: list[Any]) -> str:
    return hashlib.sha256(json.dumps(answers, sort_keys=True).encode()).hexdigest()


def _check_limits(make: Make, env_id: str, steps: int, kwargs: dict[str, Any]) -> None:
    with opened(make, max_steps=2) as (env, _):
        env.reset(seed=0)
        _, _, terminated, truncated, _ = env.step("frobnicate the wug")
        require(not truncated, "max_steps=2 truncated after one step.")
        if not terminated:
            truncated = env.step("frobnicate the wug")[3]
            require(truncated, "max_steps=2 did not truncate after two steps.")
            with refused(ResetNeeded, "A step after the end of an episode"):
                env.step("frobnicate the wug")
    for wrong in (0, -1, "many", True, 2.5):
        with refused(ValueError, f"max_steps={wrong!r}"):
            make(max_steps=wrong)


def _check_odd_actions(make: Make, env_id: str, steps: int, kwargs: dict[str, Any]) -> None:
    with opened(make, max_steps=None) as (env, world):
        env.reset(seed=0)
        for action in ODD_ACTIONS:
            answer = env.step(action)
            require(isinstance(answer[0], str), f"The action {action[:20]!r} was answered with {answer[0]!r}.")
            if answer[2]:
                env.reset(seed=0)
        with refused(TypeError, "An action that is not a string"):
            world.step(3)  # type: ignore[arg-type]


def _check_admissible(make: Make, steps: int, all_valid: bool) -> None:
    with opened(make, admissible_actions=True) as (env, world):
        _, info = env.reset(seed=2)
        listed = info.get("admissible_actions")
        require(isinstance(listed, tuple) and bool(listed), "admissible_actions=True puts a tuple into info at reset.")
        require(world.admissible_actions() == listed, "admissible_actions() differs from the list in info.")
        require(all(isinstance(action, str) for action in listed or ()), "An admissible action is not a str.")
        tried = script(world, steps)[:-1]
        refused = []
        for action in tried:
            require(world.accepts(action), f"accepts({action!r}) denies an admissible action.")
            env.reset(seed=2)
            info = env.step(action)[4]
            require("admissible_actions" in info, "admissible_actions=True puts the list into info at every step.")
            if not info["valid_action"]:
                refused.append(action)
        allowed = 0 if all_valid else len(tried) // 2
        require(len(refused) <= allowed, f"Of {len(tried)} admissible actions these are not valid: {refused}.")


def _check_snapshots(make: Make, env_id: str, steps: int, kwargs: dict[str, Any]) -> None:
    with opened(make) as (env, world), opened(make) as (_, other):
        env.reset(seed=5)
        actions = script(world, steps)
        half = len(actions) // 2
        played = play(env, actions[:half], seed=5)
        saved, at = world.snapshot(), played[-1]
        require(isinstance(saved, bytes), "snapshot() gives bytes.")
        if len(at) == 5 and (at[2] or at[3]):
            return
        rest = _go_on(world, actions[half:])
        for target in (world, other):
            observation, info = target.restore(saved)
            require(
                (observation, info) == (at[0], at[-1]), "restore() answers differently from the moment of snapshot()."
            )
            require(target.snapshot() == saved, "A snapshot of a restored state differs from the one restored.")
            require(_go_on(target, actions[half:]) == rest, "An episode goes on differently after restore().")
        for garbage in (b"", b"{}", saved[:-9], saved.replace(world.env_id.encode(), b"Another-v0")):
            with refused(SnapshotError, "restore() of other bytes"):
                world.restore(garbage)


def _go_on(world: TextEnv, actions: Sequence[str]) -> list[Any]:
    answers: list[Any] = []
    for action in actions:
        answers.append(world.step(action))
        if answers[-1][2] or answers[-1][3]:
            break
    return answers


def _check_misuse(make: Make, env_id: str, steps: int, kwargs: dict[str, Any]) -> None:
    world = world_of(make())
    with refused(ResetNeeded, "A step before reset()"):
        world.step("look")
    with refused(ResetNeeded, "snapshot() before reset()"):
        world.snapshot()
    world.close()
    world.close()
    for name, value in (("split", "no-such-split"), ("task_types", ["no-such-type"])):
        with refused(UnknownNameError, f"{name}={value!r}"):
            make(**{name: value}).close()


def check_vector(make: Make, env_id: str, num_envs: int, steps: int, kwargs: dict[str, Any]) -> None:
    """Check that a vector of environments answers exactly as single ones do; see ``check_text_env``."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vector = gym.make_vec(env_id, num_envs, **kwargs)
    singles = [make() for _ in range(num_envs)]
    try:
        require(isinstance(vector, TextVectorEnv), "gym.make_vec() does not give a TextVectorEnv.")
        observations, infos = vector.reset(seed=3)
        expected = [env.reset(seed=3 + i) for i, env in enumerate(singles)]
        require(
            list(observations) == [answer[0] for answer in expected], "Vector and single observations differ at reset."
        )
        scripts = [script(world_of(env), steps) for env in singles]
        for turn in range(min(map(len, scripts))):
            actions = tuple(actions[turn] for actions in scripts)
            observations, rewards, terminated, truncated, infos = vector.step(actions)
            answers = [env.step(action) for env, action in zip(singles, actions, strict=True)]
            require(
                list(observations) == [answer[0] for answer in answers], f"Observations differ at vector step {turn}."
            )
            require(list(rewards) == [answer[1] for answer in answers], f"Rewards differ at vector step {turn}.")
            require(list(terminated) == [answer[2] for answer in answers], f"terminated differs at vector step {turn}.")
            require(
                list(infos["score"]) == [answer[4]["score"] for answer in answers], f"Scores differ at step {turn}."
            )
            if any(terminated) or any(truncated):
                break
    finally:
        vector.close()
        for env in singles:
            env.close()
    with refused(TypeError, "A vector environment with shared memory"):
        gym.make_vec(env_id, 2, vectorization_mode="async", **kwargs).close()


def _check_oracle(make: Make, count: int) -> None:
    with opened(make, max_steps=None) as (env, world):
        for task_id in world.tasks.ids(world.split)[:count]:
            env.reset(options={"task_id": task_id})
            before = world.snapshot()
            plan = world.oracle.plan()
            require(bool(plan), f"The oracle has no plan for {task_id!r}.")
            require(world.snapshot() == before, "Asking the oracle changed the state.")
            require(
                world.oracle.next_action() == (plan or [""])[0], "next_action() is not the first action of the plan."
            )
            success = False
            for action in plan or ():
                thought = world.oracle.thought(action)
                require(bool(thought.strip()) and "\n" not in thought, f"thought({action!r}) is not one line of text.")
                success = env.step(action)[4]["success"]
            require(success, f"The oracle's plan for {task_id!r} does not end in success.")
