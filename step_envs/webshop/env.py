"""The shop behind the contract: ``STeP-WebShop-v0``."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from step_envs.core import TextEnv, WorldState
from step_envs.errors import unknown_name
from step_envs.oracle import Oracle
from step_envs.snapshots import Snapshot, snapshot_faults
from step_envs.tasks import TaskSet
from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.goals import Goal, GoalKind
from step_envs.webshop.catalogue.sources import DEFAULT_SIZE, open_catalogue
from step_envs.webshop.engine import ShopEngine
from step_envs.webshop.planning.purchase_plan import ShopOracle
from step_envs.webshop.prompt import REACT
from step_envs.webshop.shop.instruction_parser import search_words
from step_envs.webshop.shop.noun_tagger import NounChoice
from step_envs.webshop.shop.pages import ObservationMode
from step_envs.webshop.shop.session_state import Outcome, Visit
from step_envs.webshop.site.env import WebShopSiteEnv
from step_envs.webshop.tasks import WebShopTasks

BACKENDS = ("local", "http")
_LET_GO = ("tasks", "_shop_tasks", "_task_ids", "_split_ids", "_engine", "_oracle")
"""What holds on to the catalogue."""

_INFORMATIVE = ("click[description]", "click[features]", "click[reviews]", "click[attributes]", "click[next >]")


class WebShopEnv(TextEnv):
    """The WebShop of Yao et al. (2022), without Java, Lucene, Flask or spaCy.

    ``score`` is the reward of the purchase, ``success`` full marks. ``details`` holds the visit under the original's names
    (``page``, ``asin``, ``options``, ``keywords``, ``result_page``), and after a purchase ``reward_info`` with every
    component, ``price`` and ``nouns``, the tagger that was used.

    With ``backend="http"`` it is a running original site instead, and takes the arguments of ``WebShopSiteEnv``.

    Args:
        backend: ``"local"`` or ``"http"``.
        data_path: Folder of a catalogue that ``step-envs data webshop`` made; None takes ``WEBSHOP_DATA``, else a catalogue
            made here by seed.
        goals: ``"human"``, ``"synthetic"``, or ``"auto"`` for human ones where there are enough for every split.
        split: ``train``, ``eval`` or ``test``, the original's own; on the full catalogue also ``eto_train`` (without the 21
            goals that are in ETO's test list too) and ``eto_test``.
        task_types: Departments to shop in; None means all.
        observation_mode: ``"text"``, ``"text_rich"``, ``"html"`` or ``"url"``.
        nouns: Finds the nouns in titles for the reward: ``"default"``, ``"spacy"`` or a function.
        strict: As the original, faults included; see ``ShopEngine``.
        show_attrs: Offer each product's page of attributes.
        num_prev_obs: How many earlier observations to put before each one.
        num_prev_actions: How many earlier actions to put before each one.
        size: Products in the catalogue made by seed.
        catalogue_seed: Its seed.
        max_steps: See ``TextEnv``; the ETO protocol's limit is 10.
        admissible_actions: See ``TextEnv``.
        render_mode: See ``TextEnv``.

    Raises:
        DataError: Data that was named is not there.
        UnknownNameError: A split, department, mode or tagger does not exist.
    """

    env_id: ClassVar[str] = "STeP-WebShop-v0"
    default_split: ClassVar[str] = "train"
    react = REACT
    max_errors: ClassVar[int] = 1
    reset_options: ClassVar[tuple[str, ...]] = ("task_id", "goal")
    more_options: ClassVar[tuple[str, ...]] = ("site_url", "site_goals", "site_timeout")
    host_options: ClassVar[tuple[str, ...]] = ("data_path", "backend", "size", *more_options)

    def __new__(cls, *, backend: str = "local", **kwargs: Any) -> Any:
        """Make the environment that the backend asks for."""
        if backend not in BACKENDS:
            raise unknown_name("backend", backend, BACKENDS)
        return WebShopSiteEnv(**kwargs) if backend == "http" else super().__new__(cls)

    def __init__(
        self,
        *,
        backend: str = "local",
        data_path: str | os.PathLike[str] | None = None,
        goals: GoalKind | Literal["auto"] = "auto",
        split: str = "train",
        task_types: Sequence[str] | None = None,
        observation_mode: ObservationMode = "text",
        nouns: NounChoice = "default",
        strict: bool = True,
        show_attrs: bool = False,
        num_prev_obs: int = 0,
        num_prev_actions: int = 0,
        size: int = DEFAULT_SIZE,
        catalogue_seed: int = 0,
        max_steps: int | Literal["eto"] | None = "eto",
        admissible_actions: bool = False,
        render_mode: str | None = None,
    ) -> None:
        self._shop_tasks = self._catalogue_tasks(
            data_path=data_path, goals=goals, size=size, catalogue_seed=catalogue_seed
        )
        super().__init__(
            self._shop_tasks,
            split=split,
            task_types=task_types,
            max_steps=max_steps,
            admissible_actions=admissible_actions,
            render_mode=render_mode,
        )
        self._engine = ShopEngine(
            self._shop_tasks.catalogue,
            observation_mode=observation_mode,
            nouns=nouns,
            strict=strict,
            show_attrs=show_attrs,
            num_prev_obs=num_prev_obs,
            num_prev_actions=num_prev_actions,
        )
        self._split_ids = self._shop_tasks.ids(split)
        self._oracle = WebShopOracle(self)
        self._provenance = self._provenance_now()
        self._score = 0.0
        self._own_goal = False
        self._last_type = ""

    @classmethod
    def task_set(cls, **kwargs: Any) -> TaskSet:
        """Find the tasks of the catalogue that the arguments name, or number those of a site."""
        if kwargs.get("backend", "local") == "http":
            return WebShopSiteEnv.task_set(**kwargs)
        return cls._catalogue_tasks(**kwargs)

    @classmethod
    def _catalogue_tasks(cls, **kwargs: Any) -> WebShopTasks:
        catalogue = open_catalogue(
            kwargs.get("data_path"), size=kwargs.get("size", DEFAULT_SIZE), seed=kwargs.get("catalogue_seed", 0)
        )
        return WebShopTasks(catalogue, kwargs.get("goals", "auto"))

    @property
    def engine(self) -> ShopEngine:
        """The shop itself."""
        self._require_open()
        return self._engine

    @property
    def catalogue(self) -> Catalogue:
        """What is sold."""
        return self.engine.catalogue

    @property
    def oracle(self) -> "WebShopOracle":
        """The oracle, which computes plans from the current state to success."""
        self._require_open()
        return self._oracle

    def available_actions(self) -> dict[str, Any]:
        """Tell what can be done, in the original's form: ``has_search_bar`` and ``clickables``."""
        return self.engine.available_actions()

    def _accepts(self, action: str) -> bool:
        # The list names one search; any words can be searched for.
        return self.engine.accepts(action)

    def provenance(self) -> dict[str, str]:
        """Name the catalogue, its digest and the tagger."""
        return dict(self._provenance)

    def _task_type(self, task_id: str) -> str:
        # A closed environment still knows the type of the task it played last: the record of that episode needs it.
        if self._closed and task_id == self._task_id:
            return self._last_type
        self._require_open()
        return super()._task_type(task_id)

    def close(self) -> None:
        """See ``TextEnv``: the catalogue is let go with the last open environment that plays in it."""
        if not self._closed:
            self._last_type = self._shop_tasks.type_of(self._task_id) if self._task_id else ""
            for name in _LET_GO:
                delattr(self, name)
        super().close()

    def _provenance_now(self) -> dict[str, str]:
        manifest = json.dumps(self.catalogue.manifest, sort_keys=True).encode()
        return {
            "webshop_catalogue": self.catalogue.name,
            "webshop_catalogue_manifest": f"sha256:{hashlib.sha256(manifest).hexdigest()}",
            "webshop_nouns": self._engine.nouns_name,
            "webshop_strict": str(self._engine.strict).lower(),
        }

    def _begin(self, task_id: str, options: Mapping[str, Any]) -> WorldState:
        given = options.get("goal")
        self._own_goal = given is not None
        goal = self._shop_tasks.goal(task_id) if given is None else Goal.from_dict(given)
        self._score = 0.0
        return self._state_after(self._engine.begin(goal, str(self._shop_tasks.number(task_id))))

    def _act(self, action: str) -> WorldState:
        return self._state_after(self._engine.act(action))

    def _state_after(self, outcome: Outcome) -> WorldState:
        if outcome.done:
            self._score = outcome.reward
        details = outcome.details
        if self._own_goal:
            details = {**details, "goal": self._engine.goal.to_dict()}
        return WorldState(
            observation=outcome.observation,
            score=self._score,
            success=outcome.done and outcome.reward == 1.0,
            done=outcome.done,
            valid_action=outcome.valid,
            details=details,
        )

    def _instruction(self) -> str:
        return self._engine.goal.instruction_text

    def _admissible(self) -> Sequence[str]:
        available = self._engine.available_actions()
        if available["has_search_bar"]:
            words = search_words(self._instruction()).replace("[", " ").replace("]", " ").strip()
            return (f"search[{words or 'shop'}]",)
        return tuple(
            f"click[{name}]" for name in available["clickables"] if name != "search" and self.accepts(f"click[{name}]")
        )

    def _split_name(self, task_id: str) -> str:
        # Asked of the numbers, where the base class would name every task of the split and keep the names.
        return self.split if task_id in self._split_ids else self._shop_tasks.split_of(task_id)

    def _save(self) -> Any:
        return {"shop": self._engine.save(), "score": self._score, "own_goal": self._own_goal}

    def _load(self, task_id: str, saved: Any) -> None:
        self._engine.load(saved["shop"])
        self._score = float(saved["score"])
        self._own_goal = bool(saved["own_goal"])


class WebShopOracle(Oracle[Any]):
    """Knows the way to full marks from any page; see ``ShopOracle``.

    Args:
        env: The environment it belongs to.
    """

    def __init__(self, env: WebShopEnv) -> None:
        super().__init__(env)
        self._world = env
        self._shop = ShopOracle(env.engine)

    def _state_now(self) -> Any:
        return self._world.engine.save()

    def _state_of(self, snapshot: Snapshot) -> Any:
        saved = snapshot.world["shop"]
        Visit.from_json(saved, self._world.catalogue)
        return saved

    def _plan(self, state: Any, after: Sequence[str]) -> list[str] | None:
        return self._shop.plan(state, after)

    def best_plan(self, snapshot: bytes | None = None, *, after: Sequence[str] = ()) -> tuple[list[str], float] | None:
        """Find how to buy the target as well as can be, where full marks are out of reach: the actions and the reward."""
        if snapshot is not None:
            opened = self._world.open_snapshot(snapshot)
            with snapshot_faults():
                return self._shop.best_plan(self._state_of(opened), after)
        self._world.require_episode("asking the oracle")
        return self._shop.best_plan(None, after)

    def _thought(self, action: str) -> str:
        return self._shop.thought(action)

    def _is_informative(self, action: str) -> bool:
        # Reading about a product is no mistake.
        return action.lower() in _INFORMATIVE
