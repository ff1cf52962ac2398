"""The line to the Java process: py4j with one connection, a time limit, and failures told apart.

py4j's own client keeps a pool of connections, tries again by itself, frees objects from whatever thread the
garbage collector happens to run in, and writes tracebacks to the log when the process is gone. A copy of the
engine needs the opposite: one connection for life (py4j's Java half remembers methods by class name for each
connection, and would mistake two copies of the engine for each other), and one clear answer to what happened.
"""

import contextlib
import io
import os
import socket
from typing import Any

from py4j import protocol
from py4j.java_gateway import GatewayClient, GatewayConnection, GatewayParameters, JavaGateway
from py4j.protocol import Py4JError, Py4JJavaError, Py4JNetworkError

from step_envs.sciworld.java.jvm import Jvm, JvmDeadError, JvmSilentError

_BUFFER_BYTES = 1 << 16


class _PromptReader(socket.SocketIO):
    """Acknowledges what comes in at once.

    Java sends a long answer in pieces and waits, before the last, to hear that the others arrived. Linux would
    wait 40 ms before it says so, which is four times what listing 2,700 valid actions takes.
    """

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection, "r")
        self._connection = connection

    def readinto(self, buffer: Any) -> int | None:
        if hasattr(socket, "TCP_QUICKACK"):
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return super().readinto(buffer)


class _Connection(GatewayConnection):  # type: ignore[misc]
    """py4j's connection, without the entry at error level when nobody listens: a dead process is foreseen."""

    def start(self) -> None:
        try:
            self.socket.connect((self.address, self.port))
        except OSError as error:
            self.socket.close()
            raise JvmDeadError(f"cannot connect: {error}") from error
        self.stream = io.BufferedReader(_PromptReader(self.socket), _BUFFER_BYTES)
        self.is_connected = True
        self._authenticate_connection()

    def send_command(self, command: str) -> str:
        try:
            answer: str = super().send_command(command)
        except Py4JNetworkError as error:
            if isinstance(error.cause, TimeoutError):
                raise JvmSilentError(f"no answer within {self.socket.gettimeout():g} s") from error
            raise JvmDeadError(str(error.cause or error)) from error
        if protocol.is_fatal_error(answer):
            raise JvmDeadError(answer)
        return answer


class _Client(GatewayClient):  # type: ignore[misc]
    """py4j's client with exactly one connection, and no calls but those that the session makes."""

    connection: _Connection

    def send_command(self, command: str, retry: bool = True, binary: bool = False) -> Any:
        return self.connection.send_command(command)

    def garbage_collect_object(self, target_id: str) -> None:
        """Does nothing: a session frees its objects itself, never from inside the garbage collector."""


class _Gateway(JavaGateway):  # type: ignore[misc]
    def _create_gateway_client(self) -> _Client:
        return _Client(gateway_parameters=self.gateway_parameters)


class Line:
    """One authenticated connection to a Java process.

    Args:
        jvm: The process.
        timeout: Seconds that a call may take, unless :meth:`patience` says otherwise.

    Attributes:
        gateway: py4j's gateway over this connection. Calls through it raise ``JvmDeadError`` when the process
            is dead, ``JvmSilentError`` when it does not answer, and ``Py4JJavaError`` when Java code throws.
    """

    def __init__(self, jvm: Jvm, timeout: float) -> None:
        parameters = GatewayParameters(
            address=jvm.address.host,
            port=jvm.address.port,
            auth_token=jvm.address.token,
            enable_memory_management=False,
            read_timeout=timeout,
        )
        self.gateway: Any = _Gateway(gateway_parameters=parameters)
        self._client: _Client = self.gateway._gateway_client
        self._client.connection = _Connection(parameters, self.gateway.gateway_property)
        self._client.connection.start()

    def patience(self, seconds: float) -> None:
        """Sets the time limit of the calls to come."""
        self._client.connection.socket.settimeout(seconds)

    def free(self, target: str) -> None:
        """Lets Java collect an object that it keeps for us, by py4j's name for it."""
        command = protocol.MEMORY_COMMAND_NAME + protocol.MEMORY_DEL_SUBCOMMAND_NAME
        self._client.send_command(f"{command}{target}\n{protocol.END_COMMAND_PART}")

    def java_words(self, error: BaseException) -> str | None:
        """What Java says of an exception that Java code threw; None for any other error."""
        if isinstance(error, Py4JJavaError):
            with contextlib.suppress(JvmDeadError, JvmSilentError):
                return str(error.java_exception.toString())
        return str(error) if isinstance(error, Py4JError) else None

    def close(self) -> None:
        """Closes the connection; the Java thread behind it ends."""
        with contextlib.suppress(OSError):
            self._client.connection.close()

    def abandon(self) -> None:
        """Closes this process's copy of a connection that is in use on the other side of a fork.

        A plain close would first shut the connection down, and with it the parent's.
        """
        with contextlib.suppress(OSError):
            os.close(self._client.connection.socket.detach())
