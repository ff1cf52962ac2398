"""Errors of another process: what can be sent from where it happened to where it is handled.

An error that cannot be pickled, or cannot be unpickled, would take the answer with it. So it is tried here first.
"""

import pickle
import traceback

from step_envs.confidential import masked


def portable(error: Exception) -> Exception:
    """Return an error that can be sent to another process, with its traceback as a note."""
    note = masked("".join(traceback.format_exception(error)))
    try:
        copy: Exception = pickle.loads(pickle.dumps(error))
    except Exception:  # this error cannot be pickled, or cannot be unpickled
        copy = RuntimeError(masked(f"{type(error).__name__}: {error}"))
    copy.add_note(note)
    return copy
