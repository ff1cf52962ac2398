"""Measure collection with an endpoint: benchmarks/collect.py [--env ID ...] [--engine NAME ...] [--in-flight N ...].

An endpoint that answers after 300 ms plays both agent and teacher (two calls per step). The episodes really run. Each
concurrent episode always waits for one request, so the ideal number of calls per second is the number of concurrent
episodes divided by the latency. The script also measures a loop that plays one episode after the other. The endpoint
runs in a process of its own and is not measured. Processor time is the time of this process and of all that it
started: worlds' engines, worker processes, a Ray cluster. Memory is the growth of them.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

import own_world  # noqa: F401  (registers Coin-v0)

from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.collection.rollouts import rollout
from step_envs.endpoint import EndpointConfig

LATENCY = 0.3
CLUSTER = {"worker_episodes": 64, "worker_cpus": 0.25, "worker_memory": 512}  # for --engine ray, on this machine
WORLDS: dict[str, dict[str, Any]] = {
    "Coin-v0": {},
    "STeP-ALFWorld-v0": {"max_steps": 15},
    "STeP-WebShop-v0": {},
    "STeP-SciWorld-v0": {"max_steps": 15},
}
REPLIES = {
    "teacher": '{"status": "ok", "error": null, "reason": null, "reflection": null, "corrected_action": null}',
    "Coin-v0": "Thought: I see what is here.\nAction: look",
    "STeP-ALFWorld-v0": "Thought: I see what is here.\nAction: look",
    "STeP-WebShop-v0": "Thought: I see what there is.\nAction: search[red shoes]",
    "STeP-SciWorld-v0": "Thought: I see what is here.\nAction: look around",
}


async def serve() -> None:
    """Answer a teacher (it sends a system prompt) with "ok" and an agent with the action look; count the calls."""
    answers = {}
    for name, text in REPLIES.items():
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        body = json.dumps({"choices": [choice], "usage": usage}).encode()
        answers[name] = b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
            len(body),
            body,
        )
    waiting = answered = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal waiting, answered
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                if head.startswith(b"get"):
                    text = b"%d %d" % (waiting, answered)
                    writer.write(b"HTTP/1.1 200 X\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))
                    continue
                length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length"))
                body = await reader.readexactly(int(length.partition(b":")[2]))
                name = "teacher" if b'"role":"system"' in body else json.loads(body)["model"]
                waiting += 1
                await asyncio.sleep(LATENCY)
                waiting -= 1
                answered += 1
                writer.write(answers[name])
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@dataclass
class Row:
    """Holds one measurement, taken while all episodes were running."""

    env: str
    how: str
    in_flight: int
    calls: int
    calls_per_second: float
    share_of_ideal: float
    cpu_ms_per_step: float
    mb_per_episode: float


class Meter:
    """Measures a run from outside: wait until all episodes run, measure for some seconds, stop the run."""

    def __init__(
        self, endpoint: "subprocess.Popen[str]", url: str, in_flight: int, seconds: float, warm_up: float
    ) -> None:
        self._endpoint, self._url = endpoint.pid, url
        self._in_flight, self._seconds, self._warm_up = in_flight, seconds, warm_up
        self.over = threading.Event()
        self.calls, self.time, self.cpu, self.memory = 0, 1.0, 0.0, 0.0
        self._before = self._resources()[1]
        threading.Thread(target=self._measure, daemon=True).start()

    def _measure(self) -> None:
        patience = time.monotonic() + 30  # where the machine is the limit, the endpoint never has that many
        while self._count()[0] < 0.8 * self._in_flight and time.monotonic() < patience:
            time.sleep(0.1)
        time.sleep(self._warm_up)
        (cpu, _), first, started = self._resources(), self._count()[1], time.monotonic()
        time.sleep(self._seconds)
        (cpu_after, memory), last = self._resources(), self._count()[1]
        self.time, self.calls, self.cpu = time.monotonic() - started, last - first, cpu_after - cpu
        self.memory = memory - self._before
        self.over.set()
        for _ in range(2):
            # Once to stop, twice to drop what is in flight; the loop has no way to be stopped but this.
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)

    def _count(self) -> tuple[int, int]:
        with urllib.request.urlopen(self._url + "/count", timeout=30) as answer:
            waiting, answered = map(int, answer.read().split())
        return waiting, answered

    def _resources(self) -> tuple[float, float]:
        own = psutil.Process()
        processes = [own, *(child for child in own.children(recursive=True) if child.pid != self._endpoint)]
        seconds = memory = 0.0
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                seconds += times.user + times.system
                memory += process.memory_info().rss
        return seconds, memory


def measure(
    endpoint: "subprocess.Popen[str]", url: str, env: str, in_flight: int, options: argparse.Namespace, engine: str
) -> Row:
    """Measure one engine, or ``loop``: one episode after the other."""
    config = CollectConfig(
        env=env,
        env_options=WORLDS[env],
        episodes=20_000,
        agent=f"chat:model={env},base_url={url},temperature=1",
        teacher=f"openai:model={env},base_url={url}",
    )
    # Coin's few tasks would be answered from the cache; the other worlds run with it, as a user's do.
    access = EndpointConfig(keep_answers=env != "Coin-v0")
    with tempfile.TemporaryDirectory() as folder:
        meter = Meter(endpoint, url, in_flight, options.seconds, options.warm_up)
        with suppress(KeyboardInterrupt):
            if engine == "loop":
                one_after_the_other(config, Path(folder), access, meter)
            else:
                collect(config, Path(folder), concurrency=in_flight, access=access, engine=engine, **CLUSTER)
            raise RuntimeError("The run ended before it was measured.")
        # The second Ctrl-C may come after the run has ended.
        with suppress(KeyboardInterrupt):
            meter.over.wait(60)
            time.sleep(0.5)
    rate = meter.calls / meter.time
    return Row(
        env=env,
        how=engine,
        in_flight=in_flight,
        calls=meter.calls,
        calls_per_second=round(rate, 1),
        share_of_ideal=round(rate * LATENCY / in_flight, 3),
        cpu_ms_per_step=round(2000 * meter.cpu / max(meter.calls, 1), 2),
        mb_per_episode=round(meter.memory / in_flight / 1e6, 2),
    )


def one_after_the_other(config: CollectConfig, out: Path, access: EndpointConfig, meter: Meter) -> None:
    gateway = access.open(out)
    env, agent = config.make_env(gateway), config.make_agent(gateway)
    try:
        for plan in config.episodes_to_play():
            rollout(env, agent, seed=plan.seed, task_id=plan.task_id)
    finally:
        env.close()
        # The second Ctrl-C is for collections.
        with suppress(KeyboardInterrupt):
            time.sleep(1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--env", nargs="+", choices=WORLDS, default=list(WORLDS))
    parser.add_argument("--in-flight", nargs="+", type=int, default=[1, 16, 64, 256])
    parser.add_argument("--engine", nargs="+", choices=("threads", "processes", "ray"), default=["threads"])
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each is measured")
    parser.add_argument("--warm-up", type=float, default=3.0, help="seconds before; Java compiles for half a minute")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return
    # A process of its own session, for Ctrl-C is for this one.
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as endpoint:
        try:
            assert endpoint.stdout is not None
            url = f"http://127.0.0.1:{endpoint.stdout.readline().strip()}"
            if not options.json:
                heads = ("calls/s", "of ideal", "CPU ms/step", "MB/episode")
                print(f"{'world':18} {'how':9} {'flying':>6}", *(f"{head:>11}" for head in heads))
            for env in options.env:
                runs = [(1, "loop")] * ("threads" in options.engine)
                for in_flight, engine in [*runs, *product(options.in_flight, options.engine)]:
                    row = measure(endpoint, url, env, in_flight, options, engine)
                    if options.json:
                        print(json.dumps(asdict(row)), flush=True)
                    else:
                        rates = f"{row.calls_per_second:11.1f} {row.share_of_ideal:11.1%}"
                        costs = f"{row.cpu_ms_per_step:11.2f} {row.mb_per_episode:11.2f}"
                        print(f"{row.env:18} {row.how:9} {row.in_flight:6} {rates} {costs}", flush=True)
        finally:
            endpoint.kill()


if __name__ == "__main__":
    main()
