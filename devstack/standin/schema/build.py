"""One role's executable schema: the tables' root fields, the actions and their relationships."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import httpx2
from graphql import (
    GraphQLError,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    ObjectTypeDefinitionNode,
    build_schema,
    is_introspection_type,
    is_specified_scalar_type,
    print_ast,
)

from devstack.standin.database.catalog import Catalog
from devstack.standin.database.conditions import condition
from devstack.standin.database.rights import Rights, rights_of
from devstack.standin.errors import MetadataRefused
from devstack.standin.metadata.whole import Metadata
from devstack.standin.models.actions import Action, Relationship
from devstack.standin.models.tables import TableName
from devstack.standin.schema import sdl
from devstack.standin.schema.fields import Field, Info, Resolver, read, table_fields, unless_failed
from devstack.standin.schema.spelling import understand
from devstack.standin.session import ADMIN
from devstack.standin.webhooks.actions import call_action

_ROOTS = ("query", "mutation", "subscription")


def build_role_schema(role: str, catalog: Catalog, client: httpx2.AsyncClient) -> GraphQLSchema:
    """Build what a role sees.

    Raises:
        MetadataRefused: actions.graphql and the tables make no valid schema together.
    """
    metadata, tables = catalog.served, catalog.tables
    roles = metadata.roles_of(role)
    all_rights = [rights_of(roles, entry, tables[entry.table]) for entry in metadata.source.tables]
    of_tables = [field for rights in all_rights for field in table_fields(rights)]
    fields = [
        *of_tables,
        # What can be asked once can be watched.
        *(replace(it, owner="subscription_root") for it in of_tables if it.owner == "query_root"),
        *_action_fields(roles, metadata, client),
        *_relationship_fields(metadata, {rights.table.name: rights for rights in all_rights}),
    ]
    roots: dict[str, list[str]] = {f"{kind}_root": [] for kind in _ROOTS}
    text = sdl.custom_types(metadata.signatures)
    for field in fields:
        if field.owner in roots:
            roots[field.owner].append(field.signature)
        else:
            text += sdl.block("extend type", field.owner, [field.signature])
    text += sdl.scalars(all_rights, metadata.signatures)
    text += sdl.shared_types(all_rights, catalog.convention)
    text += "".join(sdl.table_types(rights) for rights in all_rights)
    roots["query_root"] = roots["query_root"] or ["no_queries_available: String"]
    text += "".join(sdl.block("type", root, lines) for root, lines in roots.items())
    offered = (f"{kind}: {kind}_root" for kind in _ROOTS if roots[f"{kind}_root"])
    text += f"schema {{ {' '.join(offered)} }}"
    try:
        schema = build_schema(text, no_location=True)
    except (GraphQLError, TypeError) as error:
        message = " ".join(str(error).split())
        raise MetadataRefused(f"actions.graphql: {message}") from error
    for field in fields:
        owner = schema.type_map[field.owner]
        assert isinstance(owner, GraphQLObjectType)
        owner.fields[field.name].resolve = field.resolve
    understand(schema, all_rights, catalog.convention)
    _pass_scalars_on(schema)
    return schema


def _action_fields(
    roles: Sequence[str], metadata: Metadata, client: httpx2.AsyncClient
) -> list[Field]:
    fields = []
    for action in metadata.actions.actions:
        if ADMIN in roles or any(permitted.role in roles for permitted in action.permissions):
            signature = metadata.signatures.actions[action.name]
            text = print_ast(signature.field)
            fields.append(Field(signature.root, action.name, text, _call(action, client)))
    return fields


def _call(action: Action, client: httpx2.AsyncClient) -> Resolver:
    async def call(_source: Any, info: Info, **arguments: Any) -> Any:
        # The handler writes to the same rows: it must see them, and find them unlocked.
        await info.context.commit()
        return await call_action(client, action, arguments, info.return_type, info.context)

    return unless_failed(call)


def _relationship_fields(
    metadata: Metadata, rights_by_table: Mapping[TableName, Rights]
) -> list[Field]:
    fields = []
    for owner in metadata.actions.custom_types.objects:
        for relationship in owner.relationships:
            rights = _related_rights(owner.name, relationship, metadata, rights_by_table)
            if rights.readable():
                fields.append(_relationship_field(owner.name, relationship, rights))
    return fields


def _related_rights(
    owner: str,
    relationship: Relationship,
    metadata: Metadata,
    rights_by_table: Mapping[TableName, Rights],
) -> Rights:
    """Look up the rights on the other table, and refuse what does not lead there."""
    where = f"actions.yaml: relationship {relationship.name!r} of {owner!r}"
    definition = metadata.signatures.types[owner]
    assert isinstance(definition, ObjectTypeDefinitionNode)
    own_fields = {node.name.value for node in definition.fields or ()}
    rights = rights_by_table.get(relationship.remote_table)
    if relationship.source != metadata.source.name:
        raise MetadataRefused(f"{where}: no source {relationship.source!r}")
    if rights is None:
        raise MetadataRefused(f"{where}: {relationship.remote_table} is not tracked")
    if relationship.name in own_fields:
        raise MetadataRefused(f"{where}: is a field of the type already")
    for own_field, column in relationship.field_mapping.items():
        if own_field not in own_fields:
            raise MetadataRefused(f"{where}: the type has no field {own_field!r}")
        if column not in rights.table.columns:
            raise MetadataRefused(f"{where}: {rights.table.name} has no column {column!r}")
    return rights


def _relationship_field(owner: str, relationship: Relationship, rights: Rights) -> Field:
    async def related(source: dict[str, Any], info: Info) -> Any:
        key = {column: source.get(own) for own, column in relationship.field_mapping.items()}
        rows = []
        if None not in key.values():
            where = {column: {"_eq": value} for column, value in key.items()}
            rows = await read(info.context, rights, condition(rights.table, where))
        if relationship.type == "array":
            return rows
        return rows[0] if rows else None

    name = rights.table.names.type()
    output = name if relationship.type == "object" else f"[{name}!]!"
    return Field(owner, relationship.name, f"{relationship.name}: {output}", related)


class _PassedOn(GraphQLScalarType):
    """A twin of one of GraphQL's own scalars that lets any value out."""

    reserved_types = MappingProxyType({})  # their names may be used again


def _pass_scalars_on(schema: GraphQLSchema) -> None:
    """Let results out as they came, from Postgres or an action's handler, as graphql-engine does.

    The library would turn 5 into "5" for a String, or refuse "5" for an Int.
    """

    def passing(output: Any) -> Any:
        match output:
            case GraphQLNonNull():
                return GraphQLNonNull(passing(output.of_type))
            case GraphQLList():
                return GraphQLList(passing(output.of_type))
            case GraphQLScalarType() if is_specified_scalar_type(output):
                return _PassedOn(output.name, serialize=lambda value: value)
            case _:
                return output

    for owner in schema.type_map.values():
        if isinstance(owner, GraphQLObjectType) and not is_introspection_type(owner):
            for field in owner.fields.values():
                field.type = passing(field.type)
