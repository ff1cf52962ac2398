"""Java class files in plain Python: read one, change some of its methods, write it.

Users have a Java runtime and no compiler, and the engine comes as compiled classes. To change a dozen of its methods, a
library such as ASM would have to be shipped and started; but what we write into a method is always the same handful of
instructions, a call of a static method with the method's own arguments. For that it is enough to know where a class file
keeps its constants and its methods; all else is copied as it is.

The format is chapter 4 of the Java Virtual Machine Specification.
"""

import struct
from dataclasses import dataclass

# Tag of a constant -> its length in bytes, tag included; a text (tag 1) has a length of its own.
_CONSTANT_BYTES = {
    3: 5, 4: 5, 5: 9, 6: 9, 7: 3, 8: 3, 9: 5, 10: 5, 11: 5, 12: 5, 15: 4, 16: 3, 17: 5, 18: 5, 19: 3, 20: 3,
}  # fmt: skip
_TEXT, _CLASS, _METHOD, _NAME_AND_TYPE = 1, 7, 10, 12
_TWO_PLACES = (5, 6)  # a long and a double take two numbers of the pool

_PUBLIC, _PRIVATE = 0x0001, 0x0002

# Instructions: by the first letter of a type, to load an argument and to return a value.
_LOAD = {"I": 21, "Z": 21, "B": 21, "S": 21, "C": 21, "J": 22, "F": 23, "D": 24}
_LOAD_REFERENCE = 25
_RETURN = {"V": 177, "I": 172, "Z": 172, "B": 172, "S": 172, "C": 172, "J": 173, "F": 174, "D": 175}
_RETURN_REFERENCE = 176
_INVOKE_VIRTUAL, _INVOKE_STATIC = 182, 184


@dataclass
class Member:
    """A field or a method.

    Attributes:
        flags: Its access flags.
        name: Number of its name in the constant pool.
        descriptor: Number of its descriptor, e.g. that of ``(Ljava/lang/String;)V``.
        attributes: Number of the name and content of each attribute; ``Code`` is one of them.
    """

    flags: int
    name: int
    descriptor: int
    attributes: list[tuple[int, bytes]]

    def write(self) -> bytes:
        """Return the member as it stands in a class file."""
        head = struct.pack(">HHHH", self.flags, self.name, self.descriptor, len(self.attributes))
        return head + b"".join(struct.pack(">HI", name, len(data)) + data for name, data in self.attributes)


class ClassFile:
    """A class file whose methods can be changed.

    Args:
        data: The bytes of the file.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._texts: dict[int, str] = {}
        self._constants, at = self._read_constants()
        self._pool_end = at
        self._added = b""
        (interfaces,) = struct.unpack_from(">H", data, at + 6)
        self._head = data[at : at + 8 + 2 * interfaces]
        at += len(self._head)
        self._fields, at = self._read_members(at)
        self._methods, at = self._read_members(at)
        self._tail = data[at:]
        self._numbers = {text: number for number, text in self._texts.items()}

    def replace_with_call(self, method: str, target: str) -> None:
        """Have a method do nothing but call a static method with its object and its arguments.

        Args:
            method: Name of the method; it must be the only one of this name.
            target: The class that has a static method of this name, e.g. ``stepenvs/engine/ObjectTree``.
        """
        member = self._find(method)
        parameters, result = _types(self._texts[member.descriptor])
        own_types = [f"L{self.name};", *parameters]
        call = self._call(_INVOKE_STATIC, target, method, f"({''.join(own_types)}){result}")
        self._set_code(member, own_types, _loads(own_types) + call + _return(result))

    def call_before(self, method: str, target: str, name: str) -> None:
        """Have a method first call a static method that has neither arguments nor a result.

        Args:
            method: Name of the method; it must be the only one of this name.
            target: The class with the static method.
            name: Name of the static method.
        """
        member = self._find(method)
        descriptor = self._texts[member.descriptor]
        original = f"{method}$original"
        self._methods.append(Member(_PUBLIC, self._text(original), member.descriptor, member.attributes))
        parameters, result = _types(descriptor)
        own_types = [f"L{self.name};", *parameters]
        code = self._call(_INVOKE_STATIC, target, name, "()V") + _loads(own_types)
        code += self._call(_INVOKE_VIRTUAL, self.name, original, descriptor) + _return(result)
        self._set_code(member, own_types, code)

    def do_nothing(self, method: str) -> None:
        """Have a method without a result do nothing."""
        member = self._find(method)
        parameters, result = _types(self._texts[member.descriptor])
        self._set_code(member, [f"L{self.name};", *parameters], _return(result))

    def make_public(self, *methods: str) -> None:
        """Let other classes call methods that were private."""
        for method in methods:
            member = self._find(method)
            member.flags = (member.flags & ~_PRIVATE) | _PUBLIC

    @property
    def name(self) -> str:
        """Name of the class, e.g. ``scienceworld/struct/EnvObject``."""
        (number,) = struct.unpack_from(">H", self._head, 2)
        return self._texts[self._class_names[number]]

    def write(self) -> bytes:
        """Return the bytes of the changed file."""
        out = self._data[:8] + struct.pack(">H", self._constants) + self._data[10 : self._pool_end] + self._added
        out += self._head
        for members in (self._fields, self._methods):
            out += struct.pack(">H", len(members)) + b"".join(member.write() for member in members)
        return out + self._tail

    def _read_constants(self) -> tuple[int, int]:
        """Read the texts and class names of the constant pool; return the number of constants and where they end."""
        (count,) = struct.unpack_from(">H", self._data, 8)
        self._class_names: dict[int, int] = {}
        number, at = 1, 10
        while number < count:
            tag = self._data[at]
            if tag == _TEXT:
                (length,) = struct.unpack_from(">H", self._data, at + 1)
                self._texts[number] = self._data[at + 3 : at + 3 + length].decode("utf-8", "replace")
                at += 3 + length
            else:
                if tag == _CLASS:
                    (self._class_names[number],) = struct.unpack_from(">H", self._data, at + 1)
                at += _CONSTANT_BYTES[tag]
            number += 2 if tag in _TWO_PLACES else 1
        return count, at

    def _read_members(self, at: int) -> tuple[list[Member], int]:
        (count,) = struct.unpack_from(">H", self._data, at)
        at += 2
        members = []
        for _ in range(count):
            flags, name, descriptor, attribute_count = struct.unpack_from(">HHHH", self._data, at)
            at += 8
            attributes = []
            for _ in range(attribute_count):
                attribute, length = struct.unpack_from(">HI", self._data, at)
                attributes.append((attribute, self._data[at + 6 : at + 6 + length]))
                at += 6 + length
            members.append(Member(flags, name, descriptor, attributes))
        return members, at

    def _find(self, method: str) -> Member:
        found = [member for member in self._methods if self._texts.get(member.name) == method]
        if len(found) != 1:
            raise ValueError(f"{self.name} has {len(found)} methods named {method!r}, not one.")
        return found[0]

    def _set_code(self, member: Member, own_types: list[str], code: bytes) -> None:
        variables = sum(_width(type_) for type_ in own_types)
        # No exception handlers, and no attributes of the code itself.
        body = struct.pack(">HHI", variables + 2, variables, len(code)) + code + struct.pack(">HH", 0, 0)
        signature = [(name, data) for name, data in member.attributes if self._texts[name] == "Signature"]
        member.attributes = [(self._text("Code"), body), *signature]

    def _call(self, instruction: int, owner: str, method: str, descriptor: str) -> bytes:
        names = struct.pack(">BHH", _NAME_AND_TYPE, self._text(method), self._text(descriptor))
        name_and_type = self._add(names)
        class_ = self._add(struct.pack(">BH", _CLASS, self._text(owner)))
        return struct.pack(">BH", instruction, self._add(struct.pack(">BHH", _METHOD, class_, name_and_type)))

    def _text(self, text: str) -> int:
        """Return the number of a text in the constant pool; add the text if it is not there."""
        if text not in self._numbers:
            data = text.encode()
            number = self._add(struct.pack(">BH", _TEXT, len(data)) + data)
            self._numbers[text] = number
            self._texts[number] = text
        return self._numbers[text]

    def _add(self, constant: bytes) -> int:
        self._added += constant
        self._constants += 1
        return self._constants - 1


def _types(descriptor: str) -> tuple[list[str], str]:
    """Split a method's descriptor into the types of its parameters and of its result."""
    parameters, at = [], 1
    while descriptor[at] != ")":
        end = at
        while descriptor[end] == "[":
            end += 1
        end = descriptor.index(";", end) + 1 if descriptor[end] == "L" else end + 1
        parameters.append(descriptor[at:end])
        at = end
    return parameters, descriptor[at + 1 :]


def _width(type_: str) -> int:
    """Return how many variables a value takes."""
    return 2 if type_ in ("J", "D") else 1


def _loads(types: list[str]) -> bytes:
    """Return the instructions that load the arguments of a method, its object first."""
    code, variable = b"", 0
    for type_ in types:
        code += bytes([_LOAD.get(type_, _LOAD_REFERENCE), variable])
        variable += _width(type_)
    return code


def _return(result: str) -> bytes:
    return bytes([_RETURN.get(result, _RETURN_REFERENCE)])
