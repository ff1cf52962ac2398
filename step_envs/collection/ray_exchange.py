"""How the workers of a Ray cluster ask models: through a mailbox, in the one process that was started.

Key, cache, bill, budget and rate limit are there and hold as they do on one machine. A worker that dies loses no answer:
what it asked is answered, paid once and kept in the cache, where the episode that is done again finds it.
"""

import asyncio
import pickle
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from step_envs.endpoint import Answer, Endpoint, Gateway

_MOST_AT_ONCE = 100_000
"""Calls that the mailbox has open at once: far more than there can be questions. Those of workers that died stay open until
they are answered, and would otherwise take the room of the very answers that they wait for."""


class Mailbox:
    """Carries questions from workers to whoever takes them, and answers back; an asynchronous actor."""

    def __init__(self) -> None:
        self._asked: asyncio.Queue[tuple[int, Any]] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._last = 0

    async def ask(self, question: Any) -> Any:
        """Put a question in and wait for its answer."""
        self._last += 1
        number, answer = self._last, asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self._asked.put_nowait((number, question))
        return await answer

    async def take(self, seconds: float) -> list[tuple[int, Any]]:
        """Take all questions, waiting so long for the first."""
        try:
            taken = [await asyncio.wait_for(self._asked.get(), seconds)]
        except TimeoutError:
            return []
        while not self._asked.empty():
            taken.append(self._asked.get_nowait())
        return taken

    async def answer(self, number: int, answer: Any) -> None:
        """Answer a question."""
        self._answers.pop(number).set_result(answer)


class DistantGateway(Gateway):
    """A worker's way to models: it asks the process that was started, which does the asking.

    Args:
        mailbox: The actor that carries the questions.
    """

    def __init__(self, mailbox: Any) -> None:
        super().__init__()
        self._mailbox = mailbox

    def ask(self, endpoint: Endpoint, request: dict[str, Any], *, sample: int = 0) -> Answer:
        """See ``Gateway``."""
        import ray

        answer: Answer | Exception = ray.get(self._mailbox.ask.remote((endpoint, request, sample)))
        if isinstance(answer, Exception):
            raise answer
        return answer


class Exchange:
    """Asks models for the workers, in the process that was started.

    Args:
        gateway: Through which to ask.
        concurrency: Most questions at once.
    """

    def __init__(self, gateway: Gateway, concurrency: int) -> None:
        import ray

        self._gateway = gateway
        self.mailbox: Any = (
            ray.remote(Mailbox).options(num_cpus=0, max_concurrency=_MOST_AT_ONCE).remote()  # waiting, not working
        )
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="exchange")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._carry, name="exchange", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop to ask; what is being asked is waited for, for it is paid."""
        import ray

        self._over.set()
        self._thread.join()
        self._pool.shutdown()
        with suppress(Exception):  # whatever Ray says of an actor that is dead already
            ray.kill(self.mailbox)

    def _carry(self) -> None:
        import ray

        while not self._over.is_set():
            try:
                taken = ray.get(self.mailbox.take.remote(0.5))
            except ray.exceptions.RayError:
                # Workers that wait for an answer fail with it, and their episodes are written down as failed.
                return
            for number, question in taken:
                self._pool.submit(self._ask, number, question)

    def _ask(self, number: int, question: tuple[Endpoint, dict[str, Any], int]) -> None:
        endpoint, request, sample = question
        answer: Answer | Exception
        try:
            answer = self._gateway.ask(endpoint, request, sample=sample)
        except Exception as error:
            answer = portable(error)
        self.mailbox.answer.remote(number, answer)


def portable(error: Exception) -> Exception:
    """Make an error fit to travel, with its traceback as a note."""
    note = "".join(traceback.format_exception(error))
    try:
        travelled: Exception = pickle.loads(pickle.dumps(error))
    except Exception:  # an error that cannot be pickled, or not be put together again
        travelled = RuntimeError(f"{type(error).__name__}: {error}")
    travelled.add_note(note)
    return travelled
