"""Reading what models write: thoughts taken out, formats by name, the action ended where the reply speaks for others.

- ``thoughts.py``: what a model thinks aloud, in every spelling.
"""

from step_envs.replies.thoughts import Thoughts, ends_in_thought, split_thoughts, without_thoughts

__all__ = ["Thoughts", "ends_in_thought", "split_thoughts", "without_thoughts"]
