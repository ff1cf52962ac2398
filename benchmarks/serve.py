"""Measure what a step costs over a line: python benchmarks/serve.py [--env ID] [--sessions 1 16 64] [--rounds N].

The same actions are played by environments of this process (``local``), over OpenEnv (``openenv``: its asynchronous
client, all sessions in one event loop) and over our own server (``own``: ``STeP-Remote-v0``, a thread for each session).
Each server is a process of its own, on loopback. They take turns in every round, and a figure is the median over the
rounds.

    steps/s   steps a second of all sessions together
    CPU ms    milliseconds of CPU a step, and how much of that is the client's

With ``--agentgym CLONE`` (a clone of AgentGym, for ALFWorld only) AgentGym's server takes its turn, too. It is started
with the interpreter that ``--agentgym-python`` names, which has what the clone's setup.sh installs, and it reads the
official games in ~/.cache/alfworld. It ends an episode after 50 steps: set ``max_nb_steps_per_episode`` in the clone's
configs/base_config.yaml to a million. Then all of them play the first tasks of AgentGym's train list. AgentGym's client
sends an action with ``requests.post``, and so does this script, from a thread for each session.

Resets and connections are not measured, apart from AgentGym's, which connects for every action. OpenEnv has to be
installed: ``pip install "step-envs[openenv,serve]"``. Linux only, since the CPU time of a server is read from /proc.
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
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym

import step_envs

WORLDS = ("STeP-ALFWorld-v0", "STeP-WebShop-v0")
WAYS = ("local", "openenv", "own", "agentgym")
TOKEN = "a-token-for-this-benchmark"


class Cost(NamedTuple):
    """What some steps cost."""

    steps: int
    seconds: float
    client_cpu: float
    server_cpu: float


class Sessions(NamedTuple):
    """What is played.

    Attributes:
        env_id: The world.
        data: What its environments are made with to find their tasks.
        tasks: The task of each session.
        actions: What each session does, over and over.
    """

    env_id: str
    data: dict[str, Any]
    tasks: list[str]
    actions: list[list[str]]

    def first(self, number: int) -> "Sessions":
        """Return the first of them."""
        return self._replace(tasks=self.tasks[:number], actions=self.actions[:number])


def serve(way: str, env_id: str, data: dict[str, Any], port: int, sessions: int) -> None:
    """Serve until killed."""
    if way == "own":
        from step_envs.serve import EnvServer

        EnvServer([env_id], port=port, token=TOKEN, max_sessions=sessions, options=data).run()
    else:
        import uvicorn

        from step_envs.integrations.openenv import create_app

        uvicorn.run(create_app(env_id, max_sessions=sessions, max_steps=None, **data), port=port, log_level="error")


@contextmanager
def served(way: str, played: Sessions, *, agentgym: tuple[Path, str] | None = None) -> Iterator[tuple[str, int]]:
    """Start a server; yields its address and process id."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    if agentgym:
        clone, python = agentgym
        folder: Path | None = clone / "agentenv-alfworld"
        command = [python, "-m", "uvicorn", "agentenv_alfworld:app", "--port", str(port), "--log-level", "error"]
    else:
        folder = None
        command = [sys.executable, __file__, "--serve", way, "--env", played.env_id, "--port", str(port)]
        command += ["--data", json.dumps(played.data), "--sessions", str(len(played.tasks))]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urllib.request.urlopen(url if agentgym else f"{url}/health", timeout=5).close()
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


def repertoire(env_id: str, data: dict[str, Any], task_id: str) -> list[str]:
    """Return some actions that go on for ever: they look and walk, or search and go back."""
    if env_id == "STeP-WebShop-v0":
        words = ("shoes", "lamp", "red dress", "usb cable")
        return [action for word in words for action in (f"search[{word}]", "click[back to search]")]
    env = gym.make(env_id, **data)
    env.reset(options={"task_id": task_id})
    moves = [action for action in env.unwrapped.admissible_actions() if action.startswith("go to")]
    return ["look", "inventory", *moves[:6]]


def play_here(played: Sessions, each: int, **measure: Any) -> None:
    """Play in environments of this process, one after the other in turn."""
    envs = [gym.make(played.env_id, max_steps=None, **played.data) for _ in played.tasks]
    for env, task_id in zip(envs, played.tasks, strict=True):
        env.reset(options={"task_id": task_id})
    with measured(each * len(envs), pid=None, **measure):
        for turn in range(each):
            for env, some in zip(envs, played.actions, strict=True):
                env.step(some[turn % len(some)])
    for env in envs:
        env.close()


async def play_openenv(url: str, played: Sessions, each: int, **measure: Any) -> None:
    """Play over OpenEnv, all sessions in one event loop."""
    from step_envs.integrations.openenv_client import TextEnvClient

    async def play(env: Any, some: list[str]) -> None:
        for action in itertools.islice(itertools.cycle(some), each):
            await env.step(action)

    async with AsyncExitStack() as stack:
        envs = [await stack.enter_async_context(TextEnvClient(base_url=url)) for _ in played.tasks]
        for env, task_id in zip(envs, played.tasks, strict=True):
            await env.reset(task_id=task_id)
        with measured(each * len(envs), **measure):
            await asyncio.gather(*(play(env, some) for env, some in zip(envs, played.actions, strict=True)))


def play_own(url: str, played: Sessions, each: int, **measure: Any) -> None:
    """Play over our own server."""
    with ExitStack() as stack:
        remote = partial(gym.make, "STeP-Remote-v0", url=url, token=TOKEN, env=played.env_id, max_steps=None)
        envs = [stack.enter_context(remote()) for _ in played.tasks]
        for env, task_id in zip(envs, played.tasks, strict=True):
            env.reset(options={"task_id": task_id})
        play_in_threads([env.step for env in envs], played.actions, each, **measure)


def play_agentgym(url: str, played: Sessions, each: int, **measure: Any) -> None:
    """Play over AgentGym's server, as its client does."""
    import requests

    def post(path: str, **body: Any) -> dict[str, Any]:
        answer: dict[str, Any] = requests.post(f"{url}/{path}", json=body, timeout=300).json()
        if "error" in answer:
            raise SystemExit(f"AgentGym's server: {answer['error']}")
        return answer

    ids = [post("create")["id"] for _ in played.tasks]
    for number, (session, task_id) in enumerate(zip(ids, played.tasks, strict=True)):
        began = post("reset", id=session, game=number, world_type="Text")
        if not task_id.endswith(began["task_type"]):
            raise SystemExit(f"AgentGym's task {number} is {began['task_type']}, ours is {task_id}.")
    steps = [partial(post, "step", id=session) for session in ids]
    play_in_threads([lambda action, step=step: step(action=action) for step in steps], played.actions, each, **measure)


def play_in_threads(steps: list[Callable[[str], object]], actions: list[list[str]], each: int, **measure: Any) -> None:
    """Take the steps of sessions that wait for a server, a thread for each."""

    def play(step: Callable[[str], object], some: list[str]) -> None:
        for action in itertools.islice(itertools.cycle(some), each):
            step(action)

    with ThreadPoolExecutor(len(steps)) as pool:
        list(pool.map(lambda _: time.sleep(0.01), steps))
        with measured(each * len(steps), **measure):
            list(pool.map(play, steps, actions))


def sessions_to_play(env_id: str, number: int, *, agentgym: bool) -> Sessions:
    """Choose tasks and actions."""
    data = {"split": "agentgym_train", "data_path": str(Path("~/.cache/alfworld").expanduser())} if agentgym else {}
    tasks = list(step_envs.list_tasks(env_id, **data)[:number])
    return Sessions(env_id, data, tasks, [repertoire(env_id, data, task_id) for task_id in tasks])


def main() -> None:
    """Print a table, or one line of JSON for each row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", choices=WORLDS, default=WORLDS[0])
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--steps", type=int, default=1920, help="steps of each measurement, of all sessions together")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument(
        "--agentgym", type=Path, metavar="CLONE", help="also play over the server in this clone of AgentGym"
    )
    parser.add_argument("--agentgym-python", default=sys.executable, metavar="PYTHON", help="its interpreter")
    parser.add_argument("--serve", choices=WAYS[1:3], help=argparse.SUPPRESS)
    parser.add_argument("--data", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.env, arguments.data, arguments.port, arguments.sessions[0])
        return
    if arguments.agentgym and arguments.env != WORLDS[0]:
        parser.error("--agentgym is for ALFWorld only")
    played = sessions_to_play(arguments.env, max(arguments.sessions), agentgym=bool(arguments.agentgym))
    ways = WAYS if arguments.agentgym else WAYS[:3]
    found: dict[tuple[int, str], list[Cost]] = {(n, way): [] for n in arguments.sessions for way in ways}
    with ExitStack() as stack:
        openenv, openenv_pid = stack.enter_context(served("openenv", played))
        own, own_pid = stack.enter_context(served("own", played))
        if arguments.agentgym:
            clone = (arguments.agentgym.absolute(), arguments.agentgym_python)
            agentgym, agentgym_pid = stack.enter_context(served("agentgym", played, agentgym=clone))
        for _ in range(arguments.rounds):
            for n in arguments.sessions:
                some, each = played.first(n), arguments.steps // n
                play_here(some, each, found=found[n, "local"])
                asyncio.run(play_openenv(openenv, some, each, pid=openenv_pid, found=found[n, "openenv"]))
                play_own(own, some, each, pid=own_pid, found=found[n, "own"])
                if arguments.agentgym:
                    play_agentgym(agentgym, some, each, pid=agentgym_pid, found=found[n, "agentgym"])
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
