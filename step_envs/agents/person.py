"""A person at the terminal as an agent."""

import gymnasium as gym
from rich.console import Console
from rich.text import Text
from typing_extensions import override

from step_envs.agents.base import Agent, Reply, react_reply, world_of
from step_envs.wrappers.reply import parse_action

HELP = """\
Type an action, or a whole reply with "Thought: ..." and "Action: ...".
/actions  what the world would accept now      /hint  what the oracle would do
/task     the task again                       /quit  give the episode up"""


class PersonAgent(Agent):
    """Asks a person for every action; end of input or ``/quit`` gives the episode up.

    Args:
        console: Where to print and read; None means the terminal.
    """

    name = "person"

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(emoji=False)

    @override
    def act(self, env: gym.Env[str, str]) -> Reply | None:
        """Show the last message and read a reply."""
        messages = env.get_wrapper_attr("messages")
        self._console.print(Text(messages[-1]["content"], style="cyan"))
        while True:
            try:
                line = self._console.input("[bold]> [/bold]").strip()
            except EOFError:
                return None
            if line == "/quit":
                return None
            if not line.startswith("/"):
                # A line is taken as an action, unless it is a whole reply already.
                return Reply(line.replace("\\n", "\n")) if parse_action(line) else react_reply("...", line)
            self._console.print(Text(self._answer_command(env, line), style="yellow"))

    def _answer_command(self, env: gym.Env[str, str], command: str) -> str:
        world = world_of(env)
        if command == "/actions":
            return "\n".join(world.admissible_actions())
        if command == "/hint":
            action = world.oracle.next_action()
            return (
                "The oracle knows no way from here."
                if action is None
                else f"{world.oracle.thought(action)} -> {action}"
            )
        if command == "/task":
            messages: list[dict[str, str]] = env.get_wrapper_attr("messages")
            return next(message["content"] for message in messages[1:] if message["role"] == "user")
        return HELP
