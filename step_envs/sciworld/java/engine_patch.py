"""Which methods of the original engine the fast backend replaces, and by what.

Most of a step goes into work whose result nobody uses, or into sets that compare each object with all others. The classes
in ``src/stepenvs/engine`` do the same work without that, and this table hangs them into the engine: each method named
here becomes a call of the static method of the same name. The rest of the engine, all physics, chemistry and wording, is
the original's.

Only the jar of ScienceWorld 1.2.3 is patched: the replacements were compared with that one, byte for byte.
"""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

from step_envs.sciworld.java.class_file import ClassFile

ENGINE_DIGEST = "f4e1fdce0cdabe1bab7128a7e78ea820210d9db3c28d7272bcbbc3f3a1c5f0d7"
"""SHA-256 of the jar in ``scienceworld`` 1.2.3."""

_TREE = "stepenvs/engine/ObjectTree"
_MATCHING = "stepenvs/engine/InputMatching"
_NAMES = "stepenvs/engine/UniqueNames"
_TASKS = "stepenvs/engine/TaskSelection"


def _objects(file: ClassFile) -> None:
    file.make_public("containedObjects", "portals")
    file.replace_with_call("getPortals", _TREE)
    file.replace_with_call("getContainedObjects", _TREE)
    file.replace_with_call("getContainedObjectsNotHidden", _TREE)
    file.replace_with_call("getContainedObjectsAndPortalsRecursive", _TREE)
    file.replace_with_call("getContainedAccessibleObjects", _TREE)


def _parser_functions(file: ClassFile) -> None:
    file.replace_with_call("collectObjects", _TREE)
    file.replace_with_call("collectAccessibleObjects", _TREE)
    file.replace_with_call("getObjectReferents", _MATCHING)
    file.replace_with_call("getPossibleReferents", _MATCHING)
    file.replace_with_call("getAllUniqueReferents", _NAMES)


def _parser(file: ClassFile) -> None:
    file.call_before("parse", _MATCHING, "beforeParse")
    file.replace_with_call("matchObj", _MATCHING)
    file.replace_with_call("getAllUniqueReferentsLUTObjList", _NAMES)


def _task_maker(file: ClassFile) -> None:
    file.replace_with_call("registerTasks", _TASKS)


def _type_numbers(file: ClassFile) -> None:
    # It writes object_type_ids.tsv into the working folder at each new type; nothing that we show depends on it.
    file.do_nothing("save")


_PATCHES: dict[str, Callable[[ClassFile], None]] = {
    "scienceworld/input/InputParser$.class": _parser_functions,
    "scienceworld/input/InputParser.class": _parser,
    "scienceworld/struct/EnvObject.class": _objects,
    "scienceworld/tasks/TaskMaker1.class": _task_maker,
    "util/UniqueTypeID$.class": _type_numbers,
}
"""File in the jar -> what is changed in it."""


def patched_classes(engine_jar: Path) -> bytes:
    """Return a jar with the patched classes alone; it goes before the original in the class path.

    Args:
        engine_jar: The original engine. The caller has checked that it is the one of ``ENGINE_DIGEST``.
    """
    target = io.BytesIO()
    with zipfile.ZipFile(engine_jar) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as jar:
        for name, patch in _PATCHES.items():
            file = ClassFile(source.read(name))
            patch(file)
            # ZipInfo's date is a constant: the same bytes on every machine.
            jar.writestr(zipfile.ZipInfo(name), file.write())
    return target.getvalue()
