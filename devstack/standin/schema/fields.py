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
    statement = statements.select(rights.table, visible, limit=min(limits, default=None), **rest)
    return [row for (row,) in await work.rows(statement)]


def _query_fields(rights: Rights) -> list[Field]:
    table, name = rights.table, rights.table.graphql_name
    arguments = f"(where: {name}_bool_exp, order_by: [{name}_order_by!], limit: Int, offset: Int)"

    async def many(_source: Any, info: Info, where: Any = None, **rest: Any) -> list[Row]:
        if (rest.get("limit") or 0) < 0:
            raise _negative("limit", info)
        return await read(info.context, rights, _where(table, where, info), **rest)

    async def one(_source: Any, info: Info, **key: Any) -> Row | None:
        return _first(await read(info.context, rights, by_key(table, key)))

    async def aggregate(source: Any, info: Info, where: Any = None, **rest: Any) -> Row:
        nodes = await many(source, info, where, **rest)
        return {"aggregate": {"count": len(nodes)}, "nodes": nodes}

    fields = [Field("query_root", name, f"{name}{arguments}: [{name}!]!", many)]
    if rights.reads_by_key():
        signature = f"{name}_by_pk({_key(rights)}): {name}"
        fields.append(Field("query_root", f"{name}_by_pk", signature, one))
    if rights.select and rights.select.allow_aggregations:
        signature = f"{name}_aggregate{arguments}: {name}_aggregate!"
        fields.append(Field("query_root", f"{name}_aggregate", signature, aggregate))
    return fields


def _insert_fields(rights: Rights) -> list[Field]:
    name = rights.table.graphql_name
    conflict = f", on_conflict: {name}_on_conflict" if takes_conflicts(rights) else ""

    async def insert(
        work: UnitOfWork, objects: Sequence[Row], on_conflict: Any, place: str
    ) -> list[Row]:
        if not objects:
            return []
        statement = statements.insert(rights, objects, on_conflict, work.session)
        return await _write(work, statement, f"$.selectionSet.{place}")

    async def many(_source: Any, info: Info, objects: Any, on_conflict: Any = None) -> Row:
        place = f"insert_{name}.args.objects"
        return _response(await insert(info.context, objects, on_conflict, place))

    async def one(_source: Any, info: Info, object: Row, on_conflict: Any = None) -> Row | None:
        place = f"insert_{name}_one.args.object"
        return _first(await insert(info.context, [object], on_conflict, place))

    signature = f"(objects: [{name}_insert_input!]!{conflict}): {name}_mutation_response"
    fields = [_mutation(f"insert_{name}", signature, many)]
    if rights.readable():
        signature = f"(object: {name}_insert_input!{conflict}): {name}"
        fields.append(_mutation(f"insert_{name}_one", signature, one))
    return fields


def _update_fields(rights: Rights) -> list[Field]:
    table, name = rights.table, rights.table.graphql_name

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

    changes = f"_set: {name}_set_input"
    signature = f"(where: {name}_bool_exp!, {changes}): {name}_mutation_response"
    fields = [_mutation(f"update_{name}", signature, many)]
    if rights.reads_by_key():
        signature = f"(pk_columns: {name}_pk_columns_input!, {changes}): {name}"
        fields.append(_mutation(f"update_{name}_by_pk", signature, one))
    return fields


def _delete_fields(rights: Rights) -> list[Field]:
    table, name = rights.table, rights.table.graphql_name

    async def delete(work: UnitOfWork, where: Composable) -> list[Row]:
        return await _write(work, statements.delete(rights, where, work.session))

    async def many(_source: Any, info: Info, where: Any) -> Row:
        return _response(await delete(info.context, _where(table, where, info)))

    async def one(_source: Any, info: Info, **key: Any) -> Row | None:
        return _first(await delete(info.context, by_key(table, key)))

    signature = f"(where: {name}_bool_exp!): {name}_mutation_response"
    fields = [_mutation(f"delete_{name}", signature, many)]
    if rights.reads_by_key():
        fields.append(_mutation(f"delete_{name}_by_pk", f"({_key(rights)}): {name}", one))
    return fields


def _where(table: Table, where: Any, info: Info) -> Composable:
    return condition(table, where, f"$.selectionSet.{info.field_name}.args.where")


def _negative(argument: str, info: Info) -> EngineError:
    given = {node.name.value: node.value for node in info.field_nodes[0].arguments or ()}
    found = "a number" if isinstance(given[argument], VariableNode) else "an integer"
    message = f"expected a non-negative 32-bit integer for type 'Int', but found {found}"
    place = f"$.selectionSet.{info.field_name}.args.{argument}"
    return EngineError(message, "validation-failed", place)


def _mutation(name: str, signature: str, resolve: Resolver) -> Field:
    return Field("mutation_root", name, name + signature, unless_failed(resolve))


async def _write(work: UnitOfWork, statement: Composed, path: str = "$") -> list[Row]:
    """Run a statement that answers (row, does it pass the permission's check) for each row."""
    rows = await work.rows(statement, path)
    if not all(passes for _, passes in rows):
        message = "check constraint of an insert/update permission has failed"
        raise EngineError(message, "permission-error", path)
    return [row for row, _ in rows]


def _key(rights: Rights) -> str:
    columns = rights.table.columns
    return ", ".join(f"{name}: {columns[name].graphql_type}!" for name in rights.table.primary_key)


def _response(rows: Sequence[Row]) -> Row:
    return {"affected_rows": len(rows), "returning": rows}


def _first(rows: Sequence[Row]) -> Row | None:
    return rows[0] if rows else None
