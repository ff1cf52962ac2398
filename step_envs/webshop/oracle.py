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
from step_envs.webshop.brief_texts import WebShopBriefTexts, name_product, number_product
from step_envs.webshop.engine import ShopEngine
from step_envs.webshop.expert import NO_LIMIT, ExplorerStep, Shopper, explore
from step_envs.webshop.planning.purchase_plan import PurchasePlanner
from step_envs.webshop.shop.actions import parse_action
from step_envs.webshop.shop.pages import BUY_NOW
from step_envs.webshop.shop.session_state import PlayedActions, SavedEpisode, ShopState
from step_envs.webshop.thoughts import describe, describe_blindly, describe_briefly

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
        texts: Brief texts of the shop; the oracle then reads brief pages, and names products and its reasons as they do.

    Raises:
        UnknownNameError: There is no such expert.
    """

    def __init__(
        self, env: WebShopOracleEnv, expert: ExpertName = "shortest", texts: WebShopBriefTexts | None = None
    ) -> None:
        super().__init__(env)
        if expert not in get_args(ExpertName):
            raise unknown_name("expert", expert, get_args(ExpertName))
        self._world = env
        self._expert = expert
        self._texts = texts
        self._planner = PurchasePlanner(env.engine)
        self._replay = _Replay(env.engine, texts)

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
            state = self._state_now()
        else:
            opened = self._world.open_snapshot(snapshot)
            with snapshot_faults():
                state = self._state_of(opened)
        done = self._in_full(state, after)
        best = self._planner.best_plan(state.shop, done)
        return None if best is None else (self._in_brief(state, done, best[0]), best[1])

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
        done = self._in_full(state, after)
        plan = self._planner.plan(state.shop, done) if self._expert == "shortest" else self._explorer_plan(state, done)
        return None if plan is None else self._in_brief(state, done, plan)

    def _explorer_plan(self, state: PlanningState, after: Sequence[str]) -> list[str] | None:
        engine, history = self._engine_in(state), state.history
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
        if step is None or self._texts is None:
            return None if step is None else step.action
        return self._texts.to_brief(step.action)

    @override
    def _thought(self, action: str) -> str:
        texts, engine = self._texts, self._world.engine
        if texts is not None:
            action = texts.to_engine(action)
        if self._expert == "explorer":
            shopper = self._shopper_now()
            step, asked = self._next_step(shopper), parse_action(action)
            if step is not None and parse_action(step.action) == asked:
                return step.thought
            if asked == ("click", BUY_NOW.lower()):
                # ``describe`` would name the goal's attributes, which no page tells.
                if engine.page.kind == "item":
                    return shopper.why_buy()
                if texts is None:
                    return describe_blindly(action)
        if texts is not None:
            return describe_briefly(texts.instruction(engine.goal.instruction_text), texts.to_brief(action))
        return describe(engine, action)

    @override
    def _is_informative(self, action: str) -> bool:
        # Reading about a product is no mistake.
        return action.lower() in _INFORMATIVE

    def _in_full(self, state: PlanningState, actions: Sequence[str]) -> Sequence[str]:
        """Return actions from a state as the shop knows them: a brief number means a product of the page it is seen on."""
        if self._texts is None or not actions:
            return actions
        engine, named = self._engine_in(state), list[str]()
        for action in actions:
            named.append(name_product(engine.page, action))
            engine.act(named[-1])
        return named

    def _in_brief(self, state: PlanningState, done: Sequence[str], plan: list[str]) -> list[str]:
        """Return a plan from a state, after some more actions, as the brief pages on its way name things."""
        if self._texts is None:
            return plan
        engine, numbered = self._engine_in(state), list[str]()
        for action in done:
            engine.act(action)
        for action in plan:
            numbered.append(number_product(engine.page, action))
            engine.act(action)
        return numbered

    def _engine_in(self, state: PlanningState) -> ShopEngine:
        engine = self._world.engine.twin()
        engine.load(state.shop)
        return engine

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

    def __init__(self, engine: ShopEngine, texts: WebShopBriefTexts | None) -> None:
        self._engine = engine.twin()
        self._texts = texts
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
            self._shopper = Shopper(state.goal.instruction_text, texts=self._texts)
            self._shopper.look(self._engine)
            self._begun_with, count = begun_with, 0
        for action in history.actions[count:]:
            self._engine.act(action)
            self._shopper.look(self._engine, action)
        self._played = history.actions
        return self._shopper
