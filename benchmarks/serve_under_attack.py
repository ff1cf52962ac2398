"""Measure what clients of a server notice of an attack: python benchmarks/serve_under_attack.py [--rounds N].

Sixteen clients play ALFWorld and WebShop on ``step-envs serve``, each in a process of its own, with a pause after each step
as a small model would need. Quiet and attack take turns. In an attack, strangers hold 1,000 connections on which they send
nothing and 330 with half a header, and open each one anew when it is closed. Then one session makes a slow call and gets 90
more requests while the others play. At the end, with all of that going on at once, the server gets SIGTERM.

The script prints the latency of a step as the clients see it (median and 99th percentile, in ms), how many errors they saw,
and how many seconds the server took to end. Its exit code is 1 if the 99th percentile under attack is more than twice that
of the quiet server (each the median over the rounds), if a client saw an error, or if the end took ten seconds.
"""

import argparse
import contextlib
import json
import multiprocessing as mp
import os
import random
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gymnasium as gym

import step_envs  # noqa: F401  (registers the environments)

CLIENTS = 16
SILENT, HALF = 1000, 330
WORLDS = ("STeP-ALFWorld-v0", "STeP-WebShop-v0")
SLOW_WORLD = """
import time
import gymnasium as gym
from step_envs import WorldState
from step_envs.webshop.env import WebShopEnv


class SlowEnv(WebShopEnv):
    env_id = "Slow-v0"

    def _act(self, action: str) -> WorldState:
        if action == "wait":
            time.sleep(600)
        return super()._act(action)


gym.register("Slow-v0", entry_point=f"{__name__}:SlowEnv")
"""


def play(number: int, url: str, token: str, think: float, playing: Any, over: Any, results: Any) -> None:
    """Play until it is over; put (time, seconds) of each step and the errors into the results."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    choose = random.Random(number)
    steps: list[tuple[float, float]] = []
    errors: list[str] = []
    world = WORLDS[number % len(WORLDS)]
    env = gym.make("STeP-Remote-v0", url=url, token=token, env=world, admissible_actions=True, retries=0)
    _, info = env.reset(seed=number)
    done = False
    playing.release()
    while not over.is_set():
        time.sleep(choose.uniform(0, 2 * think))
        began = time.monotonic()
        try:
            if done:
                _, info = env.reset()
                done = False
            else:
                _, _, terminated, truncated, info = env.step(choose.choice(info["admissible_actions"] or ("look",)))
                done = terminated or truncated
                steps.append((began, time.monotonic() - began))
        except Exception as error:  # whatever a client sees is what is counted
            errors.append(f"{world}: {error}")
            done = True
    results.put((steps, errors))
    results.close()
    results.join_thread()
    os._exit(0)  # the session is the server's to end


def attack(url: str, running: Any, over: Any, opened: Any) -> None:
    """Hold connections open while ``running`` is set, and open each one anew when it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(10)  # an attacker has a processor of its own; this one should not take that of the server
    address = urlsplit(url)
    selector = selectors.DefaultSelector()
    beginnings: dict[socket.socket, bytes] = {}

    def hold(beginning: bytes) -> None:
        line = socket.socket()
        line.setblocking(False)
        line.connect_ex((address.hostname, address.port))
        beginnings[line] = beginning
        selector.register(line, selectors.EVENT_READ | (selectors.EVENT_WRITE if beginning else 0))
        opened.value += 1

    def release(line: socket.socket) -> bytes:
        selector.unregister(line)
        line.close()
        return beginnings.pop(line)

    while not over.is_set():
        if not running.is_set():
            for line in list(beginnings):
                release(line)
            running.wait(0.1)
            continue
        if not beginnings:
            for number in range(SILENT + HALF):
                hold(b"" if number < SILENT else b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthoriz")
        for key, events in selector.select(0.1):
            line: Any = key.fileobj
            if events & selectors.EVENT_WRITE:
                with contextlib.suppress(OSError):
                    line.send(beginnings[line])
                selector.modify(line, selectors.EVENT_READ)
            if events & selectors.EVENT_READ:
                with contextlib.suppress(BlockingIOError):
                    try:
                        ended = not line.recv(4096)
                    except ConnectionError:
                        ended = True
                    if ended:
                        hold(release(line))


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Start the server, with a world that can be slow beside the others."""
    (folder / "slow_world.py").write_text(SLOW_WORLD)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])}
    worlds = [part for world in (*WORLDS, "slow_world:Slow-v0") for part in ("--env", world)]
    command = [sys.executable, "-m", "step_envs.cli", "serve", *worlds, "--port", "0", "--json"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def slow_session(url: str, token: str) -> list[socket.socket]:
    """Open a session, make a call in it that takes ten minutes, and send 90 requests more."""
    address = urlsplit(url)
    bearer = f"Host: x\r\nAuthorization: Bearer {token}\r\n"

    def send(path: str, body: Any) -> socket.socket:
        content = json.dumps(body)
        line = socket.create_connection((address.hostname, address.port), timeout=30)
        line.sendall(f"POST {path} HTTP/1.1\r\n{bearer}Content-Length: {len(content)}\r\n\r\n{content}".encode())
        return line

    env = gym.make("STeP-Remote-v0", url=url, token=token, env="Slow-v0")
    env.reset(seed=0)
    path = f"/v1/sessions/{env.unwrapped._session}"  # type: ignore[attr-defined]
    return [
        send(f"{path}/step", {"action": "wait"}),
        *(send(f"{path}/step", {"action": "click[back to search]"}) for _ in range(90)),
    ]


def percentiles(seconds: list[float]) -> tuple[float, float]:
    """Return median and 99th percentile in milliseconds."""
    return 1000 * statistics.median(seconds), 1000 * statistics.quantiles(seconds, n=100)[98]


def _middle_round(figures: dict[str, Any]) -> float:
    """Return the median over the rounds, because other programs of the machine spoil some of them."""
    return statistics.median(figures["p99_ms_by_round"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6, help="turns of quiet and attack")
    parser.add_argument("--seconds", type=float, default=12.0, help="seconds of each")
    parser.add_argument("--think", type=float, default=0.1, help="seconds between the steps of a client, on average")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    context = mp.get_context("spawn")
    over, running, playing = context.Event(), context.Event(), context.Semaphore(0)
    results, opened = context.Queue(), context.Value("l", 0, lock=False)
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as (process, told):
        url, token = told["url"], told["token"]
        players = [
            context.Process(
                target=play, args=(number, url, token, arguments.think, playing, over, results), daemon=True
            )
            for number in range(CLIENTS)
        ]
        attacker = context.Process(target=attack, args=(url, running, over, opened), daemon=True)
        for one in (*players, attacker):
            one.start()
        for _ in players:
            assert playing.acquire(timeout=120), "a client did not start"
        time.sleep(2)
        phases: list[tuple[str, float, float]] = []
        for _ in range(arguments.rounds):
            for name in ("quiet", "attack"):
                (running.set if name == "attack" else running.clear)()
                # The end of an attack belongs to neither; its beginning belongs to it.
                time.sleep(1.5 if name == "quiet" else 0)
                began = time.monotonic()
                time.sleep(arguments.seconds)
                phases.append((name, began, time.monotonic()))
        running.clear()
        lines = slow_session(url, token)
        began = time.monotonic()
        time.sleep(arguments.seconds)
        phases.append(("one slow session", began, time.monotonic()))
        running.set()
        time.sleep(1)
        over.set()
        played = [results.get(timeout=60) for _ in players]
        began = time.monotonic()
        process.terminate()
        code = process.wait(60)
        end = time.monotonic() - began
        for line in lines:
            line.close()
        attacker.terminate()
    errors = [error for _, errors in played for error in errors]
    steps = [step for steps, _ in played for step in steps]
    figures: dict[str, Any] = {}
    for name in dict.fromkeys(name for name, _, _ in phases):
        spans = [(began, ended) for kind, began, ended in phases if kind == name]
        in_span = [[s for at, s in steps if began <= at < ended] for began, ended in spans]
        median, high = percentiles([second for one in in_span for second in one])
        figures[name] = {
            "steps": sum(map(len, in_span)),
            "median_ms": round(median, 2),
            "p99_ms": round(high, 2),
            "p99_ms_by_round": [round(percentiles(one)[1], 2) for one in in_span],
        }
    ratio = _middle_round(figures["attack"]) / _middle_round(figures["quiet"])
    figures |= {
        "ratio_p99": round(ratio, 2),
        "ratio_p99_of_all_steps": round(figures["attack"]["p99_ms"] / figures["quiet"]["p99_ms"], 2),
        "ratio_median": round(figures["attack"]["median_ms"] / figures["quiet"]["median_ms"], 2),
        "connections_of_strangers": opened.value,
        "errors": len(errors),
        "seconds_to_end": round(end, 2),
        "exit_code": code,
    }
    print(json.dumps(figures, indent=1))
    print(*errors[:5], sep="\n", file=sys.stderr)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    return int(ratio > 2 or bool(errors) or end >= 10 or code != 0)


if __name__ == "__main__":
    sys.exit(main())
