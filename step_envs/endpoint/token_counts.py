"""Reads how many tokens a server counted, under whichever names and in whichever form it says so.

A budget holds only if nothing is missing from the counts. Models that think write more than they show, and some servers
leave that out of the tokens written and count it in the total alone. So the total decides where it is larger than its
parts.
"""

import math
from typing import Any

from pydantic import BaseModel, Field

PROMPT = ("prompt_tokens", "input_tokens", "prompt_eval_count", "promptTokenCount", "prompt_token_count")
COMPLETION = (
    *("completion_tokens", "output_tokens", "eval_count", "candidatesTokenCount", "candidates_token_count"),
    "generated_tokens",
)
TOTAL = ("total_tokens", "totalTokenCount", "total_token_count")
CACHED = (
    *("cached_tokens", "prompt_cache_hit_tokens", "num_cached_tokens", "cached_prompt_tokens", "cached_input_tokens"),
    *(
        "cache_read_input_tokens",
        "cache_read_tokens",
        "cached_content_token_count",
        "cachedContentTokenCount",
        "cache_hit",
    ),
)
"""Names of tokens that the server had in its prefix cache: OpenAI, DeepSeek, vLLM, Moonshot, Anthropic, Gemini."""
DETAILS = ("prompt_tokens_details", "input_tokens_details", "prompt_details", "input_token_details")
THOUGHT = ("reasoning_tokens", "thinking_tokens", "thoughts_token_count", "thoughtsTokenCount")
_MOST = 10**12


class TokenCounts(BaseModel):
    """How many tokens the server counted.

    Attributes:
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written, thoughts included.
        cached_tokens: Tokens of the prompt that the server had in its prefix cache.
    """

    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(0, ge=0)
    cached_tokens: int = Field(0, ge=0)


def read_counts(usage: Any) -> TokenCounts | None:
    """Read the field ``usage`` of an answer; None where it is no count.

    Examples:
        >>> read_counts({"prompt_tokens": "10", "completion_tokens": 2, "total_tokens": 50}).completion_tokens
        40
    """
    if not isinstance(usage, dict):
        return None
    prompt, total = _number(usage, PROMPT), _number(usage, TOTAL)
    given = [usage[name] for name in COMPLETION if name in usage]
    completion = _number(usage, COMPLETION)
    if prompt is None or (given and completion is None):
        return None
    details = [usage[name] for name in DETAILS if isinstance(usage.get(name), dict)]
    cached = next((count for place in (*details, usage) if (count := _number(place, CACHED)) is not None), 0)
    written = completion or 0
    if "prompt_tokens" not in usage and "cache_read_input_tokens" in usage:
        # Anthropic counts what was in its cache, and what went into it, beside the other tokens read.
        prompt += cached + (_number(usage, ("cache_creation_input_tokens",)) or 0)
    elif total is not None and cached and total == prompt + cached + written:
        prompt += cached
    if total is not None:
        written = max(written, total - prompt)
    else:
        written += _hidden(usage, written)
    return TokenCounts(prompt_tokens=prompt, completion_tokens=written, cached_tokens=min(cached, prompt))


def _hidden(usage: dict[str, Any], written: int) -> int:
    """Return the tokens of thoughts that cannot be among the tokens written, because there are more of them."""
    places = [usage[name] for name in ("completion_tokens_details", "output_tokens_details") if name in usage]
    thought = next((count for place in (*places, usage) if (count := _number(place, THOUGHT)) is not None), 0)
    return thought if thought > written else 0


def _number(counts: Any, names: tuple[str, ...]) -> int | None:
    """Read the first of some names as a count; servers write counts as numbers with and without a point, and as text."""
    if not isinstance(counts, dict):
        return None
    for name in names:
        value = counts.get(name)
        if value is None or isinstance(value, bool):
            continue
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            continue
        if math.isfinite(number) and 0 <= number <= _MOST:
            return round(number)
    return None
