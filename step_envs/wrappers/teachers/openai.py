"""A model behind any OpenAI-compatible endpoint as a teacher."""

from pathlib import Path
from typing import Unpack

from step_envs.endpoint.model import ChatOptions
from step_envs.wrappers.teachers.model_teacher import ModelTeacher


class OpenAITeacher(ModelTeacher):
    """Has a model judge each step: OpenAI's own, or one behind vLLM, SGLang, llama.cpp, Ollama, ``transformers serve``.

    The model is asked for what the paper asks of a teacher: what was wrong, why, what to do instead, and the action. If its
    answer cannot be used (no answer, no JSON, wrong types, a refusal, an answer cut off), it is asked once more; after that
    the verdict is ``unknown``. Every verdict records what it cost.

    Args:
        model: Name of the model.
        base_url: Root of the API, e.g. ``http://localhost:8000/v1``; None means OpenAI's.
        prompts: Folder with prompt texts of your own: ``common.txt``, ``sciworld.txt``, ...
        most_actions: Most admissible actions that the model is told; the most relevant ones are chosen.
        privileged: Tell the model the oracle's plan, forbid it to reveal any of it, and check that it does not.
        **options: Options of ``ChatModel``: ``api_key_env``, ``temperature`` (0 by default; None leaves it to the server,
            because some models accept no other), ``top_p``, ``max_tokens`` (1024 by default; models that think aloud need
            more), ``timeout``, ``max_retries``, ``extra``.

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
        prompts: str | Path | None = None,
        most_actions: int = 60,
        privileged: bool = False,
        **options: Unpack[ChatOptions],
    ) -> None:
        chat = self._make_chat(model, base_url, ChatOptions(temperature=0.0, max_tokens=1024) | options)
        super().__init__(chat, prompts=prompts, most_actions=most_actions, privileged=privileged)
