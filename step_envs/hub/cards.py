"""The card of a repository: metadata for the hub's pages, and text for people; what people change in it stays.

``step-envs`` owns the text between two marks, and the fields of the metadata that describe the files. Everything else of a
card that is on the hub belongs to whoever wrote it, the licence first of all, and a repeated push keeps it.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from step_envs.errors import HubError

BEGIN = "<!-- step-envs: the text from here on is replaced by `step-envs push`; write above or below it -->"
END = "<!-- step-envs: end -->"
OWNED = ("dataset_info", "configs", "size_categories")
"""Fields of the metadata that describe the files, and are always written anew."""


def make_card(metadata: Mapping[str, Any], text: str) -> str:
    """Join metadata and text to a README.md.

    Args:
        metadata: Fields of the hub's metadata.
        text: Markdown, without the marks.
    """
    return _join(metadata, f"{BEGIN}\n\n{text.strip()}\n\n{END}\n")


def merge_cards(ours: str, existing: str, *, set_license: bool, where: str = "the README.md on the hub") -> str:
    """Renew a card that is there.

    Args:
        ours: The card as it would be if there were none.
        existing: The card that is there.
        set_license: The licence of ``ours`` was asked for, and wins.
        where: Where the existing card is, for the error.

    Returns:
        The card to write. Text outside the marks is kept; where somebody took the marks out, all of the text is. Of the
        metadata, fields that describe the files are ours, tags are joined, and of others the existing ones win.

    Raises:
        HubError: The metadata of the existing card is no valid YAML.
    """
    new, text = _split(ours, where)
    old, kept = _split(existing, where)
    renewed = {name: value for name, value in old.items() if name not in OWNED}
    renewed |= {name: value for name, value in new.items() if name in OWNED or name not in renewed}
    renewed["tags"] = list(dict.fromkeys([*_listed(old.get("tags")), *_listed(new.get("tags"))]))
    if set_license and "license" in new:
        renewed["license"] = new["license"]
    begin, end = kept.find(BEGIN), kept.rfind(END)
    if 0 <= begin < end:
        text = kept[:begin] + text.strip() + kept[end + len(END) :]
    elif kept.strip():
        text = kept
    return _join(renewed, text)


def _join(metadata: Mapping[str, Any], text: str) -> str:
    import yaml

    # Sorted, so that the same metadata gives the same bytes wherever it comes from.
    header = yaml.safe_dump(dict(metadata), sort_keys=True, allow_unicode=True, width=10_000)
    return f"---\n{header}---\n\n{text.strip()}\n"


def _split(card: str, where: str) -> tuple[dict[str, Any], str]:
    import yaml

    found = re.match(r"\s*---\s*\n(.*?)(?:^---\s*$)(.*)", card.replace("\r\n", "\n"), re.DOTALL | re.MULTILINE)
    if found is None:
        return {}, card
    try:
        metadata = yaml.safe_load(found[1]) or {}
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise HubError(f"The metadata of {where} is no YAML ({reason}): correct it there.") from error
    if not isinstance(metadata, dict):
        raise HubError(f"The metadata of {where} is no table of fields: correct it there.")
    return metadata, found[2]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Make a Markdown table."""
    names = list(header)
    lines = [names, ["---"] * len(names), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return " ".join(text.replace("|", "\\|").split())


def code(value: object) -> str:
    """Show what somebody else has named as code, whatever characters it has."""
    text = " ".join(str(value).split())
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    ticks = "`" * (longest + 1)
    return f"{ticks} {text} {ticks}" if longest else f"`{text}`"


def json_block(value: object) -> str:
    """Show settings as a block of JSON, whatever they hold."""
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{ticks}json\n{text}\n{ticks}"
