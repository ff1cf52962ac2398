"""Language models behind OpenAI-compatible endpoints, for teachers and agents alike.

A ``ChatModel`` is one model with its sampling parameters. It asks through a ``Gateway``, which all models of a run share:
the connections, the pace, the response cache and the bill with its budget are there, so that they hold for the run as a
whole.
"""

from step_envs.endpoint.address import Endpoint
from step_envs.endpoint.cache import ResponseCache
from step_envs.endpoint.cost_ledger import Budget, CostLedger, Price, read_prices
from step_envs.endpoint.endpoint_config import EndpointConfig
from step_envs.endpoint.gateway import Answer, Gateway
from step_envs.endpoint.model import ChatModel, UsesChatModel

Access = EndpointConfig
"""The name that ``EndpointConfig`` had before."""

__all__ = [
    "Access",
    "Answer",
    "Budget",
    "ChatModel",
    "CostLedger",
    "Endpoint",
    "EndpointConfig",
    "Gateway",
    "Price",
    "ResponseCache",
    "UsesChatModel",
    "read_prices",
]
