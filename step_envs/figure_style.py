"""How every picture of this project looks: its size, fonts, colours and background, and how it is written to files.

A picture is made to be put on a slide as it is. It is as wide as a slide of 16:9 (12.8 inches, 1,920 pixels), and its
letters are as large as those of a slide's text, because a picture that is shrunk from a page to a slide can be read by
nobody. Colours are those of Okabe and Ito, which people who see fewer colours tell apart; markers say the same. The
background is one plain colour, light or dark, so that the picture can be laid on any slide.

The same data and version of matplotlib give the same bytes: files hold no date, and ids in an SVG do not come from chance.
Matplotlib is imported in the functions only, so that the package can be imported without it.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from step_envs.errors import missing_package
from step_envs.text import visible

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Background = Literal["light", "dark"]

WIDTH, HEIGHT = 12.8, 7.2
"""Inches of a slide."""

DPI = 150
"""Pixels in an inch: a picture is 1,920 pixels wide."""

MOST_INCHES = 60.0
"""The highest that a picture may be; a list that needs more is cut by who draws it."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31")
"""Colours of lines and points, in order; black is left out, which a dark background would hide."""

MARKERS = "osD^vPX"
"""Markers that go with them."""

BLUE, RED, GREEN, PINK, ORANGE, SKY, BROWN = COLOURS
YELLOW = "#f0e442"
"""For areas only: a line of it cannot be seen on white."""

GREY = "#8a8a8a"
"""For what is neither good nor bad, such as what nobody judged."""

SMALL = 13
"""Points of the smallest letters, for notes within a picture; all others have 15."""

_LONGEST_LABEL = 44
_LETTERS = 118  # of a legend, beside each other on a slide
_FONT = "'DejaVu Sans'"
# What a browser or a slide program takes where that font is not installed; Verdana is as wide.
_FONTS = "'DejaVu Sans', Verdana, Arial, sans-serif"
_SHADES: dict[Background, dict[str, str]] = {
    "light": {"paper": "#ffffff", "ink": "#222222", "line": "#777777", "grid": "#e3e3e3"},
    "dark": {"paper": "#1e2227", "ink": "#f0f0f0", "line": "#a0a0a0", "grid": "#3a4048"},
}


def known_background(name: str) -> Background:
    """Return the background of that name.

    Raises:
        ValueError: There is none.
    """
    if name not in _SHADES:
        raise ValueError(f"background must be 'light' or 'dark', got {name!r}.")
    return name


def style(background: Background = "light") -> dict[str, object]:
    """Return the settings of matplotlib (``rcParams``) that all pictures are drawn with.

    Raises:
        ValueError: There is no such background.
    """
    shades = _SHADES[known_background(background)]
    return {
        "svg.hashsalt": "step-envs",
        "svg.fonttype": "none",
        "font.family": "DejaVu Sans",
        "font.size": 15,
        "axes.titlesize": 16,
        "axes.titlelocation": "left",
        "figure.titlesize": 19,
        "figure.dpi": DPI,
        "savefig.dpi": DPI,
        "figure.facecolor": shades["paper"],
        "axes.facecolor": shades["paper"],
        "savefig.facecolor": shades["paper"],
        "text.color": shades["ink"],
        "axes.labelcolor": shades["ink"],
        "xtick.color": shades["line"],
        "ytick.color": shades["line"],
        "xtick.labelcolor": shades["ink"],
        "ytick.labelcolor": shades["ink"],
        "axes.edgecolor": shades["line"],
        "axes.linewidth": 1.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": shades["grid"],
        "grid.linewidth": 1.0,
        "lines.linewidth": 2.4,
        "lines.markersize": 8,
        "errorbar.capsize": 4,
        "legend.frameon": False,
        "legend.fontsize": 14,
        "figure.constrained_layout.h_pad": 0.12,
        "figure.constrained_layout.w_pad": 0.12,
        # What comes from runs is no formula.
        "text.parse_math": False,
    }


@contextmanager
def drawing(purpose: str, extra: str, background: Background = "light") -> Iterator[None]:
    """Draw all pictures within in the style of the project.

    Args:
        purpose: What needs matplotlib, as the subject of a sentence.
        extra: The extra of step-envs that brings it.
        background: Light or dark.

    Raises:
        gymnasium.error.DependencyNotInstalled: matplotlib is missing.
        ValueError: There is no such background.
    """
    settings = style(background)
    try:
        import matplotlib
        import matplotlib.figure
    except ImportError as error:
        raise missing_package("matplotlib", purpose, extra) from error
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # A name may hold letters that the font has no shape for; a box stands for them.
        warnings.filterwarnings("ignore", message="Glyph")
        yield


def slide(height: float = HEIGHT) -> "Figure":
    """Make an empty picture as wide as a slide, and as high as one unless it needs more."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, min(max(height, HEIGHT), MOST_INCHES)), layout="constrained")


def save_picture(figure: "Figure", folder: Path, name: str) -> None:
    """Write a picture as ``NAME.png`` and ``NAME.svg``, without dates and names of programs."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", metadata={"Software": None})
    file = folder / f"{name}.svg"
    figure.savefig(file, metadata={"Date": None, "Creator": None})
    file.write_text(file.read_text(encoding="utf-8").replace(_FONT, _FONTS), encoding="utf-8")


def label(text: str, longest: int = _LONGEST_LABEL) -> str:
    """Return a name from a run as one short line that can stand in a picture, an SVG included."""
    # Two letters that are none, which no SVG may hold.
    line = " ".join(visible(text).split()).translate({0xFFFE: "\ufffd", 0xFFFF: "\ufffd"})
    return line if len(line) <= longest else f"{line[: longest - 3]}..."


def legend_columns(names: Sequence[str]) -> int:
    """Return how many columns of a legend fit beside each other on a slide."""
    widths = [len(name) + 7 for name in names]
    if not widths or sum(widths) <= _LETTERS:
        return max(1, len(widths))
    return max(1, min(len(widths), _LETTERS // max(widths)))


def legend_inches(names: Sequence[str]) -> float:
    """Return how many inches a legend takes that stands below the data."""
    return 0.34 * -(-len(names) // legend_columns(names)) if names else 0.0


def legend_below(figure: "Figure", handles: Sequence["Artist"], names: Sequence[str]) -> None:
    """Put a legend below all of the data, where it can cover none of it; one that names a single thing is left out."""
    if len(names) > 1:
        figure.legend(handles, names, loc="outside lower left", ncols=legend_columns(names))


def title(figure: "Figure", text: str) -> None:
    """Give a picture its title."""
    figure.suptitle(text, x=0.01, ha="left")


def rows(axes: "Axes", labels: Sequence[str]) -> None:
    """Name the rows of a picture that lists things from top to bottom."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(max(1, len(labels)) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
