"""The oracle of the shop: plans and thoughts for the running episode or a snapshot.

With ``expert="shortest"`` it knows the goal's product and asks the planner. With ``expert="explorer"`` it does what a
shopper would do that knows only what the pages have said. What that is, is computed from the actions of the episode, by
playing them again: keeping the shopper itself in the snapshots would make them large, and hard to check.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol, get_args

from typing_extensions import override

from step_envs.errors import unknown_name
from step_envs.oracle import Oracle, OracleEnv
from step_envs.snapshots import RestorePoint, Snapshot, snapshot_faults
from step_envs.webshop.engine import ShopEngine
from step_envs.webshop.expert import NO_LIMIT, ExplorerStep, Shopper, explore, look
from step_envs.webshop.planning.purchase_plan import PurchasePlanner
from step_envs.webshop.shop.actions import parse_action
from step_envs.webshop.shop.pages import BUY_NOW
from step_envs.webshop.shop.session_state import PlayedActions, SavedEpisode, ShopState
from step_envs.webshop.thoughts import describe, describe_blindly

ExpertName = Literal["shortest", "explorer"]

_INFORMATIVE = ("click[description]", "click[features]", "click[reviews]", "click[attributes]", "click[next >]")


class WebShopOracleEnv(OracleEnv, Protocol):
    """What the oracle needs of its environment; ``WebShopEnv`` has it."""

    @property
    def engine(self) -> ShopEngine:
        """The shop, with the running episode in it."""

    @property
    def history(self) -> PlayedActions:
        """How the running episode came to its state; it is recorded for ``expert="explorer"`` only."""

    @property
    def step_limit(self) -> int | None:
        """Steps after which an episode is truncated; None: never."""

    @property
    def steps_taken(self) -> int:
        """Steps of the running episode."""


class PlanningState(NamedTuple):
    """The state that the oracle plans from.

    Attributes:
        shop: The state of the shop, as ``ShopEngine.save`` returns it.
        history: How the episode came to it; ``expert="shortest"`` does not need it.
        steps: Steps taken so far.
    """

    shop: dict[str, Any]
    history: PlayedActions
    steps: int


class WebShopOracle(Oracle[PlanningState]):
    """Plans purchases in the shop of one environment.

    Args:
        env: The environment it belongs to.
        expert: ``"shortest"`` knows the goal's product and goes straight to it; ``"explorer"`` knows what the pages of the
            episode have said, and its plan is what it would do from here, if that ends with full marks.

    Raises:
        UnknownNameError: There is no such expert.
    """

    def __init__(self, env: WebShopOracleEnv, expert: ExpertName = "shortest") -> None:
        super().__init__(env)
        if expert not in get_args(ExpertName):
            raise unknown_name("expert", expert, get_args(ExpertName))
        self._world = env
        self._expert = expert
        self._planner = PurchasePlanner(env.engine)
        self._replay = _Replay(env.engine)

    def best_plan(
        self, snapshot: bytes | RestorePoint | None = None, *, after: Sequence[str] = ()
    ) -> tuple[list[str], float] | None:
        """Compute how to buy the target for the highest reward, also where full marks are out of reach.

        This is the planner's answer with any ``expert``.

        Args:
            snapshot: See ``plan``.
            after: See ``plan``.

        Returns:
            The actions and the reward, or None where the target cannot be bought.

        Raises:
            SnapshotError: The bytes are not a snapshot of this environment.
            gymnasium.error.ResetNeeded: No episode is running, and no snapshot was given.
        """
        if snapshot is None:
            self._world.require_episode("asking the oracle")
            return self._planner.best_plan(None, after)
        opened = self._world.open_snapshot(snapshot)
        with snapshot_faults():
            state = self._state_of(opened)
        return self._planner.best_plan(state.shop, after)

    @override
    def _state_now(self) -> PlanningState:
        world = self._world
        return PlanningState(world.engine.save(), world.history, world.steps_taken)

    @override
    def _state_of(self, snapshot: Snapshot) -> PlanningState:
        saved = SavedEpisode.from_json(snapshot.world, self._world.engine.catalogue)
        return PlanningState(saved.shop.to_json(), saved.history, snapshot.steps)

    @override
    def _plan(self, state: PlanningState, after: Sequence[str]) -> list[str] | None:
        if self._expert == "shortest":
            return self._planner.plan(state.shop, after)
        engine = self._world.engine.twin()
        engine.load(state.shop)
        history = state.history
        for action in after:
            engine.act(action)
            history = history.then(action)
        if engine.page.kind == "done":
            return [] if engine.page.reward == 1.0 else None
        shopper = self._replay.shopper_after(history, state.shop)
        return explore(engine, shopper, self._steps_left(state.steps + len(after)))

    @override
    def _next_action(self) -> str | None:
        if self._expert == "shortest":
            return super()._next_action()
        step = self._next_step(self._shopper_now())
        return None if step is None else step.action

    @override
    def _thought(self, action: str) -> str:
        if self._expert == "explorer":
            shopper = self._shopper_now()
            step, asked = self._next_step(shopper), parse_action(action)
            if step is not None and parse_action(step.action) == asked:
                return step.thought
            if asked == ("click", BUY_NOW.lower()):
                # ``describe`` would name the goal's attributes, which no page tells.
                return shopper.why_buy() if self._world.engine.page.kind == "item" else describe_blindly(action)
        return describe(self._world.engine, action)

    @override
    def _is_informative(self, action: str) -> bool:
        # Reading about a product is no mistake.
        return action.lower() in _INFORMATIVE

    def _shopper_now(self) -> Shopper:
        return self._replay.shopper_after(self._world.history, self._world.engine.save())

    def _next_step(self, shopper: Shopper) -> ExplorerStep | None:
        return shopper.next_step(self._steps_left(self._world.steps_taken))

    def _steps_left(self, steps: int) -> int:
        limit = self._world.step_limit
        return NO_LIMIT if limit is None else limit - steps


class _Replay:
    """Computes what a shopper knows in a state, by playing the episode again in a second engine.

    It keeps the episode it played last, so that after one more action only that one is played.
    """

    def __init__(self, engine: ShopEngine) -> None:
        self._engine = engine.twin()
        self._begun_with: tuple[Any, ...] = ()
        self._played: tuple[str, ...] = ()
        self._shopper = Shopper("")

    def shopper_after(self, history: PlayedActions, shop: dict[str, Any]) -> Shopper:
        """Return the shopper after the actions of an episode.

        Args:
            history: Its actions.
            shop: The state they led to, which names the goal and the visit.
        """
        begun_with = (history.start, shop["goal"], shop["session_id"])
        count = len(self._played)
        if begun_with != self._begun_with or history.actions[:count] != self._played:
            state = ShopState.from_json(shop, self._engine.catalogue)
            if history.start is None:
                self._engine.begin(state.goal, state.session_id)
            else:
                self._engine.load(history.start)
            self._shopper = Shopper(state.goal.instruction_text)
            look(self._shopper, self._engine)
            self._begun_with, count = begun_with, 0
        for action in history.actions[count:]:
            self._engine.act(action)
            look(self._shopper, self._engine, action)
        self._played = history.actions
        return self._shopper
