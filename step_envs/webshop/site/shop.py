"""A running original WebShop site as the shop: the same contract, spoken over HTTP."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final
from urllib.parse import quote, urljoin

from step_envs.core import WorldState
from step_envs.errors import EngineError, SnapshotError, UnknownNameError, missing_package, unknown_name
from step_envs.tasks import TaskSet
from step_envs.webshop.engine import parse_action
from step_envs.webshop.site.page import SitePage, read_page
from step_envs.webshop.tasks import EVAL_GOALS, FULL_HUMAN_GOALS, MAX_STEPS, OFFICIAL_SPLITS, TEST_GOALS

DEFAULT_ADDRESS: Final = "http://127.0.0.1:3000"
MODES: Final = ("text", "html", "url")

_TRIES: Final = 3
_TEMPORARY: Final = (502, 503, 504)
_CRASHING_SEARCHES: Final = ("<a>", "<c>", "<r>")
"""Special searches on which the original can die, depending on what follows and what it sells."""


class SiteTasks(TaskSet):
    """The goals of a site by number, in its own fixed order; what they are only the site knows.

    Args:
        count: How many goals the site has.
    """

    types = ("site",)
    splits = OFFICIAL_SPLITS

    def __init__(self, count: int = FULL_HUMAN_GOALS) -> None:
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"site_goals must be a whole number from 1 on, got {count!r}.")
        self._count = count

    def ids(self, split: str) -> Sequence[str]:
        """See ``TaskSet``."""
        if split not in self.splits:
            raise unknown_name("split", split, self.splits)
        ends = {"test": (0, TEST_GOALS), "eval": (TEST_GOALS, TEST_GOALS + EVAL_GOALS)}
        first, last = ends.get(split, (TEST_GOALS + EVAL_GOALS, self._count))
        return [f"site/{number}" for number in range(min(first, self._count), min(last, self._count))]

    def number(self, task_id: str) -> int:
        """Give the number of a goal.

        Raises:
            UnknownNameError: There is no such task.
        """
        digits = task_id.removeprefix("site/")
        named = digits != task_id and digits.isascii() and digits.isdigit() and str(int(digits)) == digits
        if named and int(digits) < self._count:
            return int(digits)
        raise UnknownNameError(f"Unknown task {task_id!r}. Tasks are named site/0 to site/{self._count - 1}.")

    def split_of(self, task_id: str) -> str:
        """See ``TaskSet``."""
        number = self.number(task_id)
        return "test" if number < TEST_GOALS else "eval" if number < TEST_GOALS + EVAL_GOALS else "train"

    def type_of(self, task_id: str) -> str:
        """See ``TaskSet``."""
        self.number(task_id)
        return "site"

    def max_steps(self, task_id: str) -> int | None:
        """See ``TaskSet``."""
        return MAX_STEPS


class SiteShop:
    """One visitor of a site.

    Args:
        address: Where the site is.
        observation_mode: ``"text"``, ``"html"`` or ``"url"``.
        timeout: Seconds to wait for an answer.

    Raises:
        UnknownNameError: There is no such mode over HTTP.
        ValueError: The address is none of the web, or the timeout is not positive.
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
        """Visit the start page of a goal; a session whose name says "fixed" gets the goal it names.

        Raises:
            EngineError: The site does not answer, or not with a start page of WebShop.
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
            # Half a character, which UTF-8 has not, is a question mark to the site.
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
        """Say whether an action would be understood on this page."""
        verb, argument = parse_action(action)
        if not argument:
            return False
        return verb == "search" or (verb == "click" and argument != "search" and argument in self._page.clickables)

    def available_actions(self) -> dict[str, Any]:
        """Tell what can be done: ``has_search_bar`` and ``clickables``."""
        return {"has_search_bar": self._page.has_search_bar, "clickables": list(self._page.clickables)}

    def save(self) -> dict[str, Any]:
        """Give the state as JSON values: a site keeps none, everything is in the address and the page."""
        return {
            "session_id": self._session_id,
            "url": self._url.removeprefix(self._address),
            "html": self._html,
            "instruction": self.instruction,
            "score": self._score,
        }

    def load(self, saved: Any) -> None:
        """Go back to a state that ``save`` gave.

        Raises:
            SnapshotError: The state does not fit.
        """
        try:
            self._session_id, html, url = str(saved["session_id"]), str(saved["html"]), str(saved["url"])
            self.instruction, self._score = str(saved["instruction"]), float(saved["score"])
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotError(f"The snapshot of the site lacks or garbles a field: {error}.") from error
        self._url, self._html, self._page = self._address + url, html, read_page(html)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(self, method: str, url: str, form: Mapping[str, bytes] | None = None, *, may_fail: bool = False) -> bool:
        """Ask for a page and show it.

        Args:
            method: ``GET`` or ``POST``.
            url: The address.
            form: What is sent along.
            may_fail: The original may die on this by a fault of its own: then the page stays.

        Returns:
            Whether the page is there.

        Raises:
            EngineError: It is not, and should be.
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
