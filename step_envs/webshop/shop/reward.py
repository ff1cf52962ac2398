"""The reward of a purchase: how well type, attributes, options and price of the product fit the goal.

It equals the original's to the last bit, faults included, because published scores were computed with them. The worst: the
original compares an option's name and value as one pair, so that some goals cannot get full marks; ``strict=False`` mends
that and says so.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from rapidfuzz import fuzz, utils

from step_envs.webshop.catalogue.goals import Goal
from step_envs.webshop.catalogue.products import Product
from step_envs.webshop.shop.noun_tagger import NounTagger

MATCH_ABOVE: Final = 85
"""Two texts match when their token-set ratio, rounded, is above this."""

_COLORS_TEXT: Final = """
alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown burgundy camel
camo caramel champagne charcoal cheetah chestnut chocolate christmas coffee cognac copper coral cranberry
cream crystal dark denim eggplant elephant espresso fuchsia gold granite grape graphite grass gray green
grey heather indigo ivory ivy khaki lavender lemon leopard light lilac lime magenta maroon mauve merlot
midnight mint mocha multicolor mushroom mustard natural navy nude olive orange peach pewter pink plum purple
rainbow red rose royal rust sand sapphire seashell silver skull slate steel stone stonewash sunflower tan
taupe teal tiger turquoise violet walnut wheat white wine yellow
"""
_COLORS: Final = tuple(_COLORS_TEXT.split())
"""The original's colour words. It looks for them in this order and inside words too, so that "titanium" is "tan"."""

_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")


def token_set_ratio(one: object, other: object) -> int:
    """Compute how alike two texts are as sets of words, as ``thefuzz.fuzz.token_set_ratio`` does.

    Args:
        one: A text; anything else, such as a pair of option name and value, is compared as Python prints it.
        other: See ``one``.

    Returns:
        0 to 100.
    """
    return round(fuzz.token_set_ratio(_prepared(str(one)), _prepared(str(other))))


@lru_cache(maxsize=16384)
def _prepared(text: str) -> str:
    return utils.default_process(_NOT_ASCII.sub("", text))


def normalize_color(text: str) -> str:
    """Return the first colour word in a text, or the text where there is none."""
    return next((color for color in _COLORS if color in text), text)


def score_purchase(
    product: Product,
    goal: Goal,
    price: float,
    options: Mapping[str, str],
    nouns: NounTagger,
    *,
    strict: bool = True,
) -> tuple[float, dict[str, Any]]:
    """Score a purchase.

    Args:
        product: What was bought.
        goal: What was asked for.
        price: What it cost.
        options: The choices made, by option name.
        nouns: Finds the nouns of a title.
        strict: Score as the original does. If False, an option that was chosen exactly as asked for always counts.

    Returns:
        The reward from 0 to 1, and its components under the original's names.
    """
    kind = _score_type(product, goal, nouns)
    attributes = sum(_has_attribute(product, attribute) for attribute in goal.attributes)
    matched = _count_options(list(options.values()), goal.goal_options, strict=strict)
    affordable = price <= goal.price_upper
    parts = len(goal.attributes) + len(goal.goal_options) + 1
    reward = (attributes + matched + affordable) / parts * kind["r_type"]
    info: dict[str, Any] = {
        "r_type": kind["r_type"],
        "r_att": attributes / len(goal.attributes),
        "w_att": len(goal.attributes) / parts,
        "query_match": kind["query_match"],
        "category_match": kind["category_match"],
        "title_score": kind["title_score"],
    }
    if goal.goal_options:
        info["r_option"] = matched / len(goal.goal_options)
        info["w_option"] = len(goal.goal_options) / parts
    info["r_price"] = affordable
    info["w_price"] = 1 / parts
    return reward, info


def _score_type(product: Product, goal: Goal, nouns: NounTagger) -> dict[str, Any]:
    query_match = product.query == goal.query
    category_match = len(_parts(product.product_category) & _parts(goal.product_category)) >= 2
    wanted = nouns(goal.name)
    title_score = len(set(nouns(product.title)) & set(wanted)) / len(wanted) if wanted else 0.2
    r_type = 1.0 if query_match or category_match or title_score > 0.2 else 0.5
    # A title with nothing in common outweighs a matching query or category.
    if title_score < 0.1:
        r_type = 0.1
    if title_score == 0.0:
        r_type = 0.0
    return {
        "r_type": r_type,
        "query_match": query_match,
        "category_match": category_match,
        "title_score": title_score,
    }


def _parts(product_category: str) -> set[str]:
    return {part.strip() for part in product_category.split("›")}


def _has_attribute(product: Product, attribute: str) -> bool:
    return any(token_set_ratio(owned, attribute) > MATCH_ABOVE for owned in product.attributes) or (
        attribute in product.title.lower()
        or attribute in " ".join(product.bullets).lower()
        or attribute in product.description.lower()
    )


def _count_options(chosen: Sequence[str], wanted: Mapping[str, str] | Sequence[str], *, strict: bool) -> int:
    made = [normalize_color(value) for value in chosen]
    asked: list[object]
    if isinstance(wanted, Mapping) and strict:
        # The original normalises the pair of name and value instead of the value: only a value that is a colour word
        # itself changes, and then the pair is compared word by word, the option's name included.
        asked = [next((color for color in _COLORS if color in pair), pair) for pair in wanted.items()]
    else:
        values = wanted.values() if isinstance(wanted, Mapping) else wanted
        asked = [normalize_color(value) for value in values]
    exact = set() if strict else set(made)
    return sum(goal in exact or any(token_set_ratio(value, goal) > MATCH_ABOVE for value in made) for goal in asked)
