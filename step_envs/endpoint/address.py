"""The place where a model is asked: the address, the environment variable with the key, and how long to wait."""

import os
from typing import NamedTuple

from step_envs.confidential import note_secret
from step_envs.errors import EndpointError

OFFICIAL = "https://api.openai.com/v1"
"""OpenAI's own endpoint, the only one that needs a key in every case."""


class Endpoint(NamedTuple):
    """An OpenAI-compatible endpoint and how to ask it.

    Attributes:
        base_url: Root of the API, up to and including ``/v1``.
        key_env: Name of the environment variable that holds the key.
        timeout: Seconds within which one attempt must bring the whole answer.
        max_retries: How often a request is sent again after a time-out, a dropped connection, or status 408, 409, 429
            or 5xx.
    """

    base_url: str = OFFICIAL
    key_env: str = "OPENAI_API_KEY"
    timeout: float = 120.0
    max_retries: int = 5


def read_key(endpoint: Endpoint) -> str:
    """Read the key of an endpoint from its environment variable; "" where a server of one's own needs none.

    Raises:
        EndpointError: The official endpoint has no key, or the key cannot be part of an HTTP header. The key itself is
            never quoted.
    """
    key = os.environ.get(endpoint.key_env, "")
    if not key and endpoint.base_url == OFFICIAL:
        raise EndpointError(
            f"No key: set the environment variable {endpoint.key_env}, or name a server of your own with base_url."
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        # Most often this is the line break at the end of the file that the key was read from.
        raise EndpointError(
            f"The key in the environment variable {endpoint.key_env} holds a space, a line break or another character "
            "that no key has: set it again."
        )
    note_secret(key)
    return key
