"""Shows the state of an engine as the facts of its PDDL problem, for the general evaluator of goals."""

from collections.abc import Sequence

from step_envs.alfworld.engine import Engine


class EngineFacts:
    """The facts that hold in an engine now."""

    def __init__(self, engine: Engine) -> None:
        game = engine.game
        things = [thing.id for thing in game.things]
        receptacles = [receptacle.id for receptacle in game.receptacles]
        self._names = {
            "object": things,
            "receptacle": receptacles,
            "agent": ["agent1"],
            "location": list(game.locations),
        }
        facts: set[tuple[str, ...]] = {("atlocation", "agent1", game.locations[engine.location])}
        if engine.held is not None:
            facts.add(("holds", "agent1", things[engine.held]))
        for r, contents in enumerate(engine.contents):
            facts |= {("inreceptacle", things[o], receptacles[r]) for o in contents}
            facts.add(("receptacletype", receptacles[r], game.receptacles[r].type))
            facts.add(("receptacleatlocation", receptacles[r], game.locations[game.receptacles[r].location]))
        for thing in game.things:
            facts.add(("objecttype", thing.id, thing.type))
            for name in ("cleanable", "heatable", "coolable", "toggleable"):
                if getattr(thing, name):
                    facts.add((name, thing.id))
        for name, members in (
            ("isclean", engine.clean), ("ishot", engine.hot), ("iscool", engine.cool), ("istoggled", engine.toggled),
        ):  # fmt: skip
            facts |= {(name, things[o]) for o in members}
        self._facts = facts

    def holds(self, predicate: str, arguments: Sequence[str]) -> bool:
        return (predicate, *arguments) in self._facts

    def names(self, kind: str) -> Sequence[str]:
        return self._names[kind]
