"""A running original WebShop site as the shop: its tasks, its pages over HTTP, and its state.

The original writes the whole state of a visit into the addresses of its pages, so an address and the page it showed make a
snapshot, and a request that failed in the network can be sent again.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urljoin

from typing_extensions import override

from step_envs.core import WorldState
from step_envs.errors import EngineError, UnknownNameError, missing_package, unknown_name
from step_envs.snapshots import snapshot_faults
from step_envs.spaces import require_text
from step_envs.tasks import TaskSet
from step_envs.webshop.shop.actions import parse_action
from step_envs.webshop.site.page import SitePage, read_page
from step_envs.webshop.tasks import EVAL_GOALS, FULL_HUMAN_GOALS, MAX_STEPS, OFFICIAL_SPLITS, TEST_GOALS, read_number

DEFAULT_ADDRESS: Final = "http://127.0.0.1:3000"
MODES: Final = ("text", "html", "url")

_TRIES: Final = 3
_TEMPORARY: Final = (502, 503, 504)
_CRASHING_SEARCHES: Final = ("<a>", "<c>", "<r>")
"""Special searches on which the original can die, depending on what follows and what it sells."""


class SiteTasks(TaskSet):
    """The goals of a site by number, in the site's fixed order; only the site knows what they ask for.

    Args:
        count: How many goals the site has.
    """

    types = ("site",)
    splits = OFFICIAL_SPLITS

    def __init__(self, count: int = FULL_HUMAN_GOALS) -> None:
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"site_goals must be a whole number from 1 on, got {count!r}.")
        self._count = count

    @override
    def ids(self, split: str) -> Sequence[str]:
        if split not in self.splits:
            raise unknown_name("split", split, self.splits)
        ends = {"test": (0, TEST_GOALS), "eval": (TEST_GOALS, TEST_GOALS + EVAL_GOALS)}
        first, last = ends.get(split, (TEST_GOALS + EVAL_GOALS, self._count))
        return [f"site/{number}" for number in range(min(first, self._count), min(last, self._count))]

    def number(self, task_id: str) -> int:
        """Return the number of a goal.

        Raises:
            TypeError: The task id is not a str.
            UnknownNameError: There is no such task.
        """
        name, _, digits = require_text(task_id, "A task id").rpartition("/")
        number = read_number(digits)
        if name == "site" and number is not None and number < self._count:
            return number
        raise UnknownNameError(f"Unknown task {task_id!r}. Tasks are named site/0 to site/{self._count - 1}.")

    @override
    def split_of(self, task_id: str) -> str:
        number = self.number(task_id)
        return "test" if number < TEST_GOALS else "eval" if number < TEST_GOALS + EVAL_GOALS else "train"

    @override
    def type_of(self, task_id: str) -> str:
        self.number(task_id)
        return "site"

    @override
    def max_steps(self, task_id: str) -> int | None:
        return MAX_STEPS


class SiteState(NamedTuple):
    """The state of a visit, as it is put into snapshots.

    Attributes:
        session_id: What the site calls the visit.
        url: Address of the page, without that of the site.
        html: The page.
        instruction: What to shop for.
        score: What was bought was worth, 0 to 1; 0 before a purchase.
    """

    session_id: str
    url: str
    html: str
    instruction: str
    score: float

    @classmethod
    def from_json(cls, saved: Any) -> "SiteState":
        """Read a state that was saved as JSON, and check every field.

        Raises:
            SnapshotError: A field is missing or wrong.
        """
        with snapshot_faults():
            state = cls(**{name: saved[name] for name in cls._fields})
            for name, value in zip(cls._fields, state, strict=True):
                if type(value) not in ((int, float) if name == "score" else (str,)):
                    raise ValueError(f"{name} is {str(value)[:80]!r}")
            return state._replace(score=float(state.score))


class SiteShop:
    """One visitor of a site.

    Args:
        address: Address of the site.
        observation_mode: ``"text"``, ``"html"`` or ``"url"``.
        timeout: Seconds to wait for an answer.

    Raises:
        UnknownNameError: There is no such mode over HTTP.
        ValueError: The address does not begin with ``http://`` or ``https://``, or the timeout is not positive.
        gymnasium.error.DependencyNotInstalled: ``requests`` is not installed.
    """

    def __init__(
        self, address: str = DEFAULT_ADDRESS, *, observation_mode: str = "text", timeout: float = 30.0
    ) -> None:
        if observation_mode not in MODES:
            raise unknown_name("observation mode of a site", observation_mode, MODES)
        if not address.startswith(("http://", "https://")):
            raise ValueError(
                f"site_url must begin with http:// or https://, as in {DEFAULT_ADDRESS!r}; got {address!r}."
            )
        if not timeout > 0:
            raise ValueError(f"site_timeout must be a positive number of seconds, got {timeout!r}.")
        self._requests = _requests()
        self._address = address.rstrip("/")
        self._mode = observation_mode
        self._timeout = timeout
        self._client = self._requests.Session()
        retry = import_module("urllib3.util.retry").Retry(
            total=_TRIES - 1, backoff_factor=0.2, status_forcelist=_TEMPORARY, allowed_methods=None
        )
        for scheme in ("http://", "https://"):
            self._client.mount(scheme, import_module("requests.adapters").HTTPAdapter(max_retries=retry))
        self._session_id = ""
        self._url, self._html = "", ""
        self._page = SitePage()
        self.instruction = ""
        self._score = 0.0

    def begin(self, number: int) -> WorldState:
        """Open the start page of a goal.

        The original gives a session whose name contains "fixed" the goal whose number follows.

        Raises:
            EngineError: The site does not answer, or its answer is not a start page of WebShop.
        """
        self._session_id = f"fixed_{number}"
        self._score = 0.0
        self._ask("GET", f"{self._address}/{self._session_id}")
        self.instruction = self._page.instruction
        if not (self._page.has_search_bar and self.instruction):
            raise EngineError(
                f"What {self._url[:200]} shows is no start page of WebShop: name the address of a running original "
                "WebShop site with site_url."
            )
        return self._state(valid=True)

    def act(self, action: str) -> WorldState:
        """Carry out an action: any string."""
        if not self.accepts(action):
            return self._state(valid=False)
        verb, argument = parse_action(action)
        if verb == "search":
            # Half of a surrogate pair has no form in UTF-8; the site gets a question mark.
            words = (argument or "").encode("utf-8", "replace")
            may_fail = words.split(b" ")[0].decode() in _CRASHING_SEARCHES
            if not self._ask("POST", f"{self._address}/{self._session_id}", {"search_query": words}, may_fail=may_fail):
                return self._state(valid=False, fault="500")
        else:
            request = self._page.clickables[argument or ""]
            self._ask(request.method, urljoin(self._url, request.address))
        if self._page.reward is not None:
            self._score = self._page.reward
        return self._state(valid=True)

    def accepts(self, action: str) -> bool:
        """Return True if the site would understand an action on this page."""
        verb, argument = parse_action(action)
        if not argument:
            return False
        return verb == "search" or (verb == "click" and argument != "search" and argument in self._page.clickables)

    def available_actions(self) -> dict[str, Any]:
        """List what can be done: ``has_search_bar`` and ``clickables``."""
        return {"has_search_bar": self._page.has_search_bar, "clickables": list(self._page.clickables)}

    def save(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        url = self._url.removeprefix(self._address)
        return SiteState(self._session_id, url, self._html, self.instruction, self._score)._asdict()

    def load(self, saved: Any) -> None:
        """Go back to a state that ``save`` returned.

        Raises:
            SnapshotError: A field is missing or wrong; then nothing was changed.
        """
        state = SiteState.from_json(saved)
        page = read_page(state.html)
        self._session_id, self.instruction, self._score = state.session_id, state.instruction, state.score
        self._url, self._html, self._page = self._address + state.url, state.html, page

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(self, method: str, url: str, form: Mapping[str, bytes] | None = None, *, may_fail: bool = False) -> bool:
        """Request a page and make it the current one.

        Args:
            method: ``GET`` or ``POST``.
            url: The address.
            form: Fields to send.
            may_fail: The original may die on this request by a fault of its own; then the current page stays.

        Returns:
            True if the page came, False if the original died.

        Raises:
            EngineError: The site did not answer, or with an error.
        """
        try:
            answer = self._client.request(method, url, data=form, timeout=self._timeout)
        except self._requests.exceptions.RequestException as error:
            raise EngineError(
                f"The WebShop site at {self._address} did not answer {method} {quote(url, safe=':/%+{}')[:200]} within "
                f"{self._timeout:g} s in {_TRIES} tries ({type(error).__name__}): is it running?"
            ) from error
        if may_fail and answer.status_code == 500:
            return False
        if answer.status_code != 200:
            raise EngineError(
                f"The WebShop site at {self._address} answered {answer.status_code} to {method} "
                f"{quote(url, safe=':/%+{}')[:200]}: does it have this goal, and is it an original WebShop site?"
            )
        self._url, self._html, self._page = answer.url, answer.text, read_page(answer.text)
        return True

    def _state(self, *, valid: bool, fault: str | None = None) -> WorldState:
        done = self._page.reward is not None
        observation = {"text": self._page.text, "html": self._html, "url": self._url}[self._mode]
        return WorldState(
            observation=observation,
            score=self._score,
            success=done and self._score == 1.0,
            done=done,
            valid_action=valid,
            details={"url": self._url.removeprefix(self._address)} | ({"original_error": fault} if fault else {}),
        )


def _requests() -> Any:
    try:
        return import_module("requests")
    except ImportError as error:
        raise missing_package("requests", 'backend="http"', "http") from error
