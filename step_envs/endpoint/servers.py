r"""What servers of models send when they refuse: their codes and wordings, as data.

Every server has its own words for the same fault, and what to do depends on the fault: a conversation that is too long is
shortened, a parameter that is not known is left out, a used-up quota ends the run. Statuses do not tell: a full context is
400 at OpenAI, 413 at Anthropic, 422 at TGI and 500 at llama.cpp. So each fault has one list of signs here, with the server
that is known to send it, and a server that is new is a row more. ``server_errors.py`` compares what came with them.

The words are patterns for text in small letters, with single spaces.
"""

import re
from typing import Literal, NamedTuple

Kind = Literal[
    "context",  # the conversation does not fit the context window
    "output_limit",  # max_tokens is more than the model may write
    "parameter",  # a parameter, or its value, is not supported
    "roles",  # a system message, or two messages of one role in a row, is not supported
    "format",  # response_format is not supported
    "tools",  # tools are not supported, or what the model wrote is no call of one
    "moderation",  # a filter of the server takes offence at this conversation
    "quota",  # nothing is left to pay with
    "rate_limit",  # asked too often: later
    "overload",  # too busy: later
    "down",  # a fault of the server: later
    "key",
    "model",  # there is no such model
    "address",  # there is nothing at this address
    "other",
]
"""What is wrong with a request, or with the server."""

RETRIED: tuple[Kind, ...] = ("rate_limit", "overload", "down")
"""Faults that may pass, so that the same request is sent again."""

ONE_REQUEST: tuple[Kind, ...] = ("context", "moderation")
"""Faults of one conversation, which say nothing about the next one."""


class Code(NamedTuple):
    """A name that servers give a fault in ``code``, ``type`` or ``status`` of the error."""

    kind: Kind
    servers: str
    names: str


class Wording(NamedTuple):
    """A pattern for words by which servers describe a fault."""

    kind: Kind
    servers: str
    words: str


CODES = (
    Code("context", "OpenAI, Azure, Groq, OpenRouter", "context_length_exceeded string_above_max_length"),
    Code("context", "llama.cpp", "exceed_context_size_error"),
    Code("context", "LiteLLM", "contextwindowexceedederror context_window_exceeded"),
    Code(
        "context", "Anthropic, GitHub Models", "request_too_large tokens_limit_reached model_max_prompt_tokens_exceeded"
    ),
    Code("quota", "OpenAI, DashScope", "insufficient_quota billing_hard_limit_reached billing_not_active arrearage"),
    Code(
        "quota", "DeepSeek, Moonshot, OpenRouter", "insufficient_balance exceeded_current_quota_error payment_required"
    ),
    Code("quota", "LiteLLM, Anthropic, DashScope", "budget_exceeded billing_error allocationquota.freetieronly"),
    Code("moderation", "OpenAI, Azure", "content_filter content_policy_violation responsibleaipolicyviolation"),
    Code("moderation", "OpenAI, LiteLLM", "invalid_prompt moderation_blocked contentpolicyviolationerror"),
    Code("moderation", "DashScope, Gemini", "data_inspection_failed datainspectionfailed prohibited_content"),
    Code(
        "overload", "Anthropic, TGI, Moonshot", "overloaded_error overloaded engine_overloaded_error server_overloaded"
    ),
    Code("overload", "Gemini, llama.cpp", "unavailable unavailable_error model_overloaded server_busy"),
    Code("rate_limit", "OpenAI, Anthropic", "rate_limit_exceeded rate_limit_error too_many_requests rate_limited"),
    Code("rate_limit", "Moonshot, Gemini", "rate_limit_reached_error resource_exhausted ratelimitreached"),
    Code("rate_limit", "DashScope", "throttling throttling.ratequota throttling.allocationquota limit_requests"),
    Code("format", "OpenAI, Groq", "json_validate_failed invalid_json_schema unsupported_response_format"),
    Code("tools", "Groq, Moonshot", "tool_use_failed tool_calls_unsupported unsupported_tool_use"),
    Code(
        "parameter", "OpenAI, Groq, vLLM", "unsupported_parameter unsupported_value unknown_parameter extra_forbidden"
    ),
    Code("key", "OpenAI, Moonshot", "invalid_api_key invalid_authentication_error unauthenticated api_key_invalid"),
    Code("key", "Anthropic, Gemini", "authentication_error permission_error permission_denied"),
    Code("model", "OpenAI, Azure, DashScope", "model_not_found deploymentnotfound model_not_exist"),
)
"""Codes, in small letters. All mean one thing, whatever the words beside them say."""

_MAX_TOKENS = r"\bmax(?:imum)?[ _-]?(?:completion|output|new|generated|decode)?[ _-]?tokens?\b(?: to generate)?"
_TOO_MUCH = (
    r"(?:too (?:large|big|high|many)|at most|less than|<=|>|exceed|greater than|larger than|out of range|range|limit|"
    r"between|maximum|more than|up to)"
)
_TOOLS = (
    r"\b(?:tools?\b(?:[ _-](?:use|calls?|calling|choice)\b)?|function[ _-](?:call(?:s|ing)?|declarations?)\b|"
    r"functions\b)"
)
_NOT_TAKEN = (
    r"(?:(?:\bnot|n't|\bun)[ -]?(?:currently |yet )?(?:be )?(?:support|enabled|allowed|permitted|available|implemented|"
    r"recogni|accept|expected|known)|disabled|extra inputs?|no support|不支持)"
)

WORDINGS = (
    # A limit of tokens a minute that one request alone exceeds: waiting does not help, a shorter conversation does.
    Wording("context", "OpenAI, Groq", r"request too large for .*tokens per min"),
    Wording("rate_limit", "Bedrock", r"too many tokens,? please (?:wait|try again)"),
    Wording(
        "overload",
        "llama.cpp, Hugging Face",
        r"loading model|model .{0,80}is (?:currently )?loading|overloaded|at capacity",
    ),
    Wording("quota", "OpenRouter", r"free-models-per-day|can only afford|requires more credits"),
    Wording(
        "quota",
        "OpenAI, Gemini",
        r"exceeded your current quota|quota (?:is )?(?:exhausted|used up)|insufficient[ _]quota",
    ),
    Wording(
        "quota",
        "DeepSeek, Moonshot",
        r"insufficient (?:account )?(?:balance|funds|credits?)|balance is (?:too low|insufficient)",
    ),
    Wording(
        "quota",
        "Anthropic, DashScope",
        r"credit balance|in good standing|overdue[ -]payment|out of credits|payment required",
    ),
    Wording("quota", "LiteLLM", r"budget has been exceeded|(?:spending|usage|monthly|billing)(?: hard)? limit"),
    Wording(
        "quota",
        "OpenRouter, Hugging Face",
        r"included credits|(?:exceeded|reached|over) (?:its|your|the) (?:total|credit|key|daily|weekly) limit",
    ),
    Wording("quota", "in Chinese", r"余额不足|欠费|额度(?:已)?(?:用尽|用完|不足)"),
    Wording(
        "rate_limit",
        "all",
        r"rate[ _-]?limit|too many requests|(?:tokens|requests) per (?:min|day|sec)|throttl|slow down",
    ),
    Wording("rate_limit", "in Chinese", r"请求(?:过于|太)频繁|限流|并发(?:数)?(?:过高|超)"),
    # What is too long, before max_tokens: both are often named in one sentence. ``server_errors.py`` does the sum.
    Wording("context", "OpenAI, vLLM, SGLang, OpenRouter, Mistral", r"context[ _]?(?:length|window|size|limit)"),
    Wording(
        "context",
        "vLLM, TensorRT-LLM",
        r"max_(?:model_len|seq_len|input_len|total_tokens|position_embeddings)|\bn_ctx\b",
    ),
    Wording("context", "TGI", r"inputs?`? (?:tokens )?(?:\+ `?max_new_tokens`? )?must (?:have less than|be <=)"),
    Wording(
        "context",
        "Baidu, OpenAI",
        r"tokens in request more than|string too long. expected a string with maximum length",
    ),
    Wording("context", "LM Studio, ChatGPT proxies", r"context overflow|(?:message|text)\b.{0,30}(?:was )?too long"),
    Wording("output_limit", "OpenAI, vLLM, Groq", rf"{_MAX_TOKENS}[`'\"]?(?! per\b).*?{_TOO_MUCH}"),
    Wording("output_limit", "Cohere, Anthropic", rf"{_TOO_MUCH}.*?(?:{_MAX_TOKENS}|output tokens|completion tokens)"),
    Wording(
        "context",
        "Anthropic, Bedrock",
        r"(?:prompts?|inputs?|messages?|conversation|request|text|sequence|body)`? (?:is |are )?too (?:long|large|big)",
    ),
    Wording(
        "context",
        "DashScope, Poolside",
        r"(?:range of |\b)input length|(?:input|prompt|sequence|maximum) (?:token )?length.{0,60}(?:exceed|long|max)",
    ),
    Wording(
        "context",
        "Gemini",
        r"(?:input|prompt) token(?:s| count)?.{0,80}(?:exceed|only supports|supports? up to|limit|max)",
    ),
    Wording(
        "context",
        "xAI, Copilot",
        r"maximum (?:prompt|input|sequence) (?:length|tokens|size)|exceeds? the (?:token )?limit of",
    ),
    Wording("context", "Cohere, Bedrock", r"too many (?:input |prompt |total )?tokens"),
    Wording(
        "context", "Groq, OpenAI", r"reduce (?:the |your )?(?:length|size) of|reduce your (?:prompt|message|input)"
    ),
    Wording("context", "Moonshot, Mistral", r"(?:model )?token limit|too large for model|longer than the model"),
    Wording(
        "context",
        "llama-cpp-python, Fireworks",
        r"(?:requested )?tokens? .{0,40}exceed|exceeds? .{0,40}(?:maximum|max|limit).{0,20}tokens",
    ),
    Wording("context", "proxies", r"(?:request )?entity too large|payload too large|content too large"),
    Wording(
        "context",
        "in Chinese",
        r"超长|(?:长度|上下文|token).{0,12}(?:超过|超出)|(?:超过|超出).{0,16}(?:长度|上下文|token)|输入.{0,6}过长",
    ),
    Wording(
        "moderation",
        "Azure, OpenAI",
        r"content[ _-]?(?:management |filter|policy|moderation)|responsible ai|usage polic|safety (?:system|polic|filter)",
    ),
    Wording(
        "moderation",
        "OpenRouter, DashScope",
        r"\bflagged\b|requires moderation|inappropriate|(?:unsafe|sensitive|harmful) (?:content|words?)",
    ),
    Wording("moderation", "DeepSeek", r"content exists risk"),
    Wording("moderation", "in Chinese", r"敏感|不当内容|不合规|违规|不安全"),
    Wording(
        "roles",
        "Gemma, Mistral",
        r"system[`'\"]? (?:role|message|prompt|instruction)s?.{0,30}(?:not |un)(?:supported|allowed|enabled)",
    ),
    Wording(
        "roles",
        "OpenAI o1",
        r"(?:not|n't) support (?:the )?[`'\"]?system\b|(?:not|n't) support (?:the )?(?:system|developer) ",
    ),
    Wording("roles", "Gemini", r"developer instruction is not enabled|system instruction is not"),
    Wording(
        "roles",
        "Mistral, Llama",
        r"roles? must alternate|only user(?:,| and|/).{0,40}(?:supported|allowed)|system messages? must (?:be|come)",
    ),
    Wording(
        "roles",
        "vLLM, TGI",
        r"(?:unexpected|unknown|invalid|unsupported) role.{0,20}system|role[`'\"]? [`'\"]?system.{0,40}(?:invalid|unknown)",
    ),
    Wording(
        "roles",
        "Anthropic, Cohere",
        r"\brole\W{1,4}(?:invalid|unknown|unsupported|unexpected)[^.]{0,30}\bsystem\b|"
        r"first message must|consecutive .{0,30}(?:role|message)s?|(?:role|messages?) .{0,30}in a row",
    ),
    Wording(
        "format",
        "all",
        r"response[_ ]?format|json[_ ](?:schema|object|mode|output)|structured[_ ]outputs?|guided[_ ]|output_config|"
        r"\bgrammar\b",
    ),
    Wording(
        "tools",
        "Ollama, OpenRouter, Gemini, Bedrock, DashScope",
        rf"{_NOT_TAKEN}.{{0,80}}{_TOOLS}|{_TOOLS}.{{0,80}}{_NOT_TAKEN}",
    ),
    Wording(
        "tools",
        "vLLM, llama.cpp, Groq",
        rf"{_TOOLS}.{{0,40}}\brequires? |failed to call a function|no .{{0,40}}that supports? {_TOOLS}",
    ),
    Wording("key", "OpenAI, Gemini", r"api[ _-]?key|\bunauthori[sz]ed\b|authenticat"),
    Wording(
        "model",
        "OpenAI, Ollama, vLLM",
        r"model .{0,120}(?:does not exist|do(?:es)?n't exist|not (?:be )?found|not exist|no such)|no such model|"
        r"unknown model|invalid model(?: name| id)?\b|not a valid model|\bmodel is not (?:supported|available)",
    ),
)
"""Wordings, the one that decides first."""

BY_STATUS: dict[int, Kind] = {
    401: "key",
    402: "quota",
    403: "key",
    404: "address",
    408: "down",
    409: "down",
    413: "context",
    425: "down",
    429: "rate_limit",
    451: "moderation",
    503: "overload",
    529: "overload",
}
"""What a status means where neither code nor words say more; 5xx is ``down`` and all others are ``other``."""

STATUS_OF: dict[Kind, int] = {
    "context": 400,
    "quota": 402,
    "rate_limit": 429,
    "overload": 503,
    "down": 500,
    "key": 401,
    "model": 404,
    "address": 404,
}
"""The status that an error has which arrives as an answer (status 200) without a number; all others are 400."""

LIMITS = (
    r"at most (\d+)",
    r"\[\s*\d+\s*,\s*(\d+)\s*\]",
    r"less than or equal to\W{0,3}(\d+)",
    r"tokens\W{0,4}\d+ > (\d+)",
    r"(?:<=|≤)\W{0,3}(\d+)",
    r"(?:limit|maximum)(?: value| allowed)?(?: (?:is|of|for this model is)|:| =)\W{0,3}(\d+)",
    r"between \d+ and (\d+)",
    r"(?:cannot|can not|must not|may not|can't) (?:exceed|be (?:greater|larger|more|higher) than)\W{0,3}(\d+)",
    r"(?:up to|not exceed|exceeds?(?: the)?(?: model)?(?: maximum| limit)?(?: of)?)\W{0,3}(\d+)",
    r"\(?inclusive\)? to (\d+) \(exclusive",
)
"""How servers name the most tokens that a model may write. The last is one too many."""

CONTEXTS = (
    r"(?:context (?:length|window|size)|max_model_len|max_seq_len)\D{0,40}?(\d+)",
    r"exceed context limit: \d+ \+ \d+ > (\d+)",
    r"must be <= (\d+)",
)
"""How servers name the size of the context window."""

INPUTS = (
    r"exceed context limit: (\d+) \+",
    r"(\d+) (?:tokens )?(?:in|from) (?:the |your )?(?:input )?(?:messages|prompt|input)",
    r"(\d+) `?inputs`? tokens",
    r"(\d+) (?:of )?(?:text )?input(?: tokens)?",
    r"given: (\d+) `?inputs",
)
"""How servers name the tokens of a conversation in the same sentence."""

RENAMED = {"max_tokens": "max_completion_tokens"}
"""Parameters that some servers only know by another name, with the same meaning."""

KEPT = ("model", "messages", "max_tokens", "max_completion_tokens", "response_format", "stream")
"""Parameters that are never left out: without them a request asks for something else, or the ladder of formats is used."""

UNSUPPORTED = re.compile(
    r"unsupported|not supported|n't support|not support|unknown|unrecogni[sz]ed|unexpected|not permitted|not allowed|"
    r"invalid|cannot find field|can ?not |must |only |deprecated|not available|not enabled|no longer|"
    r"extra (?:inputs?|fields?)|"
    r"should be|should not|not implemented|not a valid|does not accept|not accept|has to be|not compatible|incompatible|"
    r"不支持|必须|无效|非法"
)
"""Words by which a server says that it does not take a parameter or its value."""

VALUE = re.compile(
    r"(?:must (?:be )?(?:set )?(?:to )?(?:equal to )?(?:exactly )?|only (?:the )?(?:default )?(?:value )?(?:of )?|"
    r"default (?:value )?(?:is )?|should be (?:set to )?|has to be |be set to |必须(?:设置)?为|只能为)[\s(`'\"]*"
    r"(-?\d+(?:\.\d+)?|true|false)\b(?! ?(?:to|and|,|or less|or more))"
)
"""How a server names the one value that it takes."""

POSITIVE = re.compile(
    r"strictly positive|greater than 0|> ?0\b|more than 0|larger than 0|\(0(?:\.0+)?,|not be 0|non-?zero"
)
"""How a server says that 0 is no temperature."""
SMALLEST_TEMPERATURE = 0.01
"""As good as 0, and taken by every server."""

NO_THINKING = re.compile(r"enable[_ ]thinking.{0,60}(?:false|stream)|(?:false|stream).{0,30}enable[_ ]thinking")
"""DashScope and ModelScope: models that think are only answered in a stream, unless they are told not to think."""
THINKING_ONLY = re.compile(r"enable[_ ]thinking.{0,40}\btrue\b")
STREAM_ONLY = re.compile(
    r"only supports? stream|stream(?:ing)? mode|enable (?:the )?stream|stream.{0,30}must be (?:set to )?true"
)
"""DashScope: models that are only answered in a stream."""
