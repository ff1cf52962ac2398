"""What every worker process of this package does: it leaves signals to its parent, and ends when its parent ends.

A terminal sends Ctrl-C to a whole group of processes, and a service manager the termination signal. Workers that died of
them would take away what the parent wants to finish. A worker that outlived its parent would go on to write into a folder
while a resumed run does the same. Python's pools and managers leave both to their users.
"""

import os
import signal
import threading
from multiprocessing.connection import Connection

_FOR_THE_PARENT = (signal.SIGINT, signal.SIGTERM)


def processors() -> int:
    """Return how many processors this process may use."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    return len(usable) or os.cpu_count() or 1


def serve_parent(lifeline: Connection) -> None:
    """Prepare a worker process, in its main thread: leave signals to the parent, and end when the parent does.

    Args:
        lifeline: The end of a pipe that is read. The parent keeps the other, which closes when it ends, however it ends.
    """
    for number in _FOR_THE_PARENT:
        # Not SIG_IGN, which the children of this process would inherit.
        signal.signal(number, lambda number, frame: None)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FOR_THE_PARENT)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()


def hold_signals_for_children() -> None:
    """Block Ctrl-C and the termination signal in this thread, so that processes it starts begin with them blocked.

    Until ``serve_parent`` runs, a new process imports modules for a second, in which Ctrl-C would kill it.
    """
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_PARENT)


def _end_with_parent(lifeline: Connection) -> None:
    try:
        lifeline.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)
