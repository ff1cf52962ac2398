# ruff: noqa: E501  (the sentences of servers are whole)
"""What servers say when they refuse, in their own words: each is read as the fault that it is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step_envs.endpoint.server_errors import LONGEST_QUOTE, read_error

CASES: list[tuple[str, int, Any]] = [
    (
        "context",
        400,
        {"error": {"message": "string too long. Expected a string with maximum length 1048576, but got 2000000."}},
    ),
    ("context", 400, {"error": "The message you submitted was too long, please reload"}),
    ("context", 400, {"error": {"message": "tokens in request more than max tokens allowed"}}),
    ("context", 400, {"error": "Error: context overflow"}),
    ("quota", 403, {"error": {"message": "This key has exceeded its total limit"}}),
    ("quota", 402, {"error": "You have exceeded your monthly included credits for Inference Providers"}),
    ("moderation", 400, {"error": {"message": "Content Exists Risk", "type": "invalid_request_error"}}),
    ("roles", 422, {"detail": "messages[0].role: invalid enum 'system'"}),
    ("model", 400, {"error": {"message": "Invalid model name passed in model=x"}}),
    ("model", 400, {"error": {"message": "x is not a valid model ID", "code": 400}}),
    (
        "context",
        400,
        {
            "error": {
                "message": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
                "code": "context_length_exceeded",
            }
        },
    ),
    (
        "context",
        400,
        {"error": {"message": "Range of input length should be [1, 30720]", "code": "invalid_parameter_error"}},
    ),
    ("context", 400, {"error": {"message": "The input token count is 32825 but model only supports up to 32768"}}),
    (
        "context",
        400,
        {
            "error": {
                "message": "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575)"
            }
        },
    ),
    (
        "context",
        400,
        {
            "message": "too many tokens: size limit exceeded by 19296 tokens. Try using shorter or fewer inputs. The limit for this model is 132000 tokens."
        },
    ),
    (
        "context",
        400,
        {"message": "Too many tokens: the total number of tokens in the prompt exceeds the limit of 4081."},
    ),
    (
        "context",
        422,
        {
            "error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 1900",
            "error_type": "validation",
        },
    ),
    (
        "context",
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 1900 `inputs` tokens and 512 `max_new_tokens`",
            "error_type": "validation",
        },
    ),
    (
        "context",
        500,
        {
            "error": {
                "code": 500,
                "message": "the request exceeds the available context size. try increasing the context size or enable context shift",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 1407,
                "n_ctx": 256,
            }
        },
    ),
    (
        "context",
        400,
        {
            "error": {"message": "prompt is too long: 213462 tokens > 200000 maximum", "type": "invalid_request_error"},
            "type": "error",
        },
    ),
    (
        "context",
        400,
        {
            "error": {
                "message": "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length or `max_tokens` and try again"
            }
        },
    ),
    (
        "context",
        400,
        {
            "object": "error",
            "message": "The input (263000 tokens) is longer than the model's context length (262144 tokens).",
        },
    ),
    (
        "context",
        400,
        {
            "object": "error",
            "message": "Requested token count exceeds the model's maximum context length of 262144 tokens. You requested a total of 262164 tokens: 262064 tokens from the input messages and 100 tokens for the completion.",
        },
    ),
    ("context", 400, {"error": {"message": "Invalid request: Your request exceeded model token limit: 8192"}}),
    (
        "context",
        400,
        {"error": {"message": "This model's maximum prompt length is 131072 but the request contains 537812 tokens."}},
    ),
    ("context", 400, {"error": {"message": "Please reduce the length of the messages or completion."}}),
    ("context", 400, {"error": "Requested tokens (1200) exceed context window of 512"}),
    (
        "context",
        400,
        {"error": {"message": "Input length 131393 exceeds the maximum allowed input length of 131040 tokens."}},
    ),
    (
        "context",
        400,
        {
            "error": {
                "message": "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length"
            }
        },
    ),
    ("context", 400, {"error": {"message": "prompt token count of 130000 exceeds the limit of 128000"}}),
    ("context", 400, {"error": {"message": "invalid params, context window exceeds limit"}}),
    ("context", 400, {"detail": "Input is too long for requested model."}),
    ("context", 413, "<html><head><title>413 Request Entity Too Large</title></head><body>nginx</body></html>"),
    (
        "context",
        429,
        {
            "error": {
                "message": "Request too large for gpt-4 in organization org-x on tokens per min (TPM): Limit 10000, Requested 12000. The input or output tokens must be reduced.",
                "code": "rate_limit_exceeded",
            }
        },
    ),
    ("context", 400, {"error": {"message": "litellm.ContextWindowExceededError: BadRequest"}}),
    (
        "context",
        400,
        {
            "error": {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {
                    "raw": '{"error":{"message":"This endpoint\'s maximum context length is 8192 tokens. However, you requested about 9000 tokens (8000 of text input, 1000 in the output)."}}'
                },
            }
        },
    ),
    ("context", 400, {"error": {"message": "Prompt too long: 5152 tokens exceeds max_seq_len 2048"}}),
    ("context", 400, {"error": {"message": "The total length of all messages is too long."}}),
    (
        "context",
        400,
        {"error": {"message": "tokens to keep from the initial prompt is greater than the context length"}},
    ),
    ("context", 400, {"error": {"message": "Your input exceeds the context window of this model."}}),
    (
        "output_limit",
        400,
        {
            "error": {
                "message": "max_tokens is too large: 6000. This model supports at most 4096 completion tokens, whereas you provided 6000."
            }
        },
    ),
    ("output_limit", 400, {"error": {"message": "max_tokens is too large: 1024. It supports at most 256"}}),
    (
        "output_limit",
        400,
        {"error": {"message": "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"}},
    ),
    (
        "output_limit",
        400,
        {"error": {"message": "<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 8192]"}},
    ),
    (
        "output_limit",
        400,
        {
            "error": {
                "message": "max_tokens: 64000 > 8192, which is the maximum allowed number of output tokens for claude-3-5-sonnet"
            }
        },
    ),
    (
        "output_limit",
        400,
        {
            "error": {
                "message": "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the `context_window` for this model"
            }
        },
    ),
    (
        "output_limit",
        400,
        {
            "message": "too many tokens: max tokens must be less than or equal to 4096, the maximum output for this model - received 5000."
        },
    ),
    (
        "output_limit",
        422,
        {
            "detail": [
                {
                    "loc": ["body", "max_tokens"],
                    "msg": "Input should be less than or equal to 4096",
                    "type": "less_than_equal",
                }
            ]
        },
    ),
    (
        "output_limit",
        400,
        {
            "error": {
                "message": "Unable to submit request because it has a maxOutputTokens value of 9000 but the supported range is from 1 (inclusive) to 8193 (exclusive)."
            }
        },
    ),
    (
        "context",
        400,
        {
            "error": {
                "message": "'max_tokens' or 'max_completion_tokens' is too large: 512. This model's maximum context length is 4096 tokens and your request has 3900 input tokens (512 > 4096 - 3900)."
            }
        },
    ),
    ("other", 400, {"error": {"message": "temperature must be 1"}}),
    (
        "parameter",
        400,
        {
            "error": {
                "message": "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
                "code": "unsupported_value",
                "param": "temperature",
            }
        },
    ),
    ("roles", 400, {"error": {"message": "System role not supported"}}),
    (
        "roles",
        400,
        {"object": "error", "message": "Conversation roles must alternate user/assistant/user/assistant/..."},
    ),
    ("roles", 400, {"error": {"message": "Developer instruction is not enabled for models/gemma-3-27b-it"}}),
    (
        "roles",
        400,
        {
            "error": {
                "message": "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
                "code": "unsupported_value",
                "param": "messages[0].role",
            }
        },
    ),
    ("roles", 400, {"error": {"message": "Only user and assistant roles are supported!"}}),
    (
        "quota",
        429,
        {
            "error": {
                "message": "You exceeded your current quota, please check your plan and billing details.",
                "type": "insufficient_quota",
                "code": "insufficient_quota",
            }
        },
    ),
    (
        "rate_limit",
        429,
        {
            "error": {
                "code": 429,
                "message": "You exceeded your current quota, please check your plan and billing details. Please retry in 34.07s.",
                "status": "RESOURCE_EXHAUSTED",
            }
        },
    ),
    ("quota", 402, {"error": {"message": "Insufficient Balance"}}),
    ("quota", 400, {"error": {"message": "Your credit balance is too low to access the Anthropic API."}}),
    (
        "quota",
        429,
        {
            "error": {
                "message": "Your account xxx<ak-x> is suspended due to insufficient balance",
                "type": "exceeded_current_quota_error",
            }
        },
    ),
    ("quota", 429, {"error": {"message": "Rate limit exceeded: free-models-per-day", "code": 429}}),
    ("rate_limit", 429, {"error": {"message": "Rate limit reached for gpt-4. Please try again in 20s."}}),
    ("overload", 529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    ("overload", 429, {"error": "Model is overloaded", "error_type": "overloaded"}),
    ("overload", 503, {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}),
    (
        "moderation",
        400,
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
                "code": "content_filter",
            }
        },
    ),
    (
        "moderation",
        400,
        {"error": {"message": "Input data may contain inappropriate content.", "code": "data_inspection_failed"}},
    ),
    ("moderation", 403, {"error": {"code": 403, "message": "Your input was flagged"}}),
    ("format", 400, {"error": {"message": "This response_format type is unavailable now"}}),
    (
        "format",
        400,
        {
            "error": {
                "message": "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."
            }
        },
    ),
    ("key", 401, {"error": {"message": "Incorrect API key provided"}}),
    ("key", 400, {"error": {"message": "API key not valid. Please pass a valid API key."}}),
    (
        "model",
        404,
        {
            "error": {
                "message": "The model `x` does not exist or you do not have access to it.",
                "code": "model_not_found",
            }
        },
    ),
    ("model", 404, {"error": {"message": 'model "x" not found, try pulling it first'}}),
    ("address", 404, {"detail": "Not Found"}),
    ("rate_limit", 200, {"error": {"code": 429, "message": "slow down"}}),
    ("context", 200, {"error": {"code": "context_length_exceeded", "message": "x"}}),
    ("other", 200, {"error": {"code": 400, "message": "x"}}),
    ("down", 200, {"error": "the model crashed"}),
    ("down", 200, {"choices": [{"error": {"code": 502, "message": "Upstream error"}, "finish_reason": "error"}]}),
]


@pytest.mark.parametrize(("kind", "status", "body"), CASES)
def test_each_fault_is_told_by_code_and_words(kind: str, status: int, body: Any) -> None:
    error = read_error(status, {}, body.encode() if isinstance(body, str) else json.dumps(body).encode())
    assert error is not None
    assert error.kind == kind


@pytest.mark.parametrize(
    ("words", "limit", "room"),
    [
        ("max_tokens is too large: 6000. This model supports at most 4096 completion tokens.", 4096, None),
        ("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", 8192, None),
        ("max_tokens: 64000 > 8192, which is the maximum allowed number of output tokens", 8192, None),
        ("maxOutputTokens must be in the range from 1 (inclusive) to 8193 (exclusive)", 8192, None),
        ("maximum context length is 4,096 tokens and your request has 3,900 input tokens", None, 196),
        ("`inputs` tokens + `max_new_tokens` must be <= 2048. Given: 1900 `inputs` tokens and 512", None, 148),
        ("maximum context length is 8192 tokens. You requested about 9000 tokens (8000 of text input)", None, 192),
    ],
)
def test_a_limit_that_is_named_is_read(words: str, limit: int | None, room: int | None) -> None:
    error = read_error(400, {}, json.dumps({"error": {"message": words}}).encode())
    assert error is not None
    assert (error.limit, error.room) == (limit, room)


@pytest.mark.parametrize(
    ("headers", "words", "wait"),
    [
        ({"retry-after": "7"}, "", 7),
        ({"retry-after-ms": "350", "retry-after": "1"}, "", 0.35),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, "", 0),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "0"}, "", 360),
        ({"x-ratelimit-reset-tokens": "20ms"}, "", 0.02),
        ({"ratelimit-reset": "12"}, "", 12),
        ({}, "Please try again in 20s.", 20),
        ({}, "Please try again in 1m30.5s.", 90.5),
        ({}, "Please retry after 26 seconds.", 26),
        ({}, "try again in 350ms", 0.35),
        ({}, "slow down", None),
    ],
)
def test_how_long_to_wait_is_read(headers: dict[str, str], words: str, wait: float | None) -> None:
    error = read_error(429, headers, json.dumps({"error": {"message": words or "rate limit"}}).encode())
    assert error is not None
    assert (error.kind, error.wait) == ("rate_limit", wait if wait is None else pytest.approx(wait))


@pytest.mark.parametrize(
    "body",
    [
        {"error": "the words"},
        {"error": {"message": "the words", "code": 400}},
        {"detail": "the words"},
        {"message": "the words"},
        {"errors": [{"message": "the words"}]},
        {"error": {"message": "the words", "metadata": {"raw": '{"error": {"message": "the words"}}'}}},
        "the words",
        "<html><style>x { y }</style><body><h1>the words</h1></body></html>",
    ],
)
def test_the_words_of_a_server_are_found_wherever_they_stand(body: Any) -> None:
    error = read_error(400, {}, body.encode() if isinstance(body, str) else json.dumps(body).encode())
    assert error is not None
    assert error.words == "the words"


def test_the_place_of_a_fault_is_part_of_its_words() -> None:
    body = {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "type": "extra_forbidden"}]}
    error = read_error(422, {}, json.dumps(body).encode())
    assert error is not None
    assert (error.kind, error.param, error.words) == ("parameter", "seed", "seed: Extra inputs are not permitted")


@given(st.integers(300, 599), st.binary(max_size=400) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["error", "message", "code", "type", "detail", "loc", "msg", "metadata", "raw", "choices"]), inner
    ),
    max_leaves=12,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_whatever_an_error_holds_it_is_read(status: int, content: bytes) -> None:
    error = read_error(status, {}, content)
    assert error is not None
    assert len(error.words) <= LONGEST_QUOTE + 4
    assert "\n" not in error.words
