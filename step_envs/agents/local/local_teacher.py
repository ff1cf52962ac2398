"""A checkpoint on this machine as a teacher, without a server."""

from pathlib import Path

from step_envs.agents.local.agent import check_sampling
from step_envs.errors import missing_package
from step_envs.wrappers.teachers.model_teacher import ModelTeacher


class LocalTeacher(ModelTeacher):
    """Has a Hugging Face checkpoint judge each step, in this process.

    An agent that names the same checkpoint shares the loaded model with it. The teacher ``self`` does the same with the
    agent's own sampling.

    Args:
        model: Folder of a checkpoint with a chat template, or name of one in the Hugging Face cache.
        prompts: Folder with prompt texts of your own; see ``OpenAITeacher``, as for the next two.
        most_actions: Most admissible actions that the model is told.
        privileged: Tell the model the oracle's plan.
        temperature: Sampling temperature.
        top_p: Nucleus sampling.
        seed: Seed of the sampling.
        max_tokens: Most tokens of a verdict.
        context: Most tokens of a question with its verdict; None uses the checkpoint's own limit.
        device: ``"auto"`` means a GPU if there is one; else a device name of torch.
        dtype: ``"auto"`` means ``"bfloat16"`` on a GPU that supports it, else ``"float32"``.
        download: Download the checkpoint if it is not on this machine.

    Raises:
        DependencyNotInstalled: torch or transformers is not installed.
        DataError: The checkpoint does not exist or cannot be read, or ``prompts`` is no folder of prompts.
        ValueError: An argument has an impossible value.
    """

    name = "local"

    def __init__(
        self,
        model: str,
        *,
        prompts: str | Path | None = None,
        most_actions: int = 60,
        privileged: bool = False,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        max_tokens: int = 1024,
        context: int | None = None,
        device: str = "auto",
        dtype: str = "auto",
        download: bool = False,
    ) -> None:
        check_sampling(temperature=temperature, top_p=top_p, max_tokens=max_tokens, context=context, seed=seed)
        try:
            from step_envs.agents.local.local_chat import LocalChat
            from step_envs.agents.local.shared import shared_batcher
        except ModuleNotFoundError as error:
            raise missing_package(error.name or "torch", "LocalTeacher", "train") from error
        batcher = shared_batcher(str(model), device, dtype, download=download)
        chat = LocalChat(
            batcher, temperature=temperature, top_p=top_p, seed=seed, max_tokens=max_tokens, context=context
        )
        super().__init__(chat, prompts=prompts, most_actions=most_actions, privileged=privileged)
