"""From metadata to metadata: what is added, and how it is taken back. Pure; nothing is judged here.

All that is ever added is an item of a list, so an addition is the way to a list, and the item.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

Step = str | Mapping[str, Any]
"""A key of an object, or what tells one item of a list from the others."""

_TELLS_ITEMS_APART = ("table", "role", "collection", "name")
_PERMISSIONS = ("select_permissions", "update_permissions")


@dataclass(frozen=True, slots=True)
class Addition:
    """One item of one list of the metadata.

    Attributes:
        at: The way to the list.
        item: What is added at its end.
        made: How many of the last steps of the way were not there before.
    """

    at: tuple[Step, ...]
    item: Any
    made: int = 0


def merge(
    metadata: Mapping[str, Any], wanted: Iterable[Addition]
) -> tuple[dict[str, Any], list[Addition]]:
    """Add what is not there yet.

    Args:
        metadata: As Hasura exports it; stays as it is.
        wanted: What must be there, in an order in which each finds its way.

    Returns:
        The metadata with all of it, and what was added.
    """
    merged = copy.deepcopy(dict(metadata))
    added = [_add(merged, lack) for wish in wanted for lack in _lacks(merged, wish)]
    return merged, added


def take_back(
    metadata: Mapping[str, Any], added: Sequence[Addition]
) -> tuple[dict[str, Any], list[Addition]]:
    """Remove what was added; what is gone already does not matter.

    A table stays tracked if somebody else has given it something meanwhile.

    Returns:
        The metadata without it, and what stays.
    """
    rest = copy.deepcopy(dict(metadata))
    return rest, [it for it in reversed(added) if not _remove(rest, it)]


def identity(item: Any) -> Any:
    """Return what tells an item from the others of its list."""
    if not isinstance(item, Mapping):
        return item
    key = next((key for key in _TELLS_ITEMS_APART if key in item), None)
    if key is None:
        return item
    return {key: _table(item[key]) if key == "table" else item[key]}


def look_up(node: Any, way: Iterable[Step]) -> Any:
    """Follow a way; None if it leads nowhere."""
    for step in way:
        if isinstance(step, str):
            node = node.get(step) if isinstance(node, Mapping) else None
        else:
            node = item_of(node, step)
    return node


def item_of(items: Any, step: Any) -> Any:
    """Return the item of a list that has this identity; None if there is none."""
    if not isinstance(items, list):
        return None
    return next((item for item in items if identity(item) == step), None)


def _table(name: Any) -> Any:
    """Write the name of a table in full."""
    return {"schema": "public", **(name if isinstance(name, Mapping) else {"name": name})}


def _lacks(metadata: Mapping[str, Any], wish: Addition) -> Iterator[Addition]:
    there = item_of(look_up(metadata, wish.at), identity(wish.item))
    if there is None:
        yield wish
    elif wish.at[-1] in _PERMISSIONS:
        columns = look_up(there, ("permission", "columns"))
        if columns != "*":
            at = (*wish.at, identity(wish.item), "permission", "columns")
            for column in wish.item["permission"]["columns"]:
                if column not in (columns or ()):
                    yield Addition(at, column)


def _add(metadata: dict[str, Any], addition: Addition) -> Addition:
    node: Any = metadata
    made = 0
    for number, step in enumerate(addition.at, start=1):
        if isinstance(step, str):
            if node.get(step) is None:
                node[step] = [] if number == len(addition.at) else {}
                made += 1
            node = node[step]
        else:
            node = item_of(node, step)
    node.append(copy.deepcopy(addition.item))
    return replace(addition, made=made)


def _remove(metadata: dict[str, Any], addition: Addition) -> bool:
    """Remove an item, and then what was made for it; tell whether it is gone."""
    items = look_up(metadata, addition.at)
    there = item_of(items, identity(addition.item))
    if there is None:
        return True
    if "table" in identity(addition.item) and there != addition.item:
        return False
    items.remove(there)
    for length in range(len(addition.at), len(addition.at) - addition.made, -1):
        *way, key = addition.at[:length]
        holder = look_up(metadata, way)
        if holder[key]:
            break
        del holder[key]
    return True
