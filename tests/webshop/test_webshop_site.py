"""``backend="http"``: a stand-in site on this machine, served from the shop itself in the original's form."""

import html
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote

import gymnasium as gym
import pytest

import step_envs
from step_envs.errors import EngineError, UnknownNameError
from step_envs.testing import check_text_env
from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.engine import ShopEngine
from step_envs.webshop.planning.purchase_plan import PurchasePlanner
from step_envs.webshop.shop.pages import ElementKind
from step_envs.webshop.site.page import read_page

pytest.importorskip("requests")


def page_of(engine: ShopEngine, session: str, path: str) -> str:
    """Write a page as the original's templates do: forms with buttons, links, radio buttons with addresses."""
    parts = ["<!DOCTYPE html>\n<html>\n <head>\n  <title>WebShop</title>\n </head>\n <body>\n  <!-- layout -->"]
    elements = engine.page.elements(show_attrs=False)
    for place, element in enumerate(elements):
        text = html.escape(element.text)
        there = html.escape(f"{path}/{quote(f'click[{element.text.lower()}]', safe='')}")
        if element.kind is ElementKind.BUTTON and engine.page.kind == "index":
            parts.append(f'<form method="post" action="/{session}"><input id="search_input" name="search_query">')
            parts.append(f'<button class="btn btn-success"><i class="glyphicon"></i>{text}</button></form>')
        elif element.kind is ElementKind.BUTTON:
            parts.append(f'<form method="post" action="{there}">\n <button class="btn">{text}</button>\n</form>')
        elif element.kind is ElementKind.LINK:
            parts.append(f'<h4><a class="product-link" href="{there}">{text}</a></h4>')
        elif element.kind is ElementKind.OPTION:
            parts.append(f'<input type="radio" name="x" value="{text}" data-url="{there}"><label>{text}</label>')
        elif engine.page.kind == "done" and elements[place - 1].text.startswith("Your score"):
            parts.append(f'<h3 id="reward"><pre>{text}</pre></h3>')
        elif text.strip() == "Instruction:":
            parts.append(f'<div id="instruction-text"><h4>{text}<br>{html.escape(elements[place + 1].text)}</h4></div>')
        elif place and elements[place - 1].text.strip() == "Instruction:":
            continue
        else:
            parts.append(f"<p>{text}</p>")
    return "\n".join([*parts, " </body>\n</html>"])


class _Site(BaseHTTPRequestHandler):
    catalogue: Catalogue
    failures = 0

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self._answer(parse_qs(body, keep_blank_values=True).get("search_query", [None])[0])

    def _answer(self, query: str | None = None) -> None:
        if type(self).failures:
            type(self).failures -= 1
            self.send_error(503)
            return
        session, *path = self.path.strip("/").split("/")
        if session == "elsewhere":
            self._send("<html><body>Some other site</body></html>")
            return
        number = int(session.split("_")[-1])
        if number >= 100:
            self.send_error(500)
            return
        # Like the original's, the state is all in the address: the actions so far.
        actions = [unquote(part) for part in path] + ([f"search[{query}]"] if query is not None else [])
        engine = ShopEngine(self.catalogue)
        engine.begin(self.catalogue.goal("human", number), session)
        for action in actions:
            if "original_error" in engine.act(action).details or action == "search[die]":
                self.send_error(500)
                return
        route = "/".join(["", session, *(quote(action, safe="") for action in actions)])
        self._send(page_of(engine, session, route))

    def _send(self, page: str) -> None:
        data = page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site(made: Catalogue) -> Iterator[str]:
    _Site.catalogue = made
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def make(site: str, **kwargs: Any) -> gym.Env[str, str]:
    return gym.make("STeP-WebShop-v0", backend="http", site_url=site, site_goals=100, split="test", **kwargs)


def test_a_site_is_played_like_the_shop_itself(site: str, made: Catalogue) -> None:
    env = make(site)
    local = ShopEngine(made)
    for number in range(8):
        observation, info = env.reset(options={"task_id": f"site/{number}"})
        here = local.begin(made.goal("human", number), f"fixed_{number}")
        assert observation == here.observation
        assert info["instruction"] == local.goal.instruction_text
        plan = PurchasePlanner(local).plan()
        assert plan
        for action in ["nonsense", "click[buy now]", *plan[:2], "click[features]", "click[< prev]", *plan[2:]]:
            outcome = local.act(action)
            observation, _, terminated, _, info = env.step(action)
            assert observation == outcome.observation
            assert (terminated, info["valid_action"]) == (outcome.done, outcome.valid)
            assert env.unwrapped.available_actions() == local.available_actions()
        assert info["score"] == 1.0 and info["success"]
    env.close()


def test_snapshots_of_a_site(site: str) -> None:
    env, other = make(site).unwrapped, make(site).unwrapped
    env.reset(options={"task_id": "site/1"})
    env.step("search[lamp]")
    other.restore(env.snapshot())
    action = env.admissible_actions()[-1]
    assert env.step(action) == other.step(action)
    assert env.oracle.plan() is None


@pytest.mark.slow
def test_a_site_keeps_the_contract(site: str) -> None:
    check_text_env("STeP-WebShop-v0", backend="http", site_url=site, site_goals=100, split="test", oracle_tasks=0)


def test_short_failures_are_tried_again_and_long_ones_are_clear(site: str) -> None:
    env = make(site)
    _Site.failures = 2
    env.reset(options={"task_id": "site/1"})
    _Site.failures = 100
    with pytest.raises(EngineError, match=r"did not answer GET .* in 3 tries"):
        env.reset(options={"task_id": "site/1"})
    _Site.failures = 0
    with pytest.raises(EngineError, match="answered 500 to GET"):
        gym.make("STeP-WebShop-v0", backend="http", site_url=site, site_goals=500, split="test").reset(
            options={"task_id": "site/200"}
        )
    nowhere = make("http://127.0.0.1:9", site_timeout=0.5)
    with pytest.raises(EngineError, match="is it running"):
        nowhere.reset(seed=0)


def test_a_site_that_is_no_shop_is_an_error(site: str) -> None:
    with pytest.raises(EngineError, match=r"/elsewhere/fixed_\d+ shows is no start page of WebShop: .* site_url"):
        make(f"{site}/elsewhere").reset(seed=0)
    with pytest.raises(ValueError, match="site_url must begin with http:// or https://"):
        make("localhost:3000")
    with pytest.raises(ValueError, match="site_timeout must be a positive number"):
        make(site, site_timeout=0)


def test_a_site_that_is_silent_is_given_up(site: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = make(f"http://127.0.0.1:{silent.getsockname()[1]}", site_timeout=0.2)
        with pytest.raises(EngineError, match=r"did not answer GET .* within 0.2 s in 3 tries"):
            env.reset(seed=0)


def test_searches_on_which_the_original_dies_leave_the_page(site: str) -> None:
    env = make(site)
    before, _ = env.reset(seed=0)
    for action in ("search[<c>]", "search[<a> easy clean]"):
        observation, _, terminated, _, info = env.step(action)
        assert observation == before and not terminated
        assert not info["valid_action"] and info["details"]["original_error"] == "500"
    assert env.step("search[<c> beauty]")[4]["valid_action"]
    with pytest.raises(EngineError, match="answered 500 to POST"):
        env.step("search[die]")


def test_half_characters_can_be_searched_for(site: str) -> None:
    env = make(site)
    env.reset(seed=0)
    assert env.step("search[lamp \ud800]")[4]["valid_action"]
    assert not env.step("click[\ud800]")[4]["valid_action"]


def test_names_that_do_not_exist_are_refused(site: str) -> None:
    with pytest.raises(UnknownNameError, match="backend"):
        gym.make("STeP-WebShop-v0", backend="ftp")
    with pytest.raises(UnknownNameError, match="observation mode"):
        make(site, observation_mode="text_rich")
    with pytest.raises(UnknownNameError, match="site/0 to site/99"):
        make(site).reset(options={"task_id": "site/100"})
    assert len(step_envs.list_tasks("STeP-WebShop-v0", "test", backend="http", site_goals=700)) == 500


def test_a_page_is_read_as_the_originals_parser_reads_it() -> None:
    page = read_page(
        "<html>\n<head><title>no</title></head><body>\n <p> </p><p>\n\n</p><b></b><h4>One &amp; two</h4>"
        "<script>no</script><!-- no -->three<pre>\n\n</pre><p> four </p></body></html>"
    )
    assert page.texts == [" ", "One & two", "three", "\n\n", " four "]
