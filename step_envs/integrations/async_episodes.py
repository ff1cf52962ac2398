"""Play episodes in an event loop of asyncio without holding it up, also when they are cancelled.

Steps of a world block, so they run in threads. A thread cannot be cancelled: a cancelled episode frees its environment only
after the running step has ended, because another episode may take it at once.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from step_envs.integrations.chat_tasks import ChatEpisode, ChatTasks

Result = TypeVar("Result")


@asynccontextmanager
async def async_episode(tasks: ChatTasks, task_id: str, *, agent: str) -> AsyncIterator[ChatEpisode]:
    """Begin an episode in a thread, and close it at the end.

    Args:
        tasks: The tasks.
        task_id: The task; see ``ChatTasks.begin``.
        agent: Who will reply, for the record.

    Raises:
        UnknownNameError: There is no such task.
    """
    begun: list[ChatEpisode] = []
    try:
        # An episode that has begun when the wait for it is cancelled is closed, too.
        await in_thread(lambda: begun.append(tasks.begin(task_id, agent=agent)))
        yield begun[0]
    finally:
        for episode in begun:
            episode.close()


async def in_thread(function: Callable[..., Result], *arguments: Any) -> Result:
    """Run a function in a thread, and return only after it has ended, even if cancelled."""
    running = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        running.exception()  # so that asyncio does not report it as lost
        raise cancelled
    return running.result()
