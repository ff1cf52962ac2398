"""axe, the accessibility checker, finds nothing serious in any view, in light and dark, on a desk and on a phone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

axe_playwright = pytest.importorskip("axe_playwright_python", reason="the extra browser is not installed")

from test_browser import double, single  # noqa: F401

pytestmark = pytest.mark.browser
AXE = (Path(axe_playwright.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
VIEWS = {
    "overview": ("#", []),
    "episode": ("#task=boil/0", []),
    "unknown verdict": ("#task=grow/2", []),
    "record": ("#task=boil/0&tab=record", []),
    "no tokens": ("#task=boil/0&tab=tokens", []),
    "nothing found": ("#q=nothing", []),
    "missing": ("#task=nothing", []),
    "help": ("#", ["?"]),
    "chosen row": ("#", ["j"]),
    "pairs": ("#compare=1,2", []),
    "side by side": ("#compare=1,2&task=boil/0", []),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious(width: int, scheme: str, double: Path, open_page: Callable[..., Any]) -> None:  # noqa: F811
    # The policy of the page would keep the checker's script out too.
    page = open_page(double, width=width, color_scheme=scheme, bypass_csp=True)
    page.evaluate(AXE)
    found = []
    for name, (address, keys) in VIEWS.items():
        page.evaluate("address => { location.hash = address; }", address)
        page.wait_for_timeout(120)
        for key in keys:
            page.keyboard.press(key)
        page.wait_for_timeout(60)
        faults = page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
        for fault in faults:
            if fault["impact"] in ("serious", "critical"):
                found.append((name, fault["id"], [node["html"][:150] for node in fault["nodes"][:3]]))
        for _ in keys:
            page.keyboard.press("Escape")
    assert found == []
