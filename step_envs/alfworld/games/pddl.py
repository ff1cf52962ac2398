"""Reads PDDL text: nested expressions in parentheses, with comments. Symbols are lower-cased, as in Fast Downward."""

import re
from typing import TypeAlias

Expression: TypeAlias = "str | list[Expression]"
"""A symbol or a list of expressions."""

_COMMENT = re.compile(r";[^\n]*")
_TOKEN = re.compile(r"[()]|[^\s()]+")
_DEEPEST = 100
"""Deepest nesting that is read, because functions that walk an expression recurse as deep. Official files have 8."""


def strip_comments(text: str) -> str:
    """Lower-case PDDL text and remove its comments."""
    return _COMMENT.sub("", text).lower() if ";" in text else text.lower()


def read_expression(text: str) -> Expression:
    """Read the first expression in a text.

    Args:
        text: PDDL text; everything after the first whole expression is ignored.

    Returns:
        The expression as nested lists of lower-case symbols.

    Raises:
        ValueError: There is no whole expression in the text.
    """
    open_lists: list[list[Expression]] = []
    for token in _TOKEN.findall(strip_comments(text)):
        if token == "(":
            if len(open_lists) == _DEEPEST:
                raise ValueError(f"its parentheses are nested more than {_DEEPEST} deep")
            open_lists.append([])
            continue
        if token == ")":
            if not open_lists:
                raise ValueError("there is a closing parenthesis that nothing opened")
            done: Expression = open_lists.pop()
        else:
            done = token
        if not open_lists:
            return done
        open_lists[-1].append(done)
    raise ValueError("it ends before its parentheses are closed" if open_lists else "it is empty")


def write_expression(expression: Expression) -> str:
    """Write an expression in its canonical form, with single spaces and no line breaks."""
    if isinstance(expression, str):
        return expression
    return f"({' '.join(write_expression(part) for part in expression)})"
