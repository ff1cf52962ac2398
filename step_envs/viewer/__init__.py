"""Runs as one HTML file that opens from disk: every trajectory as the conversation it is, and two runs side by side.

``pack`` puts trajectories into blocks of data that cannot be taken for markup, ``tokens`` adds how a tokenizer cuts them,
``page`` joins them with the script and the style in ``page/``, which are plain files written by hand.
"""

from step_envs.viewer.page import Page, WrittenPage

__all__ = ["Page", "WrittenPage"]
