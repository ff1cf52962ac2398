"""Draw the picture of the home page, docs/images/overview.svg; ``generated_docs.py`` writes it and a test compares it.

It shows an episode as a loop of agent, teacher and environment, and below it the trajectory that is recorded: which turns a
model is trained on, and which it only reads. The text is text, so that it can be searched and read aloud.
"""

from xml.sax.saxutils import escape

from step_envs.figure_style import BLUE, GREEN, GREY, RED

WIDTH, HEIGHT = 1200, 690
INK, PAPER, QUIET = "#222222", "#ffffff", "#5f5f5f"
ALT = (
    "An agent acts in an environment; a teacher judges every step. The recorded trajectory keeps the wrong step in the "
    "context without loss, and adds the teacher's correction, which is trained on like the right steps"
)
POINT = "The model reads its error, is not trained to make it, and learns what to do next."
TURNS = (
    ("task", "Put a clean apple in the fridge.", "read only", GREY),
    ("agent", "go to countertop 2", "trained on", BLUE),
    ("environment", "On the countertop 2, you see an apple 1.", "read only", GREY),
    ("agent", "go to fridge 1", "wrong: weight 0", RED),
    ("environment", "The fridge 1 is closed.", "read only", GREY),
    ("teacher", "Thought: I have no apple yet. Action: go to countertop 2", "trained on", GREEN),
)
"""Who speaks, what is said, what training does with it, and its colour."""


def overview() -> str:
    """Return the picture as SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="\'DejaVu Sans\', Verdana, Arial, sans-serif" font-size="20">',
        f"<title>{escape(ALT)}</title>",
        "<defs>"
        '<marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">'
        f'<path d="M0 0L10 5L0 10z" fill="{QUIET}"/></marker></defs>',
        f'<rect x="1" y="1" width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="16" fill="{PAPER}" stroke="#d5d5d5" '
        'stroke-width="2"/>',
        *_box(40, 50, 250, "Agent", ("a model, a script,", "or you"), BLUE),
        *_box(475, 50, 250, "Teacher", ("judges every step,", "corrects the wrong ones"), GREEN),
        *_box(910, 50, 250, "Environment", ("ALFWorld, WebShop,", "ScienceWorld"), GREY),
        _arrow("M290 84H469"),
        _text(380, 72, "reply", QUIET, 17, "middle"),
        _arrow("M725 84H904"),
        _text(815, 72, "action", QUIET, 17, "middle"),
        _arrow("M1035 166V206H165V172"),
        _text(600, 198, "observation", QUIET, 17, "middle"),
        _arrow("M600 206V256"),
        _text(616, 242, "recorded", QUIET, 17),
    ]
    parts += _trajectory(40, 266)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _box(x: int, y: int, width: int, name: str, lines: tuple[str, ...], colour: str) -> list[str]:
    middle = x + width // 2
    return [
        f'<rect x="{x}" y="{y}" width="{width}" height="116" rx="12" fill="{colour}" fill-opacity="0.12" '
        f'stroke="{colour}" stroke-width="2.5"/>',
        _text(middle, y + 38, name, INK, 24, "middle", bold=True),
        *(_text(middle, y + 68 + 26 * at, line, INK, 18, "middle") for at, line in enumerate(lines)),
    ]


def _trajectory(x: int, y: int) -> list[str]:
    width, row = WIDTH - 2 * x, 50
    parts = [
        f'<rect x="{x}" y="{y}" width="{width}" height="{64 + row * len(TURNS)}" rx="12" fill="none" stroke="#bdbdbd" '
        'stroke-width="2"/>',
        _text(x + 22, y + 36, "Trajectory", INK, 24, bold=True),
        _text(x + width - 22, y + 36, "what training does with it", QUIET, 17, "end"),
    ]
    for at, (who, said, use, colour) in enumerate(TURNS):
        top = y + 52 + row * at
        wrong = colour == RED
        parts += [
            f'<rect x="{x + 14}" y="{top}" width="{width - 28}" height="42" rx="8" fill="{colour}" fill-opacity="0.13"/>',
            f'<rect x="{x + 14}" y="{top}" width="8" height="42" rx="3" fill="{colour}"/>',
            _text(x + 38, top + 28, who, QUIET, 18),
            _text(x + 190, top + 28, said, INK, 20, struck=wrong),
            _text(x + width - 34, top + 28, use, INK, 18, "end", bold=use != "read only"),
        ]
    parts.append(_text(x, y + 64 + row * len(TURNS) + 34, POINT, INK, 19))
    return parts


def _arrow(path: str) -> str:
    return f'<path d="{path}" fill="none" stroke="{QUIET}" stroke-width="2.5" marker-end="url(#tip)"/>'


def _text(
    x: int,
    y: int,
    said: str,
    colour: str,
    size: int,
    anchor: str = "start",
    *,
    bold: bool = False,
    struck: bool = False,
) -> str:
    more = (' font-weight="bold"' if bold else "") + (' text-decoration="line-through"' if struck else "")
    return (
        f'<text x="{x}" y="{y}" fill="{colour}" font-size="{size}" text-anchor="{anchor}"{more}>{escape(said)}</text>'
    )
