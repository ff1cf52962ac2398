"""Write the documentation pages that are generated from the code: python scripts/generated_docs.py.

``docs/commands.md`` contains the help of every subcommand, in the form of Typer's own generator.
``docs/trajectory.schema.json`` is the JSON schema of the data model. The table of methods in ``docs/family.md`` is made of
the cards of the recipes. ``docs/images/overview.svg`` is the picture of the home page. A test compares all of them with the
code.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from griffe import Docstring, DocstringSectionKind
from overview_diagram import overview

from step_envs import trajectory
from step_envs.training.recipes import RECIPES
from step_envs.training.recipes.making import recipe_class

DOCS = Path(__file__).resolve().parent.parent / "docs"
HEADER = "<!-- Written by scripts/generated_docs.py from the commands themselves. -->\n\n"


def commands() -> str:
    """Return the help of all subcommands as one page."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "commands.md"
        arguments = ["step_envs.cli", "utils", "docs", "--name", "step-envs", "--title", "Commands", "--output", page]
        subprocess.run([sys.executable, "-m", "typer", *arguments], check=True, capture_output=True)
        return HEADER + page.read_text().rstrip() + "\n"


def schema() -> str:
    """Return the JSON schema of one line of ``trajectories.jsonl``."""
    fields = trajectory.Trajectory.model_json_schema(by_alias=True, mode="serialization")
    for described in (fields, *fields["$defs"].values()):
        _describe(described)
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | fields, indent=2, ensure_ascii=False) + "\n"


def _describe(model: dict[str, Any]) -> None:
    """Copy the description of each field from the docstring of its model into the schema."""
    sections = Docstring(getattr(trajectory, model["title"]).__doc__).parse("google")
    model["description"] = sections[0].value
    for section in sections:
        if section.kind is DocstringSectionKind.attributes:
            for attribute in section.value:
                name = "schema" if attribute.name == "schema_name" else attribute.name
                model["properties"][name]["description"] = " ".join(attribute.description.split())


def family() -> str:
    """Return the page of the methods, with the table made of the recipes' cards."""
    page = DOCS / "family.md"
    before, begin, rest = page.read_text().partition("<!-- recipes: begin -->\n")
    _, end, after = rest.partition("<!-- recipes: end -->")
    lines = ["| method | signal | data | loss | trainer | command |", "|---|---|---|---|---|---|"]
    differences = []
    for name in RECIPES:
        recipe = recipe_class(name)
        card = recipe.card
        paper = f" ([{card.paper}](https://arxiv.org/abs/{card.paper}))" if card.paper else ""
        cells = (
            f"**{card.title}**{paper}",
            card.signal,
            card.data,
            card.loss,
            f"`{recipe.trainer}`",
            f"`step-envs train {recipe.command} --recipe {name}`",
        )
        lines.append(f"| {' | '.join(cells)} |")
        if card.difference:
            differences.append(f"- **{card.title}**: {card.difference}.")
    table = "\n".join([*lines, "", "What is done differently here:", "", *differences])
    return f"{before}{begin}{table}\n{end}{after}"


PAGES = {
    DOCS / "commands.md": commands,
    DOCS / "trajectory.schema.json": schema,
    DOCS / "family.md": family,
    DOCS / "images" / "overview.svg": overview,
}
"""File -> the function that returns its text."""


def main() -> None:
    """Write every page whose text has changed."""
    for path, text in PAGES.items():
        fresh = text()
        if not path.exists() or path.read_text() != fresh:
            path.write_text(fresh)
            sys.stdout.write(f"{path} written\n")


if __name__ == "__main__":
    main()
