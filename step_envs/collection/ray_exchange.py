"""Carry requests to models from the workers of a Ray cluster to the process that was started, which asks the models.

If every worker asked for itself, each would need the key, and no budget, cache or rate limit could hold for all. So the
requests go through a mailbox to the one process that has them. A worker that dies loses no answer: its request is still
answered, paid once and kept in the cache, where the episode finds it when it is played again.
"""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from typing_extensions import override

from step_envs.collection.portable_errors import portable
from step_envs.endpoint import Answer, Endpoint, Gateway

_MOST_AT_ONCE = 100_000
"""Calls that the mailbox can have open at once: far more than there can be requests. The calls of dead workers stay
open until they are answered. With a smaller number they could block the calls that deliver those answers."""


class Mailbox:
    """Carries requests from workers to the driver, and answers back; an asynchronous actor."""

    def __init__(self) -> None:
        self._requests: asyncio.Queue[tuple[int, Any]] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._last = 0

    async def ask(self, request: Any) -> Any:
        """Add a request and wait for its answer."""
        self._last += 1
        number, answer = self._last, asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self._requests.put_nowait((number, request))
        return await answer

    async def take(self, seconds: float) -> list[tuple[int, Any]]:
        """Take all requests; wait at most so many seconds for the first."""
        try:
            taken = [await asyncio.wait_for(self._requests.get(), seconds)]
        except TimeoutError:
            return []
        while not self._requests.empty():
            taken.append(self._requests.get_nowait())
        return taken

    async def answer(self, number: int, answer: Any) -> None:
        """Deliver the answer to a request."""
        self._answers.pop(number).set_result(answer)


class RemoteGateway(Gateway):
    """A worker's gateway: it sends every request to the driver, which asks the model.

    Args:
        mailbox: The actor that carries the requests.
    """

    def __init__(self, mailbox: Any) -> None:
        super().__init__()
        self._mailbox = mailbox

    @override
    def ask(self, endpoint: Endpoint, request: dict[str, Any], *, sample: int = 0) -> Answer:
        import ray

        answer: Answer | Exception = ray.get(self._mailbox.ask.remote((endpoint, request, sample)))
        if isinstance(answer, Exception):
            raise answer
        return answer


class ModelRequestServer:
    """Asks models for the workers, in the driver.

    Args:
        gateway: The gateway of the run.
        concurrency: The most requests at once.
    """

    def __init__(self, gateway: Gateway, concurrency: int) -> None:
        import ray

        self._gateway = gateway
        self.mailbox: Any = (
            ray.remote(Mailbox).options(num_cpus=0, max_concurrency=_MOST_AT_ONCE).remote()  # waiting, not working
        )
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="model-requests")
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="model-requests", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; requests that were already sent are waited for, because they are paid."""
        import ray

        self._closed.set()
        self._thread.join()
        self._pool.shutdown()
        with suppress(Exception):  # whatever Ray raises for an actor that is dead already
            ray.kill(self.mailbox)

    def _serve(self) -> None:
        import ray

        while not self._closed.is_set():
            try:
                taken = ray.get(self.mailbox.take.remote(0.5))
            except ray.exceptions.RayError:
                # Workers that wait for an answer get the same error, and their episodes are recorded as failed.
                return
            for number, request in taken:
                self._pool.submit(self._answer, number, *request)

    def _answer(self, number: int, endpoint: Endpoint, request: dict[str, Any], sample: int) -> None:
        answer: Answer | Exception
        try:
            answer = self._gateway.ask(endpoint, request, sample=sample)
        except Exception as error:
            answer = portable(error)
        self.mailbox.answer.remote(number, answer)
