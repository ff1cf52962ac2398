"""Recognises the release of a game file by the rules and the wording in it.

Every game file contains its own rules (a PDDL domain) and its own wording (a TextWorld grammar). The native engine does not
interpret them: it implements those of the official releases and of generated households, and would play other rules wrongly
without a sign of it. So the digest of every action and every text rule, in canonical form, is compared with the known ones.
An unknown one is named and the file is refused; the original engine (``backend="textworld"``) can play it.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

from step_envs.alfworld.games.pddl import read_expression, write_expression


class UnknownReleaseError(ValueError):
    """A domain or grammar contains something that the engine does not know; the message is a clause that says what."""


@dataclass(frozen=True, slots=True)
class Release:
    """The differences between the known releases.

    Attributes:
        says_put: The command is ``put X in/on Y`` (release 2.1.1), not ``move X to Y``.
        arrives_at_place: On arrival, a numbered location is named (``loc 7``, release 2.1.1), not the receptacle.
        has_help: There is a command ``help``.
        cleaning_types: Types of receptacles where things can be cleaned.
    """

    says_put: bool = False
    arrives_at_place: bool = False
    has_help: bool = True
    cleaning_types: frozenset[str] = frozenset({"sinkbasintype"})


HOUSEHOLD_RELEASE = Release()
"""The release that generated households are written in: its rules and wording are those of 2.1.3."""

# Digests of the canonical forms that the engine implements. Where there are two, the releases differ.
_ACTIONS = {
    "look": ("af35305d0073105f",),
    "inventory": ("707bf5a9f559863f",),
    "examinereceptacle": ("b3bf49299bab5205",),
    "examineobject": ("30dc940e6061553d",),
    "gotolocation": ("1a17e26de38fab24",),
    "openobject": ("21956169b15d8546",),
    "closeobject": ("11ebd46815bc0c79",),
    "pickupobject": ("67566d33029bd651",),
    "putobject": ("6ebc84b6bfd5a339",),
    "cleanobject": ("60439a4fefecb24d", "7908c09e9c2410ad"),
    "heatobject": ("913128a2295ae62c",),
    "coolobject": ("e5584ea482950e09",),
    "toggleobject": ("add36a6e826ee01c",),
    "sliceobject": ("d10bfbed9ccc451d",),
    "help": ("805c8dba41981b5e",),
}
_CLEANS_IN_SINK_TOO = "7908c09e9c2410ad"

_RULES = {
    "intro": ("216083ba7c5c9d08",),
    "GotoLocation.feedback": ("df5b823a24b07752", "09b0f0f0fa45eef3"),
    "OpenObject.feedback": ("1af5096c7414930a",),
    "CloseObject.feedback": ("01cf143fb27b4c9e",),
    "PickupObject.feedback": ("4dec34b29b1da34f",),
    "PutObject.feedback": ("1e736d7aa8b5da06", "d74757fc927ffdd7"),
    "inventory.feedback": ("10a90af74fc885ad",),
    "examineReceptacle.feedback": ("5c4c29e437a7388c",),
    "examineObject.feedback": ("384fc0bd21d33f99",),
    "toggleObject.feedback": ("0e3fc274298a4acd",),
    "heatObject.feedback": ("962b9db41402647e",),
    "cleanObject.feedback": ("bce25485bf56018b",),
    "coolObject.feedback": ("ac06d1cdd7c7f2bd",),
    "sliceObject.feedback": ("ffa03a313409d2dc",),
    "look.feedback": ("be96fdf33fd3d181",),
    "look-variations": ("51d6e0d6b4cfcf4e",),
    "list_objects_on_the_floor": ("1debc78e9c9768ce",),
    "list_appliances": ("0db854d4c8d99d90",),
    "overview(o)": ("4195965f71b2aab4",),
    "overview(r)": ("44373d35216201a7",),
    "list_empty": ("d4ca4eae89443c47",),
    "list_separator": ("85e97985e64c6334",),
    "list_last_separator": ("2585510d29cd4a93",),
}
_HELP_RULE = "bf2fffec7b1fb738"
_HELP_LITERAL = "3ad898b2e34ca248"
_ARRIVES_AT_PLACE = "09b0f0f0fa45eef3"
_SAYS_PUT = "d74757fc927ffdd7"

_COMMANDS = {
    "GotoLocation": "go to [{r.name | receptacleatlocation(r:receptacle, lend:location)}]",
    "OpenObject": "open {r}",
    "CloseObject": "close {r}",
    "PickupObject": "take {o} from {r}",
    "PutObject": "move {o} to {r}",
    "inventory": "inventory",
    "examineReceptacle": "examine {r}",
    "examineObject": "examine {o}",
    "ToggleObject": "use {o}",
    "HeatObject": "heat {o} with {r}",
    "CleanObject": "clean {o} with {r}",
    "CoolObject": "cool {o} with {r}",
    "SliceObject": "slice {co} with {ko}",
    "look": "look",
    "help": "help",
}
_PUT_COMMAND = "put {o} in/on {r}"
_SMALL_LETTER_RULES = frozenset({"ToggleObject", "HeatObject", "CleanObject", "CoolObject", "SliceObject"})

_TASK = re.compile(r'("task"\s*:\s*\[\s*\{\s*"rhs"\s*:\s*)("(?:[^"\\]|\\.)*")')
_RULE_BLOCK = re.compile(r'"""(.*?)"""', re.DOTALL)
_COMMAND = re.compile(
    r'\baction\s+(\w+)\s*\{\s*template\s*::\s*"([^"]*)"\s*;\s*feedback\s*::\s*"([^"]*)"\s*;', re.DOTALL
)


def recognise_release(domain: str, grammar: str) -> tuple[Release, str]:
    """Recognise the release of a game from its domain and grammar.

    Args:
        domain: The game's PDDL domain.
        grammar: The game's TextWorld grammar.

    Returns:
        The release, and the sentence that the grammar's rule ``task`` prints.

    Raises:
        UnknownReleaseError: An action or a text belongs to none of the known releases.
    """
    found = _TASK.search(grammar)
    if found is None:
        raise UnknownReleaseError("the grammar has no rule 'task' with one text")
    try:
        sentence: str = json.loads(found[2], strict=False)
    except ValueError as error:
        raise UnknownReleaseError(f"the grammar's task sentence is not valid JSON: {error}") from error
    if any(mark in sentence for mark in "#{}[]"):
        raise UnknownReleaseError(f"the task sentence {sentence!r} holds grammar symbols")
    # Apart from the task sentence, thousands of games have the same grammar; it is recognised once.
    return _recognise(domain, f'{grammar[: found.start(2)]}"TASK"{grammar[found.end(2) :]}'), sentence


@cache
def household_domain() -> str:
    """Return the PDDL domain of generated households."""
    return files("step_envs.alfworld").joinpath("data/domain.pddl").read_text(encoding="utf-8")


@cache
def household_grammar() -> str:
    """Return the TextWorld grammar of generated households, with ``TASK`` as its task sentence."""
    return files("step_envs.alfworld").joinpath("data/grammar.twl2").read_text(encoding="utf-8")


@lru_cache(maxsize=16)
def _recognise(domain: str, grammar: str) -> Release:
    if domain == household_domain():
        if grammar != household_grammar():
            raise UnknownReleaseError("the rules are those of generated households, but the grammar is another")
        return HOUSEHOLD_RELEASE
    actions = _check_actions(domain)
    rules, commands = _check_texts(grammar, actions)
    sinks = {"sinkbasintype"} | ({"sinktype"} if actions["cleanobject"] == _CLEANS_IN_SINK_TOO else set())
    return Release(
        says_put=commands["PutObject"] == _PUT_COMMAND,
        arrives_at_place=rules["GotoLocation.feedback"] == _ARRIVES_AT_PLACE,
        has_help="help" in actions,
        cleaning_types=frozenset(sinks),
    )


def _check_actions(domain: str) -> dict[str, str]:
    """Compare the actions of a domain with the known ones, and return action -> digest."""
    try:
        expression = read_expression(domain)
    except ValueError as error:
        raise UnknownReleaseError(f"the PDDL domain cannot be read: {error}") from error
    actions = {}
    for part in expression:
        if isinstance(part, list) and len(part) > 1 and part[0] == ":action" and isinstance(part[1], str):
            actions[part[1]] = _digest(write_expression(part))
    _check("the PDDL domain", "action", actions, _ACTIONS, optional={"help"})
    for name in actions:
        if name not in _ACTIONS:
            raise UnknownReleaseError(f"the PDDL domain has an action {name!r} that the engine does not know")
    return actions


def _check_texts(grammar: str, actions: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Compare the texts of a grammar with the known ones, and return rule -> digest and action -> command."""
    rules: dict[str, str] = {}
    for block in _RULE_BLOCK.findall(grammar):
        try:
            listed = json.loads(block, strict=False)
        except (ValueError, RecursionError) as error:
            raise UnknownReleaseError(f"a block of the grammar is not valid JSON: {error}") from error
        if not isinstance(listed, dict):
            raise UnknownReleaseError(f"a block of the grammar holds a {type(listed).__name__}, not rules by name")
        rules.update((name, _digest(json.dumps(rule, sort_keys=True))) for name, rule in listed.items())
    _check("the grammar", "text rule", rules, _RULES)
    commands, feedback = {}, {}
    for name, command, text in _COMMAND.findall(grammar):
        commands[name], feedback[name] = command, text
    for name, command in _COMMANDS.items():
        if name == "help" and "help" not in actions:
            continue
        if name not in commands:
            raise UnknownReleaseError(f"the grammar has no command for the action {name!r}")
        if commands[name] != command and (name, commands[name]) != ("PutObject", _PUT_COMMAND):
            raise UnknownReleaseError(f"the grammar says {commands[name]!r} where the engine knows {command!r}")
        if name != "help" and feedback[name] != f"#{_rule_name(name)}.feedback#":
            raise UnknownReleaseError(f"the grammar answers {name!r} with an unknown text")
    if "help" in actions and _digest(feedback["help"]) != _HELP_LITERAL and rules.get("help.feedback") != _HELP_RULE:
        raise UnknownReleaseError("the grammar has an unknown text for 'help'")
    if (commands["PutObject"] == _PUT_COMMAND) != (rules["PutObject.feedback"] == _SAYS_PUT):
        raise UnknownReleaseError("the grammar mixes the 'put' and the 'move' wording")
    return rules, commands


def _rule_name(action: str) -> str:
    return action[0].lower() + action[1:] if action in _SMALL_LETTER_RULES else action


def _check(
    where: str,
    what: str,
    found: Mapping[str, str],
    known: Mapping[str, tuple[str, ...]],
    optional: frozenset[str] | set[str] = frozenset(),
) -> None:
    for name, digests in known.items():
        if name not in found:
            if name in optional:
                continue
            raise UnknownReleaseError(f"{where} has no {what} {name!r}")
        if found[name] not in digests:
            raise UnknownReleaseError(f"{where} has another {what} {name!r} than the official releases")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
