"""``step-envs view --watch``: serve the page that follows runs, until Ctrl-C."""

import json
import signal
import threading
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

import typer

from step_envs.text import visible


def watch(runs: Sequence[Path], *, host: str, port: int, as_json: bool) -> None:
    """Serve a page that shows runs and follows them, until Ctrl-C or SIGTERM.

    Args:
        runs: Run folders or trajectory files, which need not be there yet.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        as_json: Print the address as JSON.

    Raises:
        ValueError: A run is named twice, or the address cannot be used.
    """
    from step_envs.viewer.watch_server import WatchServer, serve_until

    ended = threading.Event()
    # The handlers come first: Ctrl-C right after the address was printed ends it as cleanly as a later one.
    before = [signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        server = WatchServer(runs, host=host, port=port)
        if as_json:
            typer.echo(json.dumps({"url": server.url, "runs": [str(run) for run in runs]}))
        else:
            _say_where(runs, server.url, host)
        serve_until(server, ended.is_set)
        if not as_json:
            typer.echo("No longer served. The runs were only read: what writes them goes on.")
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)


def _say_where(runs: Sequence[Path], url: str, host: str) -> None:
    for run in runs:
        if not run.exists():
            typer.echo(visible(f"Nothing is written to {run} yet: its episodes appear as a run writes them there."))
    typer.echo(f"Open in a browser: {url}\nIt follows the run by itself. Ctrl-C ends this, and not the run.")
    if not _is_loopback(host):
        typer.echo("Whoever can reach this machine and knows the address can read the run.")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
