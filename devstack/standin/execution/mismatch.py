"""A value of the wrong type, told as graphql-engine tells it: what was expected, what was found."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from graphql import GraphQLEnumType, GraphQLSchema, IntValueNode, Node

# What the library says of a value that does not fit; each group is the name of a type.
_SCALAR = re.compile(r"(Int|Float|String|Boolean|ID) cannot represent")
_OBJECT = re.compile(r"Expected value of type '(\w+)' to be an object")
_NO_ENUM = re.compile(r"Enum '(\w+)' cannot represent")
_OTHER_ENUM = re.compile(r"Value '(\w+)' does not exist in '(\w+)' enum")
_EXPECTED = {
    "Int": "a 32-bit integer",
    "Float": "a float",
    "String": "a string",
    "Boolean": "a boolean",
    "ID": "a String or a 32-bit integer",
}
_LITERALS = {
    "int_value": "an integer",
    "float_value": "a float",
    "string_value": "a string",
    "boolean_value": "a boolean",
    "null_value": "null",
    "enum_value": "an enum value",
    "list_value": "a list",
    "object_value": "an object",
}
_JSON: Mapping[type, str] = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def mismatch(message: str, found: Any, schema: GraphQLSchema) -> tuple[str, str] | None:
    """Give what graphql-engine says, and its code; None if the library does not speak of a type.

    Args:
        message: of the library.
        found: the literal's node, or the JSON value of a variable.
        schema: knows the values of an enum.
    """
    if match := _SCALAR.match(message):
        if match[1] == "Int" and _is_number(found):
            return _out_of_bounds(found), "parse-failed"
        return _unexpected(_EXPECTED[match[1]], match[1], found)
    if match := _OBJECT.match(message):
        return _unexpected("an object", match[1], found)
    if match := _NO_ENUM.match(message):
        return _unexpected("an enum value", match[1], found)
    if match := _OTHER_ENUM.match(message):
        value, name = match.groups()
        enum = schema.type_map[name]
        assert isinstance(enum, GraphQLEnumType)
        values = ", ".join(f"'{known}'" for known in enum.values)
        text = f"expected one of the values [{values}] for type '{name}', but found '{value}'"
        return text, "validation-failed"
    return None


def described(found: Any) -> str:
    """Name the kind of a literal or a JSON value."""
    return _LITERALS[found.kind] if isinstance(found, Node) else _JSON[type(found)]


def _unexpected(expected: str, name: str, found: Any) -> tuple[str, str]:
    text = f"expected {expected} for type '{name}', but found {described(found)}"
    return text, "validation-failed"


def _is_number(found: Any) -> bool:
    """Tell whether the engine reads it as a number, and only then minds its size."""
    if isinstance(found, Node):
        return isinstance(found, IntValueNode)
    return isinstance(found, int | float) and not isinstance(found, bool)


def _out_of_bounds(found: Any) -> str:
    number = Decimal(found.value if isinstance(found, IntValueNode) else str(found))
    shown = str(float(number))
    if abs(number) >= 1e7:  # as Haskell writes it: 9.9999999999e10
        mantissa, _, exponent = f"{number.normalize():e}".partition("e")
        shown = f"{mantissa if '.' in mantissa else mantissa + '.0'}e{int(exponent)}"
    return (
        f"The value {shown} lies outside the bounds or is not an integer."
        " Maybe it is a float, or is there integer overflow?"
    )
