"""Takes the metadata from one object, as `export_metadata` gave it: the way back of export.py."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from devstack.standin.errors import MetadataInconsistent, MetadataRefused
from devstack.standin.metadata.files import dotted, told
from devstack.standin.metadata.signatures import Signatures, read_signatures
from devstack.standin.metadata.whole import Metadata
from devstack.standin.models.actions import ActionsFile
from devstack.standin.models.base import NOT_SET
from devstack.standin.models.merged import MergedAction, MergedMetadata, Typed

# What the object has beyond the files, where actions.graphql tells it.
_SIGNATURE = {"type", "arguments", "output_type", "fields", "values", "description"}


def read_merged(content: Any, environment: Mapping[str, str]) -> Metadata:
    """Read the object.

    Raises:
        MetadataInconsistent: it needs a variable that is not set.
        MetadataRefused: anything else is wrong with it.
    """
    try:
        merged = MergedMetadata.model_validate(content, context=environment)
        actions = ActionsFile.model_validate(_without_signatures(content), context=environment)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        line = "; ".join(told(detail, dotted) for detail in details)
        refusal = MetadataRefused
        if all(detail["type"] == NOT_SET for detail in details):
            refusal = MetadataInconsistent
        raise refusal(line) from error
    source, *others = merged.sources.root
    return Metadata(
        source,
        actions,
        _signatures(merged),
        merged.query_collections,
        merged.allowlist,
        merged.inherited_roles,
        tuple(others),
    )


def _without_signatures(content: Mapping[str, Any]) -> dict[str, Any]:
    """Give what actions.yaml would hold."""
    return {
        "actions": [
            action | {"definition": _less(action["definition"])}
            for action in content.get("actions", ())
        ],
        "custom_types": {
            kind: [_less(named) for named in types]
            for kind, types in content.get("custom_types", {}).items()
        },
    }


def _less(item: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in _SIGNATURE}


def _signatures(merged: MergedMetadata) -> Signatures:
    """Write actions.graphql and read it."""
    types = merged.custom_types
    parts = [_action(action) for action in merged.actions]
    parts += [f"type {it.name} {{ {_typed(it.fields)} }}" for it in types.objects]
    parts += [f"input {it.name} {{ {_typed(it.fields)} }}" for it in types.input_objects]
    parts += [
        f"enum {it.name} {{ {' '.join(value.value for value in it.values)} }}" for it in types.enums
    ]
    parts += [f"scalar {it.name}" for it in types.scalars]
    return read_signatures("\n".join(parts))


def _action(action: MergedAction) -> str:
    definition = action.definition
    arguments = f"({_typed(definition.arguments)})" if definition.arguments else ""
    field = f"{action.name}{arguments}: {definition.output_type}"
    return f"extend type {definition.type.title()} {{ {field} }}"


def _typed(items: Iterable[Typed]) -> str:
    return " ".join(f"{item.name}: {item.type}" for item in items)
