"""Language models behind OpenAI-compatible endpoints, for teachers and agents alike.

A ``ChatModel`` is one model with its sampling parameters. It asks through a ``Gateway``. All models of a run share one
gateway, so that its connections, rate limits, response cache, cost ledger and budget hold for the run as a whole.

- ``model.py``: ``ChatModel``, which teachers and agents ask.
- ``gateway.py``: ``Gateway``: cache first, then the endpoint, within the budget.
- ``client.py``: requests to one endpoint; ``deadline.py`` and ``rate_limit.py`` limit each attempt.
- ``chat_completion.py``: what servers answer; ``address.py``: where they are and the key.
- ``cache.py``, ``cost_ledger.py``: what was answered and what it cost, on disk.
- ``endpoint_config.py``: a user's settings of all that.
"""

from step_envs.endpoint.address import Endpoint
from step_envs.endpoint.cache import ResponseCache
from step_envs.endpoint.cost_ledger import Budget, CostLedger, Price, read_prices
from step_envs.endpoint.endpoint_config import EndpointConfig
from step_envs.endpoint.gateway import Answer, Gateway
from step_envs.endpoint.model import AskedModel, ChatModel, UsesChatModel, asks_endpoint

Access = EndpointConfig
"""The name that ``EndpointConfig`` had before."""

__all__ = [
    "Access",
    "Answer",
    "AskedModel",
    "Budget",
    "ChatModel",
    "CostLedger",
    "Endpoint",
    "EndpointConfig",
    "Gateway",
    "Price",
    "ResponseCache",
    "UsesChatModel",
    "asks_endpoint",
    "read_prices",
]
