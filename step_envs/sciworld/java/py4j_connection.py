"""The connection to the Java process: py4j with one connection, a time limit, and failures told apart.

py4j's own client keeps a pool of connections, retries by itself, frees Java objects from whatever thread the garbage
collector runs in, and writes tracebacks to the log when the process is gone. An engine copy needs the opposite: one
connection for its whole life (py4j's Java half remembers methods by class name for each connection, and would mistake two
engine copies for each other), and an error that says whether the process is dead or only slow.
"""

import contextlib
import io
import os
import socket
from typing import Any

from py4j import protocol
from py4j.java_gateway import GatewayClient, GatewayConnection, GatewayParameters, JavaGateway
from py4j.protocol import Py4JError, Py4JJavaError, Py4JNetworkError

from step_envs.sciworld.java.jvm import Jvm, JvmDeadError, JvmTimeoutError

_BUFFER_BYTES = 1 << 16


class _PromptReader(socket.SocketIO):
    """Reads from a socket and acknowledges every packet at once.

    Java sends a long answer in pieces, and sends the last one only when the others are acknowledged. Linux would delay the
    acknowledgement by 40 ms, which is four times what listing 2,700 valid actions takes.
    """

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection, "r")
        self._connection = connection

    def readinto(self, buffer: Any) -> int | None:
        if hasattr(socket, "TCP_QUICKACK"):
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return super().readinto(buffer)


class _Connection(GatewayConnection):  # type: ignore[misc]
    """py4j's connection with our errors, and without its log entries about a dead process, which is expected here."""

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
                raise JvmTimeoutError(f"no answer within {self.socket.gettimeout():g} s") from error
            raise JvmDeadError(str(error.cause or error)) from error
        if protocol.is_fatal_error(answer):
            raise JvmDeadError(answer)
        return answer


class _Client(GatewayClient):  # type: ignore[misc]
    """py4j's client with exactly one connection, which makes no calls of its own."""

    connection: _Connection

    def send_command(self, command: str, retry: bool = True, binary: bool = False) -> Any:
        return self.connection.send_command(command)

    def garbage_collect_object(self, target_id: str) -> None:
        """Do nothing: an engine copy frees its objects itself, never from inside the garbage collector."""


class _Gateway(JavaGateway):  # type: ignore[misc]
    def _create_gateway_client(self) -> _Client:
        return _Client(gateway_parameters=self.gateway_parameters)


class Py4jConnection:
    """One authenticated connection to a Java process.

    Args:
        jvm: The process.
        timeout: Seconds that a call may take; ``set_timeout`` changes it.

    Attributes:
        gateway: py4j's gateway over this connection. Calls through it raise ``JvmDeadError`` if the process is dead,
            ``JvmTimeoutError`` if it does not answer in time, and ``Py4JJavaError`` if Java code throws.
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

    def set_timeout(self, seconds: float) -> None:
        """Set the time limit of the following calls."""
        self._client.connection.socket.settimeout(seconds)

    def free(self, target: str) -> None:
        """Let Java collect an object that it keeps for us, by py4j's name for it."""
        command = protocol.MEMORY_COMMAND_NAME + protocol.MEMORY_DEL_SUBCOMMAND_NAME
        self._client.send_command(f"{command}{target}\n{protocol.END_COMMAND_PART}")

    def java_message(self, error: BaseException) -> str | None:
        """Return Java's message if Java code threw the error; None for any other error."""
        if isinstance(error, Py4JJavaError):
            with contextlib.suppress(JvmDeadError, JvmTimeoutError):
                return str(error.java_exception.toString())
        return str(error) if isinstance(error, Py4JError) else None

    def close(self) -> None:
        """Close the connection; the Java thread behind it ends."""
        with contextlib.suppress(OSError):
            self._client.connection.close()

    def abandon(self) -> None:
        """Close a forked child's copy of its parent's connection.

        A plain close would first shut the connection down, for the parent as well.
        """
        with contextlib.suppress(OSError):
            os.close(self._client.connection.socket.detach())
