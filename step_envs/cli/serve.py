"""``step-envs serve``: serve environments over HTTP."""

import json
import os
import signal
import sys
import threading
from typing import Annotated

import typer

from step_envs.cli.completion import env_ids

_LAST_SECONDS = 2.0
"""Before them the server takes five at most, see ``step_envs.serve.server``."""
_SWITCH_SECONDS = 0.0005


def serve(
    env: Annotated[
        list[str] | None,
        typer.Option(help="Environment id to offer; repeatable. All three if not given.", autocompletion=env_ids),
    ] = None,
    env_option: Annotated[
        list[str] | None,
        typer.Option(help="Option that the environments are made with, as name=value; clients cannot change it."),
    ] = None,
    host: Annotated[
        str,
        typer.Option(help="Address to listen at. Any address but loopback admits other machines, without encryption."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
    max_sessions: Annotated[int, typer.Option(min=1, help="The most episodes at once.")] = 64,
    idle_seconds: Annotated[
        float, typer.Option(min=0.1, help="Seconds without a request after which a session is closed.")
    ] = 600.0,
    max_queue: Annotated[
        int, typer.Option(min=1, help="The most requests that wait for one session; it refuses more.")
    ] = 16,
    max_body: Annotated[
        int | None, typer.Option(min=1024, help="The most bytes of a request without a snapshot; 128 KiB if not given.")
    ] = None,
    max_snapshot: Annotated[
        int | None, typer.Option(min=1024, help="The most bytes of a request with a snapshot; 1 MiB if not given.")
    ] = None,
    max_unauthenticated: Annotated[
        int,
        typer.Option(min=16, help="The most connections that have not shown the token; one more closes the oldest."),
    ] = 2048,
    header_seconds: Annotated[
        float, typer.Option(min=0.1, help="Seconds in which the headers of a request must be whole.")
    ] = 5.0,
    body_seconds: Annotated[
        float, typer.Option(min=0.1, help="Seconds in which the body of a request must be whole.")
    ] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print address and token as one line of JSON.")] = False,
) -> None:
    """Serve environments over HTTP until Ctrl-C.

    Each session plays one episode at a time. A Python client is gym.make("STeP-Remote-v0", url=URL, env=ID), with the token
    in STEP_ENVS_SERVE_TOKEN; other languages use the protocol in docs/serving.md. The server takes its token from
    STEP_ENVS_SERVE_TOKEN, or makes one and prints it.

    Ctrl-C or SIGTERM ends the server within ten seconds, whatever its environments are doing.

    Exit codes: 0 stopped by Ctrl-C or SIGTERM, 2 wrong input.

    Example: step-envs serve --env STeP-SciWorld-v0 --port 8765
    """
    from rich.console import Console

    from step_envs.cli.render import visible
    from step_envs.serve.limits import Limits
    from step_envs.serve.protocol import TOKEN_VARIABLE
    from step_envs.serve.server import EnvServer
    from step_envs.specs import read_option

    server = EnvServer(
        env or None,
        options=dict(read_option(pair, "--env-option") for pair in env_option or ()),
        host=host,
        port=port,
        max_sessions=max_sessions,
        idle_seconds=idle_seconds,
        max_body=max_body or Limits.max_body,
        max_snapshot=max_snapshot or Limits.max_snapshot,
        max_queue=max_queue,
        header_seconds=header_seconds,
        body_seconds=body_seconds,
        max_unauthenticated=max_unauthenticated,
    )
    # Before run() and until the process has ended: a signal after run() would change the exit code.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: server.stop())

    def announce() -> None:
        if not server.loopback:
            Console(emoji=False, stderr=True, soft_wrap=True).print(
                f"{visible(host)} can be reached from other machines, and nothing is encrypted: whoever can read the "
                "network can read the token. Put a proxy with TLS before it, or use an SSH tunnel.",
                style="yellow",
                markup=False,
            )
        if as_json:
            typer.echo(json.dumps({"url": server.url, "token": server.token, "environments": server.worlds.ids}))
        else:
            typer.echo(
                f"Serving {', '.join(server.worlds.ids)} at {server.url}: {max_sessions} sessions at most, "
                f"closed after {idle_seconds:g} s without a request. Ctrl-C ends it."
            )
            if server.made_token:
                typer.echo(f"Token, made up for this run: export {TOKEN_VARIABLE}={server.token}")

    # Worlds compute in threads. By default a thread that computes keeps the others waiting for 5 ms each time, also the one
    # that reads and answers requests, which waits at every packet: a hundred strangers would cost clients half a second.
    sys.setswitchinterval(_SWITCH_SECONDS)
    server.run(ready=announce)
    _end_within(_LAST_SECONDS)


def _end_within(seconds: float) -> None:
    """End the process even if something keeps Python from ending: an engine that hangs may hold what its exit waits for."""

    def end() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
