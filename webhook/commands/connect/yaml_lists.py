"""Items added to lists in the text of a YAML file, and removed again; every other byte stays.

The library only tells where things stand: what it would write has lost spaces and quotes.
"""

from collections.abc import Sequence
from typing import Any

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from webhook.commands.connect.merge import Step, identity

INCLUDE = "!include"

_Collection = MappingNode | SequenceNode


class Quoted(str):
    """A text that is written between double quotes."""


def load(text: str) -> Any:
    """Read a file's text; `!include` stays a text, as Hasura's command line takes both forms.

    Raises:
        yaml.YAMLError: it can't be read.
    """
    return yaml.load(text, _Loader)


def dump(value: Any) -> str:
    """Write a value as Hasura's command line does."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)


def insert(text: str, way: Sequence[Step], item: Any) -> str:
    """Add an item at the end of a list; what is missing of the way to it is made.

    Raises:
        LookupError, yaml.YAMLError: the text does not have that way.
    """
    node = yaml.compose(text, _Loader)
    column = 0
    for number, step in enumerate(way):
        below = _below(node, step)
        if below is None:
            return _extend(text, node, column, _nested(way[number:], item))
        column = node.start_mark.column + 2 if node else 0
        node = below
    return _extend(text, node, column, [item])


def remove(text: str, way: Sequence[Step], told: Any, made: int) -> str:
    """Remove the item with that identity from a list; if it was the last one, what was made for it.

    Raises:
        LookupError, yaml.YAMLError: the text does not have it.
    """
    nodes = _nodes(text, way)
    items = nodes[-1]
    gone = _below(items, told)
    if gone is None:
        raise LookupError(f"there is no {told}")
    if len(items.value) > 1:
        return _without(text, items, items.value.index(gone))
    made = min(made, len(way))
    while made > 1 and len(nodes[-2].value) == 1:  # the holder was made, too, and has no more
        nodes.pop()
        made -= 1
    if made == 0:
        return _emptied(text, nodes, "[]")
    if len(nodes[-2].value) == 1:
        return _emptied(text, nodes[:-1], "{}")
    names = [name.value for name, _ in nodes[-2].value]
    return _without(text, nodes[-2], names.index(way[len(nodes) - 2]))


class _Loader(yaml.SafeLoader):
    """Hasura's command line takes `!include` as a tag, too."""


def _include(loader: _Loader, node: ScalarNode) -> str:
    return f"{INCLUDE} {loader.construct_scalar(node)}"


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Loader.add_constructor(INCLUDE, _include)
_Dumper.add_representer(
    str,
    lambda dumper, data: dumper.represent_scalar(
        "tag:yaml.org,2002:str", data, style="|" if "\n" in data else None
    ),
)
_Dumper.add_representer(
    Quoted, lambda dumper, data: dumper.represent_scalar("tag:yaml.org,2002:str", data, style='"')
)


def _nodes(text: str, way: Sequence[Step]) -> list[_Collection]:
    """Return the root, and what each step of a way leads to."""
    nodes: list[_Collection] = []
    node = yaml.compose(text, _Loader)
    for step in (*way, None):
        if not isinstance(node, MappingNode | SequenceNode):
            raise LookupError(f"there is no {step}")
        nodes.append(node)
        node = _below(node, step)
    return nodes


def _below(node: Node | None, step: Any) -> Node | None:
    """Return what a step leads to; a value that is not written down is as good as missing."""
    match node:
        case MappingNode(value=pairs) if isinstance(step, str):
            found = [value for key, value in pairs if key.value == step]
            return found[0] if found and not _is_null(found[0]) else None
        case SequenceNode(value=items):
            return next((it for it in items if identity(_value(it)) == step), None)
    return None


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _value(node: Node) -> Any:
    return _Loader("").construct_object(node, deep=True)


def _nested(way: Sequence[Step], item: Any) -> Any:
    value = [item]
    for step in reversed(way):
        if not isinstance(step, str):
            raise LookupError(f"there is no {step}")
        value = {step: value}  # type: ignore[assignment]
    return value


def _extend(text: str, node: Node | None, column: int, more: Any) -> str:
    """Add the members of `more` to a list or an object, which has none yet if it is empty."""
    if node is None:
        return _appended(text, len(text.rstrip("\r\n")), 0, more) if text.strip() else dump(more)
    start, end = node.start_mark.index, node.end_mark.index
    if isinstance(node, MappingNode) and isinstance(more, dict):
        (key,) = more
        empty = next((it for it in node.value if it[0].value == key and _is_null(it[1])), None)
        if empty is not None:  # `key:` and nothing else
            at = empty[0].end_mark.index
            return _appended(text, _line_end(text, at), empty[0].start_mark.column + 2, more[key])
    if not node.value:
        line_end = _line_end(text, end)
        key = text[:start].rstrip(" ")
        if not key or key.endswith("\n"):
            return text[:start] + dump(more).rstrip("\n") + text[end:]
        text = key + text[end:]
        return _appended(text, line_end - (end - len(key)), column, more)
    if isinstance(node, MappingNode | SequenceNode) and node.flow_style:
        flow = yaml.dump(more, Dumper=_Dumper, default_flow_style=True, width=10**6).strip()
        return f"{text[: end - 1].rstrip(' ')}, {flow[1:-1]}{text[end - 1 :]}"
    return _appended(text, _end(text, node), node.start_mark.column, more)


def _appended(text: str, at: int, column: int, more: Any) -> str:
    """Write lines after the line that ends at `at`."""
    line_end = "\r\n" if "\r\n" in text else "\n"
    lines = [f"{' ' * column}{line}" for line in dump(more).splitlines()]
    return text[:at] + "".join(line_end + line for line in lines) + text[at:]


def _without(text: str, node: _Collection, index: int) -> str:
    """Cut one member out of a list or an object that has more."""
    members = [it if isinstance(it, Node) else it[0] for it in node.value]
    ends: list[Node] = [it if isinstance(it, Node) else it[1] for it in node.value]
    if node.flow_style:
        if index:
            return text[: ends[index - 1].end_mark.index] + text[ends[index].end_mark.index :]
        return text[: members[0].start_mark.index] + text[members[1].start_mark.index :]
    return _cut(text, members[index], ends[index])


def _emptied(text: str, nodes: Sequence[_Collection], empty: str) -> str:
    """Write an empty list or object in the place of the last node, whose last member goes."""
    node = nodes[-1]
    start, end = node.start_mark.index, node.end_mark.index
    if node.flow_style:
        return text[:start] + empty + text[end:]
    if len(nodes) == 1:
        return text[:start] + empty + text[_end(text, node) :]
    key = next(key for key, value in nodes[-2].value if value is node)
    colon = text.index(":", key.end_mark.index) + 1
    first, last = node.value[0], node.value[-1]
    first, last = (
        it if isinstance(it, Node) else it[part] for part, it in enumerate((first, last))
    )
    return _cut(f"{text[:colon]} {empty}{text[colon:]}", first, last, len(empty) + 1)


def _cut(text: str, first: Node, last: Node, shift: int = 0) -> str:
    """Cut whole lines out of a text that has become longer by `shift` before them."""
    start, end = first.start_mark.index + shift, _end(text, last, shift)
    before = text[:start].rpartition("\n")[0].removesuffix("\r")
    return before + text[end:] if before else text[end:].removeprefix("\r").removeprefix("\n")


def _end(text: str, node: Node, shift: int = 0) -> int:
    """Return where the last line of a node ends; the library takes comments after it along."""
    while isinstance(node, MappingNode | SequenceNode) and not node.flow_style:
        node = node.value[-1] if isinstance(node, SequenceNode) else node.value[-1][1]
    at = node.end_mark.index + shift
    if isinstance(node, ScalarNode) and node.style in ("|", ">"):
        at = len(text[:at].rstrip("\r\n"))
    return _line_end(text, at)


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    return end - 1 if end > at and text[end - 1] == "\r" else end
