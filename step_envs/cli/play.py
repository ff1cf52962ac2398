"""``step-envs play``: play one episode at the terminal, or watch an agent play it."""

import secrets
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import gymnasium as gym
import typer

from step_envs.cli.exit_codes import INTERRUPTED
from step_envs.cli.options import Env, Split

if TYPE_CHECKING:
    from rich.console import Console

    from step_envs.trajectory import Trajectory


def play(
    env: Env = "STeP-SciWorld-v0",
    split: Split = None,
    task: Annotated[str | None, typer.Option(help="Task id; picked by the seed if not given.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Picks the task; random if not given.")] = None,
    agent: Annotated[
        str, typer.Option(help="Who plays: person, oracle, random, novice; options as in novice:error_rate=0.3.")
    ] = "person",
    teacher: Annotated[str, typer.Option(help="Who judges and corrects: oracle, or none.")] = "none",
    max_steps: Annotated[int | None, typer.Option(min=1, help="Step limit; the task's own if not given.")] = None,
    delay: Annotated[float, typer.Option(min=0, help="Seconds to wait between the steps of an agent.")] = 0.0,
    out: Annotated[
        Path | None,
        typer.Option(help="Add the trajectory to this .jsonl file, or to trajectories.jsonl in this folder."),
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="No colour.")] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the trajectory as JSON at the end; all else goes to standard error."),
    ] = False,
) -> None:
    """Play one episode: type actions, or watch an agent.

    A person types one action per line. /actions lists what the world accepts, /hint asks the oracle, /task shows the task
    again, /quit gives up. With a teacher, a wrong step is judged and corrected before your next turn.

    Exit codes: 0 played, whatever the outcome; 2 wrong input; 130 interrupted.

    Example: step-envs play --task boil/3

    Example: step-envs play --agent novice --teacher oracle --out runs/watched
    """
    from rich.console import Console

    from step_envs.agents.base import make_agent
    from step_envs.agents.person import PersonAgent
    from step_envs.collection.rollouts import rollout
    from step_envs.store import TrajectoryStore

    console = Console(emoji=False, stderr=as_json, highlight=False, color_system=None if plain else "auto")
    actor = PersonAgent(console) if agent == "person" else make_agent(agent)
    is_person = isinstance(actor, PersonAgent)
    interrupted = False
    with ExitStack() as stack:
        # Open the file first: the user should learn that it cannot be written before the episode, not after it.
        store = stack.enter_context(TrajectoryStore(_file(out))) if out is not None else None
        display = _EpisodeDisplay(_recorded(env, split, max_steps, teacher), console, is_person=is_person, delay=delay)
        stack.callback(display.close)
        try:
            # Always set a seed, so that the record shows how to repeat the episode.
            trajectory = rollout(display, actor, seed=secrets.randbelow(2**31) if seed is None else seed, task_id=task)
        except KeyboardInterrupt:
            interrupted = True
            display.get_wrapper_attr("recorder").stop()
            trajectory = display.get_wrapper_attr("trajectory")
        if store is not None:
            store.append(trajectory)
    _show_end(console, trajectory)
    if out is not None:
        console.print(f"Added to {_file(out)}. Look at it: step-envs view {out}", markup=False, soft_wrap=True)
    if as_json:
        typer.echo(trajectory.to_json())
    if interrupted:
        raise typer.Exit(INTERRUPTED)


def _file(out: Path) -> Path:
    from step_envs.errors import StoreError

    if out.suffix == ".jsonl":
        return out
    if (out / "config.json").exists():
        raise StoreError(f"{out} is the folder of a collection: name another one.")
    return out / "trajectories.jsonl"


def _recorded(env: str, split: str | None, max_steps: int | None, teacher: str) -> gym.Env[str, str]:
    from step_envs.cli.inputs import world
    from step_envs.wrappers import ReActWrapper, RecordTrajectory, TeacherMonitorWrapper

    world(env)  # raises an error if there is no such environment
    options: dict[str, Any] = {}
    if split is not None:
        options["split"] = split
    if max_steps is not None:
        options["max_steps"] = max_steps
    if teacher == "none":
        return RecordTrajectory(ReActWrapper(gym.make(env, **options)))
    from step_envs.wrappers.teachers.making import make_teacher

    taught = make_teacher(teacher)
    return TeacherMonitorWrapper(ReActWrapper(gym.make(env, **options)), taught)


class _EpisodeDisplay(gym.Wrapper[str, str, str, str]):
    """Shows every turn when it is written; to a person, only turns that the person has not typed and will not see next."""

    def __init__(self, env: gym.Env[str, str], console: "Console", *, is_person: bool, delay: float) -> None:
        from step_envs.wrappers.react import react_wrapper

        super().__init__(env)
        self._console = console
        self._is_person = is_person
        self._delay = delay
        self._chat = react_wrapper(env, "play")
        self._shown = self._replies = 0

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation as an agent sees it; for a person, without characters that would control the terminal."""
        messages: list[dict[str, str]] = self.env.get_wrapper_attr("messages")
        if not self._is_person:
            return messages
        from step_envs.cli.render import visible

        return [message | {"content": visible(message["content"])} for message in messages]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        task, info = self.env.reset(seed=seed, options=options)
        from rich.text import Text

        from step_envs.agents.person import HELP
        from step_envs.cli.render import visible

        title = f"{visible(info['task_id'])} · split {visible(info['split'])}"
        self._console.print(Text(title, style="bold"))
        if self._is_person:
            self._console.print(Text(HELP, style="dim"))
        self._shown, self._replies = len(self._chat.conversation.turns) - (not self._is_person), 0
        self._show(over=False)
        return task, info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._show(over=terminated or truncated)
        if self._delay and not self._is_person:
            time.sleep(self._delay)
        return observation, float(reward), terminated, truncated, info

    def _show(self, *, over: bool) -> None:
        from step_envs.cli.render import turn_lines

        turns = self._chat.conversation.turns
        new = turns[self._shown :]
        self._shown, before = len(turns), self._replies
        self._replies += sum(turn.role == "assistant" for turn in new)
        if self._is_person:
            if not over:
                new = new[:-1]  # shown to the person with the question for the next action
            if new and new[0].role == "assistant" and new[0].kind != "error":
                new, before = new[1:], before + 1
        if new:
            self._console.print(turn_lines(new, step=before))


def _show_end(console: "Console", trajectory: "Trajectory") -> None:
    from rich.text import Text

    from step_envs.cli.render import count, outcome_text

    console.print(
        Text.assemble(
            "\n", outcome_text(trajectory), f" · score {trajectory.score:.2f} · {count(trajectory.steps, 'step')}"
        )
    )
