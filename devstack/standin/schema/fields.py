"""The root fields of one table for one role: their line of SDL, and what they do."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphql import GraphQLResolveInfo, VariableNode
from psycopg.sql import Composable, Composed

from devstack.standin.database import statements
from devstack.standin.database.conditions import both, by_key, condition, permission
from devstack.standin.database.introspect import Table
from devstack.standin.database.rights import Rights
from devstack.standin.database.unit_of_work import UnitOfWork
from devstack.standin.errors import EngineError
from devstack.standin.schema.sdl import takes_conflicts

Row: TypeAlias = dict[str, Any]
Resolver: TypeAlias = Callable[..., Awaitable[Any]]
Info: TypeAlias = GraphQLResolveInfo[UnitOfWork]


@dataclass(frozen=True)
class Field:
    """One field that we resolve; `owner` is the type it belongs to."""

    owner: str
    name: str
    signature: str
    resolve: Resolver


def table_fields(rights: Rights) -> list[Field]:
    """List what the role may ask of the table."""
    fields: list[Field] = []
    if rights.readable():
        fields += _query_fields(rights)
    if rights.insertable():
        fields += _insert_fields(rights)
    if rights.updatable():
        fields += _update_fields(rights)
    if rights.delete:
        fields += _delete_fields(rights)
    return fields


def unless_failed(resolve: Resolver) -> Resolver:
    """Keep a root field from running once an earlier one of its operation has failed."""

    async def run(source: Any, info: Info, **arguments: Any) -> Any:
        if info.context.failed:
            return None
        try:
            return await resolve(source, info, **arguments)
        except BaseException:
            info.context.failed = info.context.is_mutation
            raise

    return run


async def read(
    work: UnitOfWork, rights: Rights, where: Composable, limit: int | None = None, **rest: Any
) -> list[Row]:
    """Read the rows among `where` that the role may see; `rest` as for statements.select."""
    assert rights.select is not None
    limits = [bound for bound in (limit, rights.select.limit) if bound is not None]
    visible = both(permission(rights.table, rights.select.filter, work.session), where)
    masks = {
        name: permission(rights.table, mask, work.session) for name, mask in rights.masks.items()
    }
    statement = statements.select(
        rights.table, visible, limit=min(limits, default=None), masks=masks, **rest
    )
    return [row for (row,) in await work.rows(statement)]


def _query_fields(rights: Rights) -> list[Field]:
    table, names = rights.table, rights.table.names
    row, order = names.type(), names.type("order", "by")
    arguments = (
        f"(where: {names.type('bool', 'exp')}, {names.convention.spell('order_by')}: [{order}!],"
        " limit: Int, offset: Int)"
    )

    async def many(_source: Any, info: Info, where: Any = None, **rest: Any) -> list[Row]:
        if (rest.get("limit") or 0) < 0:
            raise _negative("limit", info)
        return await read(info.context, rights, _where(table, where, info), **rest)

    async def one(_source: Any, info: Info, **key: Any) -> Row | None:
        return _first(await read(info.context, rights, by_key(table, key)))

    async def aggregate(source: Any, info: Info, where: Any = None, **rest: Any) -> Row:
        nodes = await many(source, info, where, **rest)
        return {"aggregate": {"count": len(nodes)}, "nodes": nodes}

    fields = [_field("query_root", names.root("select"), f"{arguments}: [{row}!]!", many)]
    if rights.reads_by_key():
        signature = f"({_key(rights)}): {row}"
        fields.append(_field("query_root", names.root("select_by_pk"), signature, one))
    if rights.select and rights.select.allow_aggregations:
        signature = f"{arguments}: {names.type('aggregate')}!"
        fields.append(_field("query_root", names.root("select_aggregate"), signature, aggregate))
    return fields


def _insert_fields(rights: Rights) -> list[Field]:
    names = rights.table.names
    conflict, given = "", names.type("insert", "input")
    if takes_conflicts(rights):
        conflict = f", {names.convention.spell('on_conflict')}: {names.type('on', 'conflict')}"

    async def insert(
        info: Info, objects: Sequence[Row], on_conflict: Any, argument: str
    ) -> list[Row]:
        if not objects:
            return []
        statement = statements.insert(rights, objects, on_conflict, info.context.session)
        place = f"$.selectionSet.{info.field_name}.args.{argument}"
        return await _write(info.context, statement, place)

    async def many(_source: Any, info: Info, objects: Any, on_conflict: Any = None) -> Row:
        return _response(await insert(info, objects, on_conflict, "objects"))

    async def one(_source: Any, info: Info, object: Row, on_conflict: Any = None) -> Row | None:
        return _first(await insert(info, [object], on_conflict, "object"))

    signature = f"(objects: [{given}!]!{conflict}): {names.type('mutation', 'response')}"
    fields = [_mutation(names.root("insert"), signature, many)]
    if rights.readable():
        signature = f"(object: {given}!{conflict}): {names.type()}"
        fields.append(_mutation(names.root("insert_one"), signature, one))
    return fields


def _update_fields(rights: Rights) -> list[Field]:
    table, names = rights.table, rights.table.names

    async def update(work: UnitOfWork, where: Composable, changes: Any) -> list[Row]:
        return await _write(work, statements.update(rights, where, changes, work.session))

    async def many(_source: Any, info: Info, where: Any, _set: Any = None) -> Row:
        wanted = _where(table, where, info)
        if changes_nothing(_set):
            return _response([])
        return _response(await update(info.context, wanted, _set))

    async def one(_source: Any, info: Info, pk_columns: Row, _set: Any = None) -> Row | None:
        if changes_nothing(_set):
            info.context.hollow.add(info.path.key)
            return None
        return _first(await update(info.context, by_key(table, pk_columns), _set))

    def changes_nothing(given: Row | None) -> bool:
        return not given and not (rights.update and rights.update.set)

    changes, response = f"_set: {names.type('set', 'input')}", names.type("mutation", "response")
    signature = f"(where: {names.type('bool', 'exp')}!, {changes}): {response}"
    fields = [_mutation(names.root("update"), signature, many)]
    if rights.reads_by_key():
        key = f"{names.convention.spell('pk_columns')}: {names.type('pk', 'columns', 'input')}!"
        signature = f"({key}, {changes}): {names.type()}"
        fields.append(_mutation(names.root("update_by_pk"), signature, one))
    return fields


def _delete_fields(rights: Rights) -> list[Field]:
    table, names = rights.table, rights.table.names

    async def delete(work: UnitOfWork, where: Composable) -> list[Row]:
        return await _write(work, statements.delete(rights, where, work.session))

    async def many(_source: Any, info: Info, where: Any) -> Row:
        return _response(await delete(info.context, _where(table, where, info)))

    async def one(_source: Any, info: Info, **key: Any) -> Row | None:
        return _first(await delete(info.context, by_key(table, key)))

    response = names.type("mutation", "response")
    signature = f"(where: {names.type('bool', 'exp')}!): {response}"
    fields = [_mutation(names.root("delete"), signature, many)]
    if rights.reads_by_key():
        signature = f"({_key(rights)}): {names.type()}"
        fields.append(_mutation(names.root("delete_by_pk"), signature, one))
    return fields


def _where(table: Table, where: Any, info: Info) -> Composable:
    return condition(table, where, f"$.selectionSet.{info.field_name}.args.where")


def _negative(argument: str, info: Info) -> EngineError:
    given = {node.name.value: node.value for node in info.field_nodes[0].arguments or ()}
    found = "a number" if isinstance(given[argument], VariableNode) else "an integer"
    message = f"expected a non-negative 32-bit integer for type 'Int', but found {found}"
    place = f"$.selectionSet.{info.field_name}.args.{argument}"
    return EngineError(message, "validation-failed", place)


def _field(owner: str, name: str, signature: str, resolve: Resolver) -> Field:
    return Field(owner, name, name + signature, resolve)


def _mutation(name: str, signature: str, resolve: Resolver) -> Field:
    return _field("mutation_root", name, signature, unless_failed(resolve))


async def _write(work: UnitOfWork, statement: Composed, path: str = "$") -> list[Row]:
    """Run a statement that answers (row, does it pass the permission's check) for each row."""
    rows = await work.rows(statement, path)
    if not all(passes for _, passes in rows):
        message = "check constraint of an insert/update permission has failed"
        raise EngineError(message, "permission-error", path)
    return [row for row, _ in rows]


def _key(rights: Rights) -> str:
    table = rights.table
    return ", ".join(
        f"{table.names.column(name)}: {table.columns[name].graphql_type}!"
        for name in table.primary_key
    )


def _response(rows: Sequence[Row]) -> Row:
    return {"affected_rows": len(rows), "returning": rows}


def _first(rows: Sequence[Row]) -> Row | None:
    return rows[0] if rows else None
