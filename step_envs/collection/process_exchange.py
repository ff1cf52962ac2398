"""Carry requests to models from worker processes on this machine to the process that was started, which asks the models.

If every worker asked for itself, no budget, cache or rate limit could hold for all. So each thread of a worker has a
connection to the one process that has them, where a thread answers it. A worker that dies loses no answer: its request is
still answered, paid once and kept in the cache, where the episode finds it when it is played again.
"""

import os
import secrets
import tempfile
import threading
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any, NamedTuple

from typing_extensions import override

from step_envs.collection.portable_errors import portable
from step_envs.endpoint import Answer, Endpoint, Gateway

_LONGEST_FOLDER = 60
"""Bytes of the temporary folder's path: the path of a socket in it has 40 more, and at most 103."""


def free_address() -> tuple[str, int] | None:
    """Return where to listen, for ``Listener`` and for managers.

    Returns:
        None, which stands for a socket in the temporary folder; a port of this machine if the path would be too long.
    """
    return None if len(os.fsencode(tempfile.gettempdir())) <= _LONGEST_FOLDER else ("127.0.0.1", 0)


class RequestAddress(NamedTuple):
    """The address of a ``RequestServer``, and the key that a client must have."""

    address: Any
    key: bytes


class ProcessGateway(Gateway):
    """A worker's gateway: it sends every request to the process that was started.

    Args:
        server: Where the requests go.
    """

    def __init__(self, server: RequestAddress) -> None:
        super().__init__()
        self._server = server
        self._of_thread = threading.local()

    @override
    def ask(self, endpoint: Endpoint, request: dict[str, Any], *, sample: int = 0) -> Answer:
        connection = getattr(self._of_thread, "connection", None)
        if connection is None:
            connection = self._of_thread.connection = Client(self._server.address, authkey=self._server.key)
        connection.send((endpoint, request, sample))
        answer: Answer | Exception = connection.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


class RequestServer:
    """Asks models for the workers, in the process that was started.

    Args:
        gateway: The gateway of the run.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        key = secrets.token_bytes(32)
        self._listener = Listener(free_address(), authkey=key)
        self.address = RequestAddress(self._listener.address, key)
        self._closed = False
        self._asking: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, name="model-requests", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; requests that were already sent are waited for, because they are paid."""
        self._closed = True
        with suppress(OSError, EOFError, AuthenticationError):
            # A thread that waits for a connection does not notice that its listener closes.
            Client(self.address.address, authkey=self.address.key).close()
        self._thread.join()
        self._listener.close()
        while True:
            with self._lock:
                asking = list(self._asking)
            if not asking:
                return
            for thread in asking:
                thread.join(0.1)

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection = self._listener.accept()
            except (EOFError, AuthenticationError, ConnectionError):  # a worker that died while it connected
                continue
            threading.Thread(target=self._serve, args=(connection,), name="model-request", daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        with connection, suppress(EOFError, OSError):  # the worker has ended
            while True:
                endpoint, request, sample = connection.recv()
                connection.send(self._ask(endpoint, request, sample))

    def _ask(self, endpoint: Endpoint, request: dict[str, Any], sample: int) -> Answer | Exception:
        with self._lock:
            self._asking.add(threading.current_thread())
        try:
            return self._gateway.ask(endpoint, request, sample=sample)
        except Exception as error:
            return portable(error)
        finally:
            with self._lock:
                self._asking.discard(threading.current_thread())
