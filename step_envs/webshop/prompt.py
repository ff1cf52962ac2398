"""The instructions for a language model: what the shop is, and how to shop in it."""

from dataclasses import replace
from typing import Final

from step_envs.core import ReActFormat

_MANUAL: Final = """\
You shop in a web shop. You are told what to buy; find a product that fits, choose its options, and buy it.

Answer every observation with one thought and one action, in exactly this form:
Thought: why you take the next step
Action: the next step

Actions:
search[words]: look for products, from the page with the search button
click[something]: click on a button, a product id or a choice that the page shows

Parts of a page are separated by [SEP]. A result page lists id, title and price of ten products; "Next >" and "< Prev" \
turn pages. A product's page lists its choices, and "Description" and "Features" tell more about it. Choose the options \
you were asked for one by one before you click[Buy Now], which ends the shopping: what you bought is then compared with \
what you were asked for. "Back to Search" leads to the start. An action that the page does not offer changes nothing.\
"""

REACT: Final = ReActFormat(manual=_MANUAL, task="{observation}", observation_prefix="Observation:\n")
"""The first observation already holds the instruction."""

_BRIEF_PAGES: Final = """\
A result page lists title and price of ten products by number, and click[3] opens the third; "Next >" and "< Prev" turn \
pages. A product's page lists its choices in brackets, then title and price; click[Description] and click[Features] tell \
more about it. Choose the options you were asked for one by one before you click[Buy Now], which ends the shopping: what \
you bought is then compared with what you were asked for. click[Back to Search] leads to the start. An action that the \
page does not offer changes nothing.\
"""

BRIEF_REACT: Final = replace(
    REACT,
    manual=_MANUAL.partition("Parts of a page")[0] + _BRIEF_PAGES,
    observation_prefix="",
    format_error="The input must contain 'Action: '",
)
"""With ``brief=True``: products have numbers, and no words stand around observations."""
