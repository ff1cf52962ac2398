"""The worlds in which the tests of credit play, and with which options."""

from typing import Any

WORLDS: dict[str, dict[str, Any]] = {
    "STeP-ALFWorld-v0": {"household": "small"},
    "STeP-WebShop-v0": {},
    # Three steps, and a wrong one ends the episode in failure, so that the world is taken back.
    "STeP-SciWorld-v0": {"task_types": ["lifespan-longest-lived"]},
}
