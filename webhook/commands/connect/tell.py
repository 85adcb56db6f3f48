"""What is added, or taken back, as lines that a person can read."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from webhook.commands.connect.columns import down_sql, up_sql
from webhook.commands.connect.merge import Addition, Step, identity
from webhook.commands.connect.plan import Plan
from webhook.commands.connect.yaml_lists import dump
from webhook.hasura.binding import Binding


def told_plan(plan: Plan, documents: Sequence[Path]) -> Iterator[str]:
    """Tell what would be added; `documents` are the files that would be written."""
    if plan.missing:
        yield f"Columns of {plan.table}"
        yield from _marked("+", up_sql(plan.table, plan.missing))
        yield "  and to take them back"
        yield from _marked(" ", down_sql(plan.table, list(plan.missing)))
    yield from _told("+", plan.added)
    if documents:
        yield "Documents"
        yield from (f"  + {path}" for path in documents)


def told_removal(columns: str, gone: Sequence[Addition], left: Sequence[Addition]) -> Iterator[str]:
    """Tell what would be taken back; `columns` is the SQL for it."""
    yield from _told("-", gone)
    if columns:
        yield "Columns, with all that is in them"
        yield from _marked("-", columns)
    for addition in left:
        yield f"{_place((*addition.at, identity(addition.item)))} stays: others use it meanwhile."


def untouched(metadata: Mapping[str, Any], binding: Binding) -> str:
    """Count what is not of ours."""
    table = {"table": {"schema": binding.schema, "name": binding.table}}
    entries = [it for source in metadata.get("sources") or () for it in source.get("tables") or ()]
    counts = {
        "table": sum(identity(it) != table for it in entries),
        "action": sum(it["name"] != binding.action for it in metadata.get("actions") or ()),
        "event trigger": sum(
            it["name"] != binding.trigger
            for entry in entries
            for it in entry.get("event_triggers") or ()
        ),
    }
    told = ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items())
    return f"{told} of yours: untouched."


def _told(mark: str, additions: Sequence[Addition]) -> Iterator[str]:
    place = None
    for addition in additions:
        if (here := _place(addition.at)) != place:
            yield here
            place = here
        yield from _marked(mark, dump([addition.item]))


def _place(way: Sequence[Step]) -> str:
    return " / ".join(_name(step) for step in way)


def _name(step: Any) -> str:
    if not isinstance(step, Mapping):
        return str(step)
    (value,) = step.values()
    return f"{value['schema']}.{value['name']}" if isinstance(value, Mapping) else str(value)


def _marked(mark: str, text: str) -> Iterator[str]:
    return (f"  {mark} {line}" for line in text.splitlines())
