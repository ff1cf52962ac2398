"""A model behind any OpenAI-compatible endpoint as a teacher."""

from pathlib import Path
from typing import Any

from step_envs.endpoint import ChatModel
from step_envs.wrappers.teachers.model_teacher import ModelTeacher


class OpenAITeacher(ModelTeacher):
    """Has a model judge each step: OpenAI's own, or one behind vLLM, SGLang, llama.cpp, Ollama, ``transformers serve``.

    A step is judged with what the paper asks of a teacher: what was wrong, why, what to do instead, and the action. What
    cannot be used (no answer, no JSON, wrong types, a refusal, an answer cut off) is asked for once more and is then
    ``unknown``. Every verdict says what it cost.

    Args:
        model: Name of the model.
        base_url: Root of the API, e.g. ``http://localhost:8000/v1``; None is OpenAI's.
        api_key_env: Name of the environment variable that holds the key.
        temperature: Sampling temperature; None leaves it to the server (some models take no other).
        max_tokens: Most tokens of a verdict; models that think aloud need more.
        timeout: Seconds in which an answer must be whole.
        max_retries: How often a failed request is sent again.
        prompts: Folder with prompt texts of one's own: ``common.txt``, ``sciworld.txt``, ...
        most_actions: How many admissible actions the model is told at most, the most relevant ones.
        privileged: Tell the model the oracle's plan, forbid it to give anything of it away, and check that.
        extra: Further parameters of the request body.

    Raises:
        ValueError: An argument has an impossible value.
        DataError: ``prompts`` is no folder of prompts.

    Examples:
        >>> teacher = OpenAITeacher(model="qwen", base_url="http://localhost:8000/v1")
        >>> teacher.describe().model
        'qwen'
    """

    name = "openai"

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        api_key_env: str = "OPENAI_API_KEY",
        temperature: float | None = 0.0,
        max_tokens: int | None = 1024,
        timeout: float = 120.0,
        max_retries: int = 5,
        prompts: str | Path | None = None,
        most_actions: int = 60,
        privileged: bool = False,
        extra: dict[str, Any] | None = None,
    ) -> None:
        chat = ChatModel(
            model,
            base_url,
            api_key_env=api_key_env,
            temperature=temperature,
            max_tokens=max_tokens,
            timeout=timeout,
            max_retries=max_retries,
            extra=extra,
        )
        super().__init__(chat, prompts=prompts, most_actions=most_actions, privileged=privileged)
