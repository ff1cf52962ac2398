"""``STeP-Remote-v0``: an environment whose world runs on a server, and that is used like any other.

The server keeps only the world. ``TextEnv`` in this process does the rest, as it does for local environments: it picks the
task for a seed, counts steps, sets the limit, computes rewards, and frames snapshots. So a served environment gives the
same bytes as a local one.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Literal

from typing_extensions import override

from step_envs.core import ReActFormat, TextEnv, WorldState
from step_envs.errors import RemoteError
from step_envs.oracle import Oracle
from step_envs.registration import known_class
from step_envs.serve.connection import Connection
from step_envs.serve.protocol import PROTOCOL
from step_envs.snapshots import Snapshot, write_snapshot
from step_envs.spaces import require_text
from step_envs.tasks import TaskSet

_TRAITS_OF_ACTIONS = ("verb_of", "is_move", "takes_back", "vaguer")
"""What a world's class says of the text of an action."""
_BEFORE_ANYTHING = WorldState("", 0.0, success=False, done=False)


class RemoteTasks(TaskSet):
    """The tasks of a served environment; the server is asked for each list and each task once.

    Args:
        connection: To the server.
        env: Id of the environment there.
        options: What it would be made with.
    """

    def __init__(self, connection: Connection, env: str, options: Mapping[str, Any]) -> None:
        self._connection = connection
        self._world = {"env": env, "options": dict(options)}
        self.about = connection.call("POST", "/v1/worlds", self._world)
        if self.about.get("protocol") != PROTOCOL:
            raise RemoteError(
                f"The server at {connection.url} speaks {self.about.get('protocol')!r}, this client {PROTOCOL!r}: "
                "install the same version of step-envs on both sides."
            )
        self.splits = tuple(self.about["splits"])
        self.types = tuple(self.about["types"])
        self._lists: dict[str, tuple[str, ...]] = {}
        self._known: dict[str, dict[str, Any]] = {}

    def named(self, split: str) -> str:
        """Return a split's own name: ``default`` is the one that the environment plays by default."""
        default: str = self.about["default_split"]
        return default if split == RemoteEnv.default_split and split not in self.splits else split

    @override
    def ids(self, split: str) -> Sequence[str]:
        if split not in self._lists:
            self._lists[split] = self._ask(split, None)
        return self._lists[split]

    @override
    def select(self, split: str, task_types: Sequence[str] | None = None) -> Sequence[str]:
        split = self.named(split)
        if task_types is None:
            return self.ids(split)
        if isinstance(task_types, str):
            raise TypeError(f"task_types takes a list of names, got the single string {task_types!r}.")
        return self._ask(split, task_types)

    @override
    def split_of(self, task_id: str) -> str:
        return str(self._task(task_id)["split"])

    @override
    def type_of(self, task_id: str) -> str:
        return str(self._task(task_id)["type"])

    @override
    def max_steps(self, task_id: str) -> int | None:
        limit: int | None = self._task(task_id)["max_steps"]
        return limit

    def _ask(self, split: str, task_types: Sequence[str] | None) -> tuple[str, ...]:
        wanted = {"split": split, "task_types": None if task_types is None else list(task_types)}
        return tuple(self._connection.call("POST", "/v1/tasks", self._world | wanted)["ids"])

    def _task(self, task_id: str) -> dict[str, Any]:
        require_text(task_id, "A task id")
        if task_id not in self._known:
            self._known[task_id] = self._connection.call("POST", "/v1/task", self._world | {"task_id": task_id})
        return self._known[task_id]


class RemoteEnv(TextEnv):
    """An environment on a server that ``step-envs serve`` started.

    It is that environment in all respects: ``env_id``, prompts, tasks, oracle and snapshots are the other's own, and a
    snapshot can be taken here and restored there. When the session is lost (expired, or the server was started anew), the
    running episode is, too: the call raises ``RemoteError`` and the next ``reset`` begins in a new session.

    Args:
        url: Address of the server.
        env: Id of the environment to play there.
        token: What the server was started with; None takes the environment variable ``STEP_ENVS_SERVE_TOKEN``. It is kept
            out of records; the variable keeps it out of ``env.spec`` as well.
        timeout: Seconds in which an answer must be whole.
        retries: How often a request is sent again after a fault of the line; no step is ever carried out twice.
        split: As the environment's; ``"default"`` is its own default.
        task_types: See ``TextEnv``.
        max_steps: See ``TextEnv``.
        admissible_actions: See ``TextEnv``.
        render_mode: See ``TextEnv``.
        **options: Further arguments of the environment there, as JSON values.

    Raises:
        RemoteError: The server cannot be reached or refuses.
        UnknownNameError: Environment, split, type or option does not exist there.
    """

    env_id: ClassVar[str] = "STeP-Remote-v0"
    default_split: ClassVar[str] = "default"
    react: ReActFormat = ReActFormat(manual="")
    waits_outside_python: ClassVar[bool] = True
    secret_options: ClassVar[tuple[str, ...]] = ("token",)

    def __init__(
        self,
        *,
        url: str,
        env: str,
        token: str | None = None,
        timeout: float = 120.0,
        retries: int = 4,
        split: str = "default",
        task_types: Sequence[str] | None = None,
        max_steps: int | Literal["eto"] | None = "eto",
        admissible_actions: bool = False,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        self._connection = Connection(url, token, timeout, retries)
        tasks = RemoteTasks(self._connection, env, options)
        super().__init__(
            tasks,
            split=tasks.named(split),
            task_types=task_types,
            max_steps=max_steps,
            admissible_actions=admissible_actions,
            render_mode=render_mode,
        )
        about = tasks.about
        # What a class says of its world is here known only once the server has been asked.
        vars(self).update(
            env_id=about["env_id"],
            default_split=about["default_split"],
            react=ReActFormat(**about["react"]),
            max_errors=about["max_errors"],
            reset_options=tuple(about["reset_options"]),
        )
        # Verbs and moves follow from the text of an action alone. Agents ask about every admissible action, so a request
        # for each would be slow.
        served = known_class(about["env_id"])
        if not issubclass(served, RemoteEnv):
            vars(self).update({name: getattr(served, name) for name in _TRAITS_OF_ACTIONS})
        # The limit is kept here; a server that kept it, too, would end episodes that were put back by restore().
        self._wanted = {"env": env, "options": options | {"max_steps": None, "admissible_actions": admissible_actions}}
        self._session: str | None = None
        self._calls = 0
        self._last: dict[str, Any] = {}
        self._oracle = RemoteOracle(self)
        self._open_session()

    @classmethod
    def task_set(cls, **kwargs: Any) -> RemoteTasks:
        """Ask the server for its tasks; takes the arguments of the environment."""
        missing = [name for name in ("url", "env") if name not in kwargs]
        if missing:
            raise ValueError(f"{cls.env_id} needs {' and '.join(missing)}: where the server is and what to play there.")
        about_line = {name: kwargs.pop(name) for name in ("url", "token", "timeout", "retries") if name in kwargs}
        return RemoteTasks(Connection(**about_line), kwargs.pop("env"), kwargs)

    @property
    def oracle(self) -> "RemoteOracle":
        """The oracle on the server."""
        return self._oracle

    def provenance(self) -> dict[str, str]:
        """Return the provenance that the environment on the server reports."""
        return dict(self.ask("GET", "provenance")["provenance"])

    def _accepts(self, action: str) -> bool:
        return bool(self.ask("POST", "accepts", {"action": action})["accepts"])

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request to the session.

        Raises:
            RemoteError: The server cannot be reached or has lost the session.
        """
        if self._session is None:
            raise RemoteError(f"The session at {self._connection.url} is lost: call reset() to begin in a new one.")
        return self._connection.call(method, f"/v1/sessions/{self._session}/{path}", body)

    def close(self) -> None:
        """End the session."""
        session, self._session = self._session, None
        if session is not None:
            # A server that is gone, or has closed the session by itself, leaves nothing to be closed.
            with suppress(RemoteError):
                self._connection.call("DELETE", f"/v1/sessions/{session}")
        self._connection.close()
        super().close()

    def _open_session(self) -> None:
        # A key, so that a request which is sent again does not open a second one.
        answer = self._connection.call("POST", "/v1/sessions", self._wanted | {"key": uuid.uuid4().hex})
        self._session, self._calls = str(answer["session"]), 0

    def _change(self, what: str, body: dict[str, Any]) -> WorldState:
        self._calls += 1
        try:
            answer = self.ask("POST", what, {"call": self._calls, **body})
        except RemoteError:
            # Whether it was carried out is not known: nothing can be built on this session any more.
            self._session = None
            raise
        self._last = answer
        info = answer["info"]
        return WorldState(
            observation=answer["observation"],
            score=info["score"],
            success=info["success"],
            done=answer["terminated"],
            valid_action=info["valid_action"],
            details=info["details"],
        )

    def _begin(self, task_id: str, options: Mapping[str, Any]) -> WorldState:
        return self._afresh("reset", {"options": {**options, "task_id": task_id}})

    def _afresh(self, what: str, body: dict[str, Any]) -> WorldState:
        """Make a call that does not depend on the session's past, so that a new session can answer it too."""
        if self._session is not None:
            with suppress(RemoteError):
                return self._change(what, body)
        self._open_session()
        return self._change(what, body)

    def _act(self, action: str) -> WorldState:
        return self._change("step", {"action": action})

    def _instruction(self) -> str:
        return str(self._last["info"]["instruction"])

    def _out_of_time(self) -> bool:
        return bool(self._last["truncated"])

    def _admissible(self) -> Sequence[str]:
        listed = self._last["info"].get("admissible_actions")
        return tuple(self.ask("GET", "admissible")["admissible_actions"] if listed is None else listed)

    def _save(self) -> Any:
        return json.loads(self.ask("GET", "snapshot")["snapshot"])["world"]

    def _load(self, task_id: str, saved: Any) -> None:
        # Steps and score are kept here; the server only has to bring its world to the state.
        snapshot = write_snapshot(Snapshot(task_id, 0, _BEFORE_ANYTHING, saved), self.env_id)
        self._afresh("restore", {"snapshot": snapshot.decode()})


class RemoteOracle(Oracle[str | None]):
    """The oracle of a served environment.

    Args:
        env: The environment it belongs to.
    """

    def __init__(self, env: RemoteEnv) -> None:
        super().__init__(env)
        self._remote = env

    def _state_now(self) -> str | None:
        return None  # the session on the server is in it

    def _state_of(self, snapshot: Snapshot) -> str | None:
        return write_snapshot(snapshot, self._remote.env_id).decode()

    def _plan(self, state: str | None, after: Sequence[str]) -> list[str] | None:
        plan: list[str] | None = self._ask("plan", snapshot=state, after=list(after))
        return plan

    def _next_action(self) -> str | None:
        action: str | None = self._ask("next_action")
        return action

    def _thought(self, action: str) -> str:
        return str(self._ask("thought", action=action))

    def _is_informative(self, action: str) -> bool:
        return bool(self._ask("is_informative", action=action))

    def _ask(self, question: str, **further: Any) -> Any:
        return self._remote.ask("POST", "oracle", {"question": question, **further})["answer"]
