"""Decides what may be written down and shown: the one place that knows what a secret is.

Settings are written into run folders, records, logs and error messages, and people put keys into settings in more places
than one thinks of: an address, a header, a field of the request body, the name of the variable that should have held the
key. To look for secrets where something is written, the obvious way, fails with the first writer that was forgotten. So
settings that may hold a secret are refused where they come in (``refuse_secrets``), and what others say (servers,
libraries) is masked where it comes in (``masked``), with the keys that are in use.
"""

import json
import os
import re
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

MASK = "[key]"

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")
_NO_SECRET = re.compile(
    r"max|min|num|count|limit|stop|pad|eos|bos|skip|special|ids?|id|per|budget|new|think\w*|reasoning|completion|prompt|env|"
    r"logprobs?|top|bias|cache|name|file|path|length|size|type|index|sort|primary|foreign",
    re.IGNORECASE,
)
"""Words beside ``token`` or ``key`` that make it something else: ``max_tokens``, ``stop_token_ids``, ``api_key_env``."""
_SECRET_WORDS = frozenset(
    (
        *(
            "key",
            "keys",
            "apikey",
            "token",
            "secret",
            "secrets",
            "password",
            "passwd",
            "passphrase",
            "pwd",
            "credential",
        ),
        *("credentials", "authorization", "bearer", "cookie", "jwt", "sas", "signature", "accesstoken", "authtoken"),
        *("secretkey", "accesskey", "apitoken", "auth", "pat"),
    )
)
_SERVICE_KEY = re.compile(
    r"""
    \b(?:sk|pk|rk|gsk|xai|r8|nvapi|pplx|tgp|csk|dsk|glpat|xox[abp])[-_](?=[\w.-]*\d)[A-Za-z0-9_\-.]{10,}
    | \b(?:hf|fw|gh[pousr]|github_pat)_[A-Za-z0-9_]{12,}
    | \b(?:AKIA|AIza|ya29\.)[A-Za-z0-9_\-]{12,} | \beyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-.]{8,}
    """,
    re.VERBOSE,
)
"""What services begin their keys with: OpenAI, Groq, xAI, Hugging Face, GitHub, AWS, Google, JSON web tokens."""
_HEADER = re.compile(r"\b[Bb]earer\s+\S{6,}|\b[Bb]asic\s+[A-Za-z0-9+/]{8,}=*")
"""What stands in the header ``Authorization``; in a text about products, "Basic Collection" is none."""
_PAIR = re.compile(r"""([A-Za-z][\w-]*)["']?\s*[=:]\s*["']?([^\s"',}\]]+)""")
_EMPTY = ("", "null", "none", "true", "false", "None", "True", "False")
_PLACEHOLDERS = frozenset(
    (
        *("none", "null", "empty", "default", "true", "false", "dummy", "fake", "test", "testing", "example", "unused"),
        *("anything", "placeholder", "local", "localhost", "token", "secret", "key", "apikey", "api-key", "api_key"),
        *("no-key", "no_key", "nokey", "not-needed", "not_needed", "not-used", "ollama", "lm-studio", "vllm", "sglang"),
    )
)
"""What people give as the key of a server that asks for none. These words protect nothing, and stand in many sentences."""
_SURE = 16
"""Characters from which on a secret cannot be a common word. A shorter one is masked only as a whole word."""
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>\\]+", re.IGNORECASE)

_in_use: set[str] = set()
_lock = threading.Lock()


def note_secret(secret: str) -> None:
    """Remember a secret that is in use, so that ``masked`` finds it in whatever anybody says.

    A placeholder such as ``none`` or ``EMPTY`` is no secret: to mask it would garble paths and sentences.
    """
    if len(secret) >= 4 and secret.casefold() not in _PLACEHOLDERS:
        with _lock:
            _in_use.add(secret)


def without_keys(text: str, *, shortest: int = _SURE) -> str:
    """Return a text without the secrets that are in use, for texts that must not be changed otherwise."""
    with _lock:
        secrets = sorted(_in_use, key=len, reverse=True)
    for secret in secrets:
        if len(secret) >= _SURE:
            text = text.replace(secret, MASK)
        elif len(secret) >= shortest:
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(secret)}(?![A-Za-z0-9])", MASK, text)
    return text


def without_keys_within(value: Any) -> Any:
    """Return nested data, such as tool calls, without the secrets that are in use; also within texts that hold JSON."""
    if isinstance(value, Mapping):
        return {without_keys(str(name)): without_keys_within(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(without_keys_within, value))
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith(("{", "[")):
        # JSON can spell any letter as an escape, and so hide a key from a comparison of texts.
        try:
            inner = json.loads(value, strict=False)
        except (ValueError, RecursionError):
            return without_keys(value)
        plain = without_keys_within(inner)
        return value if plain == inner else json.dumps(plain, ensure_ascii=False)
    return without_keys(value)


def masked(text: str) -> str:
    """Return what somebody else says without the secrets in use, and without user names and passwords in addresses."""
    text = without_keys(text, shortest=4)
    return _URL.sub(lambda url: _without_user(url[0]), text)


def _without_user(url: str) -> str:
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{MASK}@{host.rpartition('@')[2]}{slash}{path}" if "@" in host else url


def looks_like_secret(text: str) -> bool:
    """Return True if a text has the form of a key of a known service, or is one that is in use."""
    with _lock:
        used = any(len(secret) >= _SURE and secret in text for secret in _in_use)
    return used or _SERVICE_KEY.search(text) is not None or _HEADER.search(text) is not None


def holds_secret(text: str) -> bool:
    """Return True if a line of settings (``name=value,...``, or JSON) seems to hold a secret."""
    if looks_like_secret(text) or any(map(_holds_secret, _URL.findall(text))):
        return True
    return any(is_secret_name(name) and value not in _EMPTY for name, value in _PAIR.findall(text))


def without_secrets(value: Any) -> Any:
    """Return nested settings with every secret masked, for records of what others made."""
    if isinstance(value, Mapping):
        return {
            masked(str(name)): MASK if is_secret_name(str(name)) and inner else without_secrets(inner)
            for name, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return type(value)(map(without_secrets, value)) if find_secret(value) else value
    if isinstance(value, str):
        plain = masked(value)
        return MASK if find_secret(plain) is not None and MASK not in plain else plain
    return value


def is_secret_name(name: str) -> bool:
    """Return True if a setting of this name holds a secret.

    Examples:
        >>> [is_secret_name(name) for name in ("api_key", "X-Api-Key", "hfToken", "max_tokens", "api_key_env")]
        [True, True, True, False, False]
    """
    words = [word.lower() for word in _WORDS.split(name) if word]
    if not any(word in _SECRET_WORDS for word in words) and "".join(words) not in _SECRET_WORDS:
        return False
    return not any(_NO_SECRET.fullmatch(word) for word in words)


def find_secret(value: Any, place: str = "") -> str | None:
    """Find the first place in nested settings that may hold a secret.

    Args:
        value: Settings: mappings and lists of texts and numbers.
        place: Where they stand, e.g. ``"extra"``.

    Returns:
        The place, e.g. ``"extra.headers.authorization"``; None if there is none. A secret itself is never returned.
    """
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if looks_like_secret(str(name)):
                return f"{place} (in a name)" if place else "a name"
            where = f"{place}.{name}" if place else str(name)
            if is_secret_name(str(name)) and inner not in (None, "", False, True):
                return where
            found = find_secret(inner, where)
            if found is not None:
                return found
    elif isinstance(value, (list, tuple, set, frozenset)):
        for index, inner in enumerate(value):
            found = find_secret(inner, f"{place}[{index}]")
            if found is not None:
                return found
    elif isinstance(value, str) and (looks_like_secret(value) or any(map(_holds_secret, _URL.findall(value)))):
        return place or "a value"
    return None


def note_environment() -> None:
    """Remember the secrets among the environment variables, before data leaves this machine."""
    for name, value in os.environ.items():
        if is_secret_name(name) and len(value) >= _SURE:
            note_secret(value)


def find_key(value: Any, place: str = "") -> str | None:
    """Find the first text in nested data that holds a key of a known service, or a secret that is in use.

    Unlike ``find_secret``, this is for what worlds and models have said: names and ordinary words count for nothing.

    Args:
        value: Mappings and lists of texts and numbers.
        place: Where they stand.

    Returns:
        The place, e.g. ``"turns[3].content"``; None if there is none. A secret itself is never returned.
    """
    if isinstance(value, Mapping):
        found = ((f"{place}.{name}" if place else str(name), inner) for name, inner in value.items())
        return next((where for where in (find_key(inner, name) for name, inner in found) if where is not None), None)
    if isinstance(value, (list, tuple)):
        places = (find_key(inner, f"{place}[{index}]") for index, inner in enumerate(value))
        return next((where for where in places if where is not None), None)
    if not isinstance(value, str):
        return None
    if _SERVICE_KEY.search(value) is not None:
        return place or "a value"
    with _lock:
        used = any(len(secret) >= _SURE and secret in value for secret in _in_use)
    return (place or "a value") if used else None


def refuse_secrets(value: Any, place: str, *, instead: str) -> None:
    """Refuse settings that hold a secret, because they are written into records.

    Args:
        value: The settings.
        place: Where they stand, e.g. ``"extra"``.
        instead: What to do, as the end of the sentence.

    Raises:
        ValueError: There is a secret; the message names the place and never the secret.
    """
    found = find_secret(value, place)
    if found is not None:
        raise ValueError(f"{found} looks like a secret, and settings are written into records: {instead}")


def _holds_secret(url: str) -> bool:
    try:
        parts = urlsplit(url)
        user = parts.username or parts.password
    except ValueError:
        return "@" in url
    if user:
        return True
    for piece in (*re.split("[&;]", parts.query), *re.split("[&;]", parts.fragment)):
        name, equals, content = piece.partition("=")
        if equals and content and is_secret_name(unquote(name)):
            return True
    return looks_like_secret(unquote(url))
