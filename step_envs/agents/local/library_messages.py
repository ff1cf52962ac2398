"""Keep what libraries print while a model is loaded, trained and saved from burying what went wrong.

transformers, TRL and PEFT tell developers what will be renamed in a later version, draw bars for work of milliseconds, and
report what they have set right themselves. Only these are held back, each by what it is or by how it begins. Every other
warning comes through: weights that were not in the checkpoint, a file that was cut short, a device that is missing.
"""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LIBRARIES = r"(transformers|trl|peft|accelerate|datasets|torch|huggingface_hub)(\.|$)"
_HARMLESS = (
    "The tokenizer has new PAD/BOS/EOS tokens that differ from the model config",
    "`use_cache=True` is incompatible with gradient checkpointing",
    "`use_cache=True` is incompatible with activation checkpointing",
    "`torch_dtype` is deprecated",
    "mtime may not be reliable on this filesystem",
    "No label_names provided for model class",
)
"""How messages begin that say what a library has set right for itself."""


class _Held(logging.Filter):
    """Holds back the messages that are known to be harmless."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for these."""
        return not record.getMessage().startswith(_HARMLESS)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Hold back progress bars and messages of the libraries that load and train models.

    Raises:
        ImportError: transformers is not installed.
    """
    from transformers.utils import logging as messages

    loggers = [logging.getLogger(name) for name in ("transformers", "trl", "peft", "accelerate")]
    # Messages of modules reach the handlers of their library and of the root, but no filter of its logger.
    handlers = {handler for logger in [*loggers, logging.getLogger()] for handler in logger.handlers}
    held = _Held()
    hidden = messages.is_progress_bar_enabled()
    with warnings.catch_warnings():
        for category in (FutureWarning, DeprecationWarning):
            warnings.filterwarnings("ignore", category=category, module=_LIBRARIES)
        for text in _HARMLESS:
            warnings.filterwarnings("ignore", message=re.escape(text))
        if hidden:
            messages.disable_progress_bar()
        for handler in handlers:
            handler.addFilter(held)
        try:
            yield
        finally:
            for handler in handlers:
                handler.removeFilter(held)
            if hidden:
                messages.enable_progress_bar()
