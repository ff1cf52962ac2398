"""Build the documentation site without warnings, and check that no page loads anything from another site."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "object": "data",
}
"""Element that makes a browser load something -> the attribute with the address; ``link`` is checked by its ``rel``."""


class _Fetched(HTMLParser):
    """Collects the addresses that a page makes a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag in LOADED and LOADED[tag] in named:
            self.addresses.append(named[LOADED[tag]])
        if tag == "link" and named.get("rel") not in ("canonical", "next", "prev"):
            self.addresses.append(named.get("href", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("material") is None or find_spec("mkdocstrings") is None:
        pytest.skip("needs the extra docs")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        parser = _Fetched()
        parser.feed(page.read_text())
        assert parser.addresses
        outside = [address for address in parser.addresses if re.match(r"(https?:)?//", address)]
        assert not outside, f"{page.name} fetches {outside}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text()), f"{style.name} fetches"


def test_the_schema_is_on_the_site(site: Path) -> None:
    assert (site / "trajectory.schema.json").read_text() == (ROOT / "docs" / "trajectory.schema.json").read_text()


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    from step_envs import __all__, agents, collection, credit, training, wrappers
    from step_envs.wrappers import teachers

    pages = "".join(page.read_text() for page in (site / "api").glob("*.html"))
    packages = (agents, collection, wrappers, teachers, credit, training)
    names = {*__all__, *(name for package in packages for name in package.__all__)} - {"__version__"}
    missing = sorted(name for name in names if not re.search(rf'id="step_envs\.[\w.]*\b{name}"', pages))
    assert not missing, f"not in docs/api: {missing}"


def test_links_of_the_readme_exist() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            assert target.startswith("https://") or (ROOT / target).exists(), f"{page.name} links to {target}"
