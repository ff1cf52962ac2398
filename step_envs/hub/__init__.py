"""Runs and trained models on the Hugging Face Hub: pushed with a card, and loaded back byte for byte.

The library ``huggingface_hub`` speaks to the hub. What is decided here is what a repository holds, what its card says, what
must not leave this machine, and what to do about a repository that is already there.
"""

from step_envs.hub.download import LoadReport, load
from step_envs.hub.upload import PushReport, push

__all__ = ["LoadReport", "PushReport", "load", "push"]
