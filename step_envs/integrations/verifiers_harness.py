"""Asks the model for one reply to each user turn, in the process of verifiers.

In verifiers a harness is the program that turns a conversation into model calls. The one for plain chats, ``null``, runs in
a process of its own, which needs the tool uv and is started anew for every turn: more than a second of processor time. An
episode of a world has dozens of turns, each with one model call and nothing else to run, so this harness makes the call
itself, in milliseconds. The call goes to the endpoint that verifiers names, as that of every harness does, so traces,
limits and training see it alike.
"""

from typing import Any

from step_envs.errors import missing_package

try:
    import httpx
    import verifiers.v1 as vf
    from openai import APIStatusError, AsyncOpenAI
    from verifiers.v1.dialects.chat import message_to_wire
    from verifiers.v1.harnesses.utils.compaction import is_context_overflow
except ModuleNotFoundError as error:
    raise missing_package("verifiers", "The adapter for verifiers", "verifiers") from error


class ReplyHarness(vf.Harness[vf.HarnessConfig]):  # type: ignore[misc]  # verifiers is not followed by the type checker
    """Asks for one reply, and offers the task's tools if it has some.

    A conversation that is too long for the model ends the episode, as in our own evaluation; it is no error.
    """

    APPENDS_SYSTEM_PROMPT = True
    SUPPORTS_RESUME = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: vf.TaskData,
    ) -> vf.ProgramResult:
        """Ask the model for its reply to a conversation, ``data.prompt``."""
        system, prompt = self.resolve_prompt(data)
        messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
        if isinstance(prompt, str):
            messages.append({"role": "user", "content": prompt})
        else:
            messages.extend(message_to_wire(message) for message in prompt or ())
        body: dict[str, Any] = {"model": ctx.model, "messages": messages}
        if tools := getattr(data, "tools", None):
            body["tools"] = tools
        # To load certificates takes longer than a step of a world, and the endpoint is mostly on this machine.
        http_client = httpx.AsyncClient(verify=endpoint.startswith("https"))
        timeout = httpx.Timeout(None, connect=5.0)
        async with AsyncOpenAI(base_url=endpoint, api_key=secret, timeout=timeout, http_client=http_client) as client:
            try:
                # The client's retries, without its look at every message: that takes 40 ms in a long conversation.
                await client.post("/chat/completions", body=body, cast_to=httpx.Response)
            except APIStatusError as error:
                if not is_context_overflow(error):
                    raise
        return vf.ProgramResult(exit_code=0, stdout="", stderr="")
