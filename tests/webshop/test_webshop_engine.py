"""The shop itself: any string as an action, quirks kept and mended, modes, saving, and what users complained of."""

import random
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step_envs.errors import SnapshotError
from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.generator import make_catalogue
from step_envs.webshop.catalogue.goals import Goal
from step_envs.webshop.catalogue.products import Product
from step_envs.webshop.engine import ShopEngine
from step_envs.webshop.planning.purchase_plan import PurchasePlanner
from step_envs.webshop.shop.actions import parse_action
from step_envs.webshop.shop.noun_tagger import choose_tagger, content_words
from step_envs.webshop.shop.reward import normalize_color, score_purchase, token_set_ratio


@pytest.fixture
def shop(made: Catalogue) -> ShopEngine:
    engine = ShopEngine(made)
    engine.begin(made.goal("human", 0), "0")
    return engine


@pytest.mark.parametrize(
    ("action", "parsed"),
    [
        ("search[Red Shoes]", ("search", "red shoes")),
        ("click[Buy Now] because", ("click", "buy now")),
        ("click[a[b]]", ("click[a", "b]")),
        ("click[]", ("click[]", None)),
        ("[x]", ("[x]", None)),
        ("a\nclick[x]", ("a\nclick[x]", None)),
        ("", ("", None)),
    ],
)
def test_actions_are_taken_apart_as_the_original_does(action: str, parsed: tuple[str, str | None]) -> None:
    assert parse_action(action) == parsed


@given(st.text(alphabet="ab[]\n\r ", max_size=20))
@settings(max_examples=1000, deadline=None)
def test_actions_are_taken_apart_as_by_the_originals_pattern(action: str) -> None:
    match = re.match(r"(.+)\[(.+)\]", action)
    assert parse_action(action) == ((match[1], match[2].lower()) if match else (action, None))


@pytest.mark.timeout(300)
def test_the_longest_actions_are_read_once(shop: ShopEngine) -> None:
    """Backtracking over them would take hours and meet the time-out."""
    for text in ("[" * 500_000, "search[" + "[a" * 250_000, "search[" + "_" * 500_000 + "]"):
        shop.act(text)


CLICKS = ["back to search", "< prev", "next >", "description", "features", "reviews", "attributes", "buy now", "search"]
SEARCHES = [
    "lamp",
    "<r>",
    "<q> table lamps",
    "<c> beauty",
    "<c>",
    "<a> easy clean",
    "  ",
    "search_results",
    "item_page",
]
ACTIONS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(CLICKS).map("click[{}]".format),
    st.sampled_from(SEARCHES).map("search[{}]".format),
    st.integers(0, 30).map("pick {}".format),
)


@given(st.lists(ACTIONS, max_size=25), st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_actions_keep_the_shop_in_order(made: Catalogue, actions: list[str], strict: bool, attrs: bool) -> None:
    engine, again = (ShopEngine(made, strict=strict, show_attrs=attrs) for _ in range(2))
    goal = made.goal("human", 1)
    engine.begin(goal, "1")
    again.begin(goal, "1")
    for action in actions:
        available = engine.available_actions()["clickables"]
        if action.startswith("pick ") and available:
            action = f"click[{available[int(action[5:]) % len(available)]}]"
        before = (engine.page, engine.observe("text"))
        allowed = engine.accepts(action)
        again.load(engine.save())
        outcome = engine.act(action)
        assert again.act(action) == outcome
        assert allowed == (outcome.valid or "original_error" in outcome.details)
        if not allowed:
            assert (engine.page, outcome.observation) == before
            assert (outcome.reward, outcome.done) == (0.0, False)
        assert 0.0 <= outcome.reward <= 1.0
        assert ("original_error" in outcome.details) <= strict
        elements = engine.page.elements(show_attrs=attrs)
        assert engine.observe("text") == " [SEP] ".join(element.text.strip() for element in elements)
        names = engine.available_actions()["clickables"]
        assert all(engine.page.can_click(name, show_attrs=attrs) for name in names)
        for name in CLICKS:
            assert engine.page.can_click(name, show_attrs=attrs) == (name in names)


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.classes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.classes += [value or "" for name, value in attrs if name == "class"]

    def handle_data(self, data: str) -> None:
        if data.strip("\n"):
            self.texts.append(data.strip())


def test_html_has_the_same_texts_and_classes(shop: ShopEngine) -> None:
    for action in ("", "search[lamp]", f"click[{_first(shop)}]", "click[features]", "click[< prev]", "click[buy now]"):
        shop.act(action.replace("click[None]", f"click[{_first(shop)}]"))
        parser = _Texts()
        parser.feed(shop.observe("html"))
        assert " [SEP] ".join(parser.texts) == shop.observe("text")
        assert ("product-link" in parser.classes) == (shop.page.kind == "results")


def _first(shop: ShopEngine) -> str | None:
    return shop.page.products[0].asin.lower() if shop.page.products else None


def test_history_is_put_before_the_observation(made: Catalogue) -> None:
    engine = ShopEngine(made, num_prev_obs=1, num_prev_actions=2)
    first = engine.begin(made.goal("human", 0), "0").observation
    second = engine.act("search[lamp]").observation
    assert second == f"{first} [SEP] search[lamp] [SEP] {engine.observe('text')}"
    shown = engine.observe("text")
    third = engine.act("nothing").observation
    assert third == f"search[lamp] [SEP] {shown} [SEP] nothing [SEP] {engine.observe('text')}"
    with pytest.raises(ValueError, match="num_prev_obs"):
        ShopEngine(made, num_prev_obs=-1)


def test_special_searches(made: Catalogue) -> None:
    for strict in (True, False):
        engine = ShopEngine(made, strict=strict)
        engine.begin(made.goal("human", 0), "0")
        for search, fault in (("<a> easy clean", "TypeError"), ("<c>", "IndexError")):
            before = engine.observe("text")
            outcome = engine.act(f"search[{search}]")
            if strict:
                assert outcome.details["original_error"] == fault
                assert not outcome.valid and outcome.observation == before
            else:
                assert outcome.details["mended"] == "search" and outcome.valid
        total = re.search(r"results: (\d+)", engine.act("search[<C> beauty]").observation)
        assert total and int(total[1]) == sum(made.product(n).category == "beauty" for n in range(len(made))) > 50
        engine.act("search[<q> table lamps]")
        assert {product.query for product in engine.page.products} == {"table lamps"}
        engine.act("search[<r>]")
        drawn = [product.asin for product in engine.page.products]
        assert engine.page.total == 50
        engine.act("click[next >]")
        engine.act("click[< prev]")
        assert [product.asin for product in engine.page.products] != drawn


def test_a_random_search_needs_fifty_products_only_in_strict_mode(tmp_path: Path) -> None:
    few = make_catalogue(tmp_path / "few", size=20)
    for strict in (True, False):
        engine = ShopEngine(few, strict=strict)
        engine.begin(few.goal("human", 0), "0")
        outcome = engine.act("search[<r>]")
        assert outcome.valid is not strict
        fault = {"original_error": "ValueError"} if strict else {"mended": "search", "strict": False}
        assert fault.items() <= outcome.details.items()


def test_random_results_are_the_same_in_the_same_visit(made: Catalogue) -> None:
    shown = []
    for _ in range(2):
        engine = ShopEngine(made)
        engine.begin(made.goal("human", 0), "0")
        engine.act("nothing")
        shown.append(engine.act("search[<r>]").observation)
    assert shown[0] == shown[1]


def product(**changes: Any) -> Product:
    values: dict[str, Any] = {
        "asin": "B1",
        "title": "Red Lamp",
        "description": "",
        "bullets": ("",),
        "prices": (5.0,),
        "options": {},
        "attributes": ("solid wood",),
        "category": "garden",
        "query": "lamps",
        "product_category": "Home › Lamps",
        "image": "",
    }
    return Product(**values | changes)


def goal(**changes: Any) -> Goal:
    values: dict[str, Any] = {
        "asin": "B1",
        "category": "garden",
        "query": "lamps",
        "name": "Red Lamp",
        "product_category": "Home › Lamps",
        "instruction_text": "a lamp",
        "attributes": ["solid wood"],
        "price_upper": 10.0,
        "goal_options": {},
    }
    return Goal.from_dict(values | changes)


def test_option_pairs_are_compared_word_by_word_with_their_name() -> None:
    asked = goal(goal_options={"color": "navy blue"})
    for value, matches in (("navy", True), ("blue", True), ("color", True), ("green", False), ("navy blue", True)):
        _, info = score_purchase(product(), asked, 5.0, {"color": value}, content_words)
        assert info["r_option"] == matches
    hidden = goal(goal_options={"color": "antique graywash"})
    for strict, matches in ((True, 0.0), (False, 1.0)):
        _, info = score_purchase(product(), hidden, 5.0, {"c": "antique graywash"}, content_words, strict=strict)
        assert info["r_option"] == matches


def test_a_mended_purchase_says_so(made: Catalogue) -> None:
    target = made.product(0)
    name = next(iter(target.options))
    engine = ShopEngine(made, strict=False)
    wish = goal(asin=target.asin, name=target.title, query=target.query, goal_options={name: "sandalwood x"})
    engine.begin(wish, "0")
    engine.session.keywords, engine.session.page, engine.session.asin = ["a"], 1, target.asin
    engine.session.options = {name: "sandalwood x"}
    engine._show_item()
    outcome = engine.act("click[buy now]")
    assert outcome.details["strict"] is False
    assert outcome.details["mended"] == "options"
    assert outcome.details["reward_info"]["r_option"] == 1.0


def test_nothing_in_common_outweighs_a_matching_query() -> None:
    reward, info = score_purchase(product(title="Sofa"), goal(), 5.0, {}, content_words)
    assert info["query_match"] and info["title_score"] == 0.0 and reward == 0.0
    _, info = score_purchase(product(), goal(name="12 34"), 50.0, {}, content_words)
    assert info["title_score"] == 0.2 and info["r_type"] == 1.0 and not info["r_price"]
    _, info = score_purchase(product(query="x", product_category=""), goal(name="12 34"), 5.0, {}, content_words)
    assert info["r_type"] == 0.5


def test_colours_are_found_within_words() -> None:
    assert [normalize_color(text) for text in ("titanium", "colored", "x-large")] == ["tan", "red", "x-large"]


def test_matching_is_thefuzz(made: Catalogue) -> None:
    thefuzz = pytest.importorskip("thefuzz.fuzz")
    draw = random.Random(0)
    pool = ["red", "é", "blue", "12", "x-large", "|", "(a)", "™", "navy", "'q'", "é1", "size"]
    for _ in range(5000):
        one: Any = " ".join(draw.choices(pool, k=draw.randint(0, 5)))
        other: Any = " ".join(draw.choices(pool, k=draw.randint(0, 5)))
        if draw.random() < 0.3:
            other = (draw.choice(pool), other)
        assert token_set_ratio(one, other) == thefuzz.token_set_ratio(one, other)


def test_a_tagger_can_be_chosen(made: Catalogue) -> None:
    def first_word(title: str) -> list[str]:
        return title.lower().split()[:1]

    assert choose_tagger(first_word) == ("first_word", first_word)
    engine = ShopEngine(made, nouns=first_word)
    engine.begin(made.goal("human", 0), "0")
    outcome = None
    for action in PurchasePlanner(engine).plan() or []:
        outcome = engine.act(action)
    assert outcome is not None and outcome.details["nouns"] == "first_word"


def test_spacy_is_asked_for_by_name_when_it_is_missing() -> None:
    from gymnasium.error import DependencyNotInstalled

    try:
        import spacy

        spacy.load("en_core_web_sm")
    except (ImportError, OSError):
        with pytest.raises(DependencyNotInstalled, match="spacy download en_core_web_sm"):
            choose_tagger("spacy")
    else:
        assert choose_tagger("spacy")[1]("a red lamp") == ["lamp"]


def test_snapshots_of_other_catalogues_are_refused(shop: ShopEngine) -> None:
    shop.act("search[lamp]")
    saved = shop.save()
    saved["page"]["products"] = ["B000000000"]
    with pytest.raises(SnapshotError, match="has not"):
        shop.load(saved)
    with pytest.raises(SnapshotError, match="lacks or garbles"):
        shop.load({})


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("session", "keywords", [5]),
        ("session", "keywords", []),
        ("session", "keywords", "lamp"),
        ("session", "page", "1"),
        ("session", "asin", 5),
        ("session", "options", {"color": 5}),
        ("session", "options", []),
        ("session", "visited", [5]),
        ("session", "draws", None),
        ("page", "kind", "cellar"),
        ("page", "products", []),
        ("page", "url", None),
        ("page", "number", None),
        ("page", "options", None),
        ("page", "reward", "much"),
    ],
)
def test_garbled_snapshots_are_refused_before_a_step_fails_on_them(
    shop: ShopEngine, part: str, name: str, value: Any
) -> None:
    shop.act("search[lamp]")
    shop.act(f"click[{_first(shop)}]")
    saved = shop.save()
    shop.load(saved)
    saved[part][name] = value
    with pytest.raises(SnapshotError, match="lacks or garbles"):
        shop.load(saved)


def test_a_saved_state_is_small(shop: ShopEngine) -> None:
    import json

    shop.act("search[lamp]")
    shop.act(f"click[{_first(shop)}]")
    saved = json.dumps(shop.save())
    shop.load(json.loads(saved))
    assert len(saved) < 4000
