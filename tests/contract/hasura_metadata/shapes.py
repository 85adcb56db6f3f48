"""Small shapes that a YAML value can be held against: what is wrong, and under which keys.

Knows nothing of Hasura; schema.py builds its files from these.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Keys = tuple[str | int, ...]
Complaint = tuple[Keys, str]
Shape = Callable[[Any, Keys], Iterator[Complaint]]


def text(value: Any, at: Keys) -> Iterator[Complaint]:
    """A non-empty string."""
    if not isinstance(value, str) or not value:
        yield at, "must be a non-empty string"


def boolean(value: Any, at: Keys) -> Iterator[Complaint]:
    """True or false."""
    if not isinstance(value, bool):
        yield at, "must be true or false"


def integer(minimum: int) -> Shape:
    """A whole number of at least `minimum`."""

    def check(value: Any, at: Keys) -> Iterator[Complaint]:
        # Python's True is an int, YAML's is not.
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            yield at, f"must be an integer of at least {minimum}"

    return check


def one_of(*choices: str | int) -> Shape:
    """One of a few constants, of the same type as well: 3 is not "3", and 1 is not true."""

    def check(value: Any, at: Keys) -> Iterator[Complaint]:
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            yield at, f"must be {' or '.join(map(repr, choices))}"

    return check


def matching(pattern: str, sentence: str) -> Shape:
    """A string that matches `pattern` from end to end; else `sentence`."""

    def check(value: Any, at: Keys) -> Iterator[Complaint]:
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            yield at, sentence

    return check


def list_of(item: Shape, *, unique: str | None = None, empty: bool = True) -> Shape:
    """A list of `item`; `unique` names the key whose value may occur only once."""

    def check(value: Any, at: Keys) -> Iterator[Complaint]:
        if not isinstance(value, list):
            yield at, "must be a list"
        elif not value and not empty:
            yield at, "must not be empty"
        else:
            seen: list[Any] = []
            for index, entry in enumerate(value):
                complaints = list(item(entry, (*at, index)))
                yield from complaints
                if unique and not complaints:
                    if entry[unique] in seen:
                        yield (*at, index, unique), f"{entry[unique]!r} occurs twice"
                    seen.append(entry[unique])

    return check


def mapping(value: Any, at: Keys) -> Iterator[Complaint]:
    """A mapping with strings as keys; what they may be is checked elsewhere."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        yield at, "must be a mapping with strings as keys"


def map_of(item: Shape, *, empty: bool = True) -> Shape:
    """A mapping as above, of values that are `item`."""

    def check(value: Any, at: Keys) -> Iterator[Complaint]:
        if complaints := list(mapping(value, at)):
            yield from complaints
        elif not value and not empty:
            yield at, "must not be empty"
        else:
            for key, entry in value.items():
                yield from item(entry, (*at, key))

    return check


def record(
    required: Mapping[str, Shape],
    optional: Mapping[str, Shape] | None = None,
    *,
    exactly_one: tuple[str, ...] = (),
    at_least_one: tuple[str, ...] = (),
) -> Shape:
    """A mapping with a closed set of keys; the last two name optional keys that exclude or need
    one another.
    """
    known = {**required, **(optional or {})}

    def check(value: Any, at: Keys) -> Iterator[Complaint]:
        if not isinstance(value, dict):
            yield at, "must be a mapping"
            return
        # A misspelt key is also a missing one: one complaint is enough.
        if unknown := [key for key in value if key not in known]:
            for key in unknown:
                yield at, f"unknown key {key!r}; known here: {', '.join(sorted(known))}"
            return
        if missing := [key for key in required if key not in value]:
            yield at, f"lacks {' and '.join(missing)}"
        if exactly_one and sum(key in value for key in exactly_one) != 1:
            yield at, f"needs exactly one of {' and '.join(exactly_one)}"
        if at_least_one and not any(key in value for key in at_least_one):
            yield at, f"needs at least one of {', '.join(at_least_one)}"
        for key, entry in value.items():
            yield from known[key](entry, (*at, key))

    return check


def either(first: Shape, second: Shape, sentence: str) -> Shape:
    """A value that fits one of two shapes; else `sentence`."""

    def check(value: Any, at: Keys) -> Iterator[Complaint]:
        if any(first(value, at)) and any(second(value, at)):
            yield at, sentence

    return check
