"""Exit codes of the command."""

SOME_FAILED = 1
"""Some episodes gave no trajectory (they are played again with ``--resume``), or no step was judged although a teacher was
asked."""
WRONG_INPUT = 2
"""What was asked for does not exist or cannot be done."""
STOPPED = 3
"""The budget is spent, or an endpoint or cluster cannot be used any more; ``--resume`` continues."""
INTERRUPTED = 130
"""Ctrl-C was pressed; ``--resume`` continues."""
