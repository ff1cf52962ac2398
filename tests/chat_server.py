"""A real HTTP server that speaks chat completions and does wrong what a script says: for tests only.

It can be run as a program too (``python chat_server.py PORT``), for tests that kill it.
"""

import asyncio
import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Answer:
    """One HTTP answer: by default a good chat completion that says ``text``."""

    text: str | None = ""
    finish: str = "stop"
    refusal: str | None = None
    choices: bool = True
    usage: bool = True
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    delay: float = 0.0
    drop: bool = False
    trickle: float = 0.0
    trickle_head: float = 0.0
    together: int = 0
    """Not before this many requests have been in flight at once."""

    def body(self, request: dict[str, Any]) -> bytes:
        if self.raw is not None:
            return self.raw
        if self.status != 200:
            return json.dumps({"error": {"message": self.text, "type": "scripted"}}).encode()
        message = {"role": "assistant", "content": self.text, "refusal": self.refusal}
        completion: dict[str, Any] = {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": request.get("model"),
            "choices": [{"index": 0, "finish_reason": self.finish, "message": message}] if self.choices else [],
        }
        if self.usage:
            words = sum(len(message["content"].split()) for message in request["messages"])
            written = len((self.text or "").split())
            completion["usage"] = {
                "prompt_tokens": words,
                "completion_tokens": written,
                "total_tokens": words + written,
            }
        return json.dumps(completion).encode()


Script = Callable[[dict[str, Any]], Answer]


class ChatServer:
    """Answers as a script says; keeps every request."""

    def __init__(self, script: Script | list[Answer], *, port: int = 0) -> None:
        if isinstance(script, list):
            answers = list(script)
            # The last answer is given again and again.
            script = lambda request: answers.pop(0) if len(answers) > 1 else answers[0]  # noqa: E731
        self._script = script
        self._port = port
        self.requests: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self.connections = 0
        self._started = threading.Event()
        self._in_flight = 0
        self._most_in_flight = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self.serve())
        self._loop.close()

    async def serve(self) -> None:
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrival = asyncio.Condition()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self._port, backlog=1024)
        self._port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections += 1
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = (line.lower() for line in head.split("\r\n"))
        length = next((int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")), 0)
        request = json.loads(await reader.readexactly(length) or b"{}")
        self.requests.append(request)
        self.headers.append(head)
        answer = self._script(request)
        self._in_flight += 1
        try:
            await self._answer(answer, request, writer)
        finally:
            self._in_flight -= 1
        return not answer.drop

    async def _answer(self, answer: Answer, request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        async with self._arrival:
            self._most_in_flight = max(self._most_in_flight, self._in_flight)
            self._arrival.notify_all()
            await self._arrival.wait_for(lambda: self._most_in_flight >= answer.together)
        if answer.delay:
            await asyncio.sleep(answer.delay)
        body = answer.body(request)
        headers = {"content-type": "application/json", "content-length": str(len(body)), **answer.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        top = f"HTTP/1.1 {answer.status} X\r\n{lines}\r\n".encode()
        if answer.trickle_head:
            await self._trickle(writer, top, answer.trickle_head)
        else:
            writer.write(top)
        if answer.drop:
            writer.write(body[: len(body) // 2])
            await writer.drain()
            return
        if answer.trickle:
            await self._trickle(writer, body, answer.trickle)
        else:
            writer.write(body)
        await writer.drain()

    async def _trickle(self, writer: asyncio.StreamWriter, data: bytes, pause: float) -> None:
        for i in range(len(data)):
            writer.write(data[i : i + 1])
            await writer.drain()
            await asyncio.sleep(pause)


def verdict(status: str = "ok", **fields: Any) -> str:
    """Write a verdict as a model would on the wire."""
    return json.dumps(
        {"status": status, "error": None, "reason": None, "reflection": None, "corrected_action": None} | fields
    )


if __name__ == "__main__":
    delay = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    asyncio.run(ChatServer(lambda request: Answer(verdict(), delay=delay), port=int(sys.argv[1])).serve())
