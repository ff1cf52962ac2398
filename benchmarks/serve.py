"""Measure what a step costs over a line: python benchmarks/serve.py [--env ID] [--sessions 1 16 64] [--rounds N].

The same actions are played by environments of this process (``local``), over OpenEnv (``openenv``: its asynchronous
client, all sessions in one event loop) and over our own server (``own``: ``STeP-Remote-v0``, a thread for each session).
Each server is a process of its own, on loopback. The three take turns in every round, and a figure is the median over the
rounds.

    steps/s   steps a second of all sessions together
    CPU ms    milliseconds of CPU a step, and how much of that is the client's

Resets and connections are not measured. OpenEnv has to be installed: ``pip install "step-envs[openenv,serve]"``. Linux
only, since the CPU time of a server is read from /proc.
"""

import argparse
import asyncio
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym

import step_envs

WORLDS = ("STeP-ALFWorld-v0", "STeP-WebShop-v0")
WAYS = ("local", "openenv", "own")
TOKEN = "a-token-for-this-benchmark"
OPTIONS: dict[str, Any] = {"max_steps": None}


class Cost(NamedTuple):
    """What some steps cost."""

    steps: int
    seconds: float
    client_cpu: float
    server_cpu: float


def serve(way: str, env_id: str, port: int, sessions: int) -> None:
    """Serve until killed."""
    if way == "own":
        from step_envs.serve import EnvServer

        EnvServer([env_id], port=port, token=TOKEN, max_sessions=sessions).run()
    else:
        import uvicorn

        from step_envs.integrations.openenv import create_app

        uvicorn.run(create_app(env_id, max_sessions=sessions, **OPTIONS), port=port, log_level="error")


@contextmanager
def served(way: str, env_id: str, sessions: int) -> Iterator[tuple[str, int]]:
    """Start a server; yields its address and process id."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, __file__, "--serve", way, "--env", env_id, "--port", str(port)]
    process = subprocess.Popen([*command, "--sessions", str(sessions)], stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit(f"The server {way!r} did not start.") from None
                time.sleep(0.05)
        yield url, process.pid
    finally:
        process.kill()
        process.wait()


def cpu_of(pid: int | None) -> float:
    """Return the CPU seconds of a process so far."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def measured(steps: int, pid: int | None, found: list[Cost]) -> Iterator[None]:
    """Append what the block costs."""
    began, client, server = time.perf_counter(), time.process_time(), cpu_of(pid)
    yield
    found.append(
        Cost(steps, time.perf_counter() - began, time.process_time() - client, cpu_of(pid) - server),
    )


def repertoire(env_id: str, task_id: str) -> list[str]:
    """Return some actions that go on for ever: they look and walk, or search and go back."""
    if env_id == "STeP-WebShop-v0":
        words = ("shoes", "lamp", "red dress", "usb cable")
        return [action for word in words for action in (f"search[{word}]", "click[back to search]")]
    env = gym.make(env_id, **OPTIONS)
    env.reset(options={"task_id": task_id})
    moves = [action for action in env.unwrapped.admissible_actions() if action.startswith("go to")]
    return ["look", "inventory", *moves[:6]]


def play_in_threads(
    make: Callable[[], Any], tasks: list[str], actions: list[list[str]], each: int, **measure: Any
) -> None:
    """Play in environments that wait for a server, a thread for each."""
    with ExitStack() as stack:
        envs = [stack.enter_context(make()) for _ in tasks]

        def play(number: int) -> None:
            for action in itertools.islice(itertools.cycle(actions[number]), each):
                envs[number].step(action)

        for env, task_id in zip(envs, tasks, strict=True):
            env.reset(options={"task_id": task_id})
        with ThreadPoolExecutor(len(envs)) as pool:
            list(pool.map(lambda _: time.sleep(0.01), envs))
            with measured(each * len(envs), **measure):
                list(pool.map(play, range(len(envs))))


def play_here(env_id: str, tasks: list[str], actions: list[list[str]], each: int, **measure: Any) -> None:
    """Play in environments of this process, one after the other in turn."""
    envs = [gym.make(env_id, **OPTIONS) for _ in tasks]
    for env, task_id in zip(envs, tasks, strict=True):
        env.reset(options={"task_id": task_id})
    with measured(each * len(envs), **measure):
        for turn in range(each):
            for env, some in zip(envs, actions, strict=True):
                env.step(some[turn % len(some)])
    for env in envs:
        env.close()


async def play_openenv(url: str, tasks: list[str], actions: list[list[str]], each: int, **measure: Any) -> None:
    """Play over OpenEnv, all sessions in one event loop."""
    from step_envs.integrations.openenv_client import TextEnvClient

    async def play(env: Any, some: list[str]) -> None:
        for action in itertools.islice(itertools.cycle(some), each):
            await env.step(action)

    async with AsyncExitStack() as stack:
        envs = [await stack.enter_async_context(TextEnvClient(base_url=url)) for _ in tasks]
        for env, task_id in zip(envs, tasks, strict=True):
            await env.reset(task_id=task_id)
        with measured(each * len(envs), **measure):
            await asyncio.gather(*(play(env, some) for env, some in zip(envs, actions, strict=True)))


def main() -> None:
    """Print a table, or one line of JSON for each row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", choices=WORLDS, default=WORLDS[0])
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--steps", type=int, default=1920, help="steps of each measurement, of all sessions together")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--serve", choices=WAYS[1:], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.env, arguments.port, arguments.sessions[0])
        return
    most = max(arguments.sessions)
    tasks = list(step_envs.list_tasks(arguments.env)[:most])
    actions = [repertoire(arguments.env, task_id) for task_id in tasks]
    found: dict[tuple[int, str], list[Cost]] = {(n, way): [] for n in arguments.sessions for way in WAYS}
    with (
        served("openenv", arguments.env, most) as (openenv, openenv_pid),
        served("own", arguments.env, most) as (own, pid),
    ):
        remote = {"url": own, "token": TOKEN, "env": arguments.env, **OPTIONS}
        for _ in range(arguments.rounds):
            for n in arguments.sessions:
                some, each = (tasks[:n], actions[:n]), arguments.steps // n
                play_here(arguments.env, *some, each, pid=None, found=found[n, "local"])
                asyncio.run(play_openenv(openenv, *some, each, pid=openenv_pid, found=found[n, "openenv"]))
                play_in_threads(
                    lambda: gym.make("STeP-Remote-v0", **remote), *some, each, pid=pid, found=found[n, "own"]
                )
    if not arguments.json:
        print(f"{arguments.env}\n{'sessions':>8}  {'':8}{'steps/s':>9}{'CPU ms':>9}{'client':>9}")
    for (n, way), costs in found.items():
        rate = statistics.median(one.steps / one.seconds for one in costs)
        cpu = statistics.median(1000 * (one.client_cpu + one.server_cpu) / one.steps for one in costs)
        client = statistics.median(1000 * one.client_cpu / one.steps for one in costs)
        if arguments.json:
            row = {"env": arguments.env, "sessions": n, "way": way, "steps_per_second": rate}
            print(json.dumps(row | {"cpu_ms_per_step": cpu, "client_cpu_ms_per_step": client}))
        else:
            print(f"{n:8}  {way:8}{rate:9.0f}{cpu:9.3f}{client:9.3f}", flush=True)


if __name__ == "__main__":
    main()
