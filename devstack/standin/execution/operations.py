"""One GraphQL request: checked, run as one unit of work, answered in graphql-engine's shape."""

import inspect
import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import httpx2
from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    NonNullTypeNode,
    NoUnusedFragmentsRule,
    NoUnusedVariablesRule,
    OperationDefinitionNode,
    OperationType,
    TypeInfo,
    Undefined,
    ValidationContext,
    execute,
    get_operation_ast,
    specified_rules,
    validate,
)
from psycopg_pool import AsyncConnectionPool

from devstack.standin.database.unit_of_work import UnitOfWork
from devstack.standin.errors import EngineError
from devstack.standin.execution.allow_list import AllowList
from devstack.standin.execution.document import parsed, used_variables
from devstack.standin.execution.translate import translated
from devstack.standin.live import Live
from devstack.standin.schema.build import build_role_schema
from devstack.standin.session import Session
from devstack.standin.settings import Settings

_log = logging.getLogger(__name__)
# What is not used is no mistake to graphql-engine.
_RULES = [
    rule for rule in specified_rules if rule not in (NoUnusedFragmentsRule, NoUnusedVariablesRule)
]


class Operations:
    """Answers GraphQL requests of any role."""

    def __init__(
        self,
        live: Live,
        pool: AsyncConnectionPool,
        client: httpx2.AsyncClient,
        settings: Settings,
    ) -> None:
        self._live = live
        self._has_allow_list = settings.allow_list
        self._allow_list = AllowList(live.current.metadata)
        self._pool = pool
        self._client = client
        self._catalog = live.current.catalog
        self._schemas: dict[str, GraphQLSchema] = {}

    async def answer(
        self, request: Any, session: Session, *, by_socket: bool = False
    ) -> dict[str, Any]:
        """Answer one `{query, variables, operationName}`; errors are an answer too.

        Only `by_socket` a subscription is answered, with what it would show now.
        """
        try:
            return {"data": await self._run(request, session, by_socket=by_socket)}
        except EngineError as error:
            return {"errors": [error.graphql(for_admin=session.is_admin)]}

    async def _run(self, request: Any, session: Session, *, by_socket: bool) -> Any:
        query, variables, name = _parts(request)
        schema = self._schema(session.role)
        if self._has_allow_list and not session.is_admin:
            self._allow_list.check(parsed(query))
        document, operation, nullable = _checked(schema, query, name)
        if operation.operation is OperationType.SUBSCRIPTION and not by_socket:
            message = "subscriptions are not supported over HTTP, use websockets instead"
            raise EngineError(message, "unexpected")
        _check_variables(document, variables)
        variables = dict.fromkeys(nullable) | variables
        is_mutation = operation.operation is OperationType.MUTATION
        work = UnitOfWork(
            self._pool,
            session,
            query,
            is_mutation=is_mutation,
            replicas=self._live.current.metadata.replicas,
        )
        try:
            result = execute(schema, document, None, work, variables, name)
            if inspect.isawaitable(result):
                result = await result
            if result.errors:
                raise _cause(result.errors[0], document, schema, variables)
        except BaseException:
            await work.rollback()
            raise
        await work.commit()
        return (result.data or {}) | {key: {} for key in work.hollow}

    def _schema(self, role: str) -> GraphQLSchema:
        """Give a role's schema, made once for all that is asked until the metadata changes."""
        if self._catalog is not self._live.current.catalog:
            self._catalog = self._live.current.catalog
            self._allow_list = AllowList(self._live.current.metadata)
            self._schemas.clear()
        if role not in self._schemas:
            self._schemas[role] = build_role_schema(role, self._catalog, self._client)
        return self._schemas[role]


@lru_cache(maxsize=256)  # as graphql-engine keeps the plans of what it is asked again and again
def _checked(
    schema: GraphQLSchema, query: str, name: str | None
) -> tuple[DocumentNode, OperationDefinitionNode, frozenset[str]]:
    document = parsed(query)
    operation = _operation(document, name)
    _check_root(schema, operation)
    if errors := validate(schema, document, _RULES, max_errors=1):
        raise translated(errors[0], document, schema, {})
    return document, operation, _null_if_left_out(schema, document, operation)


def _null_if_left_out(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode
) -> frozenset[str]:
    """Name the variables that are null where the caller leaves them out.

    GraphQL takes their places as empty; graphql-engine does so only where a place has a default.
    """
    context = ValidationContext(schema, document, TypeInfo(schema), lambda _: None)
    usages = context.get_recursive_variable_usages(operation)
    defaulted = {it.node.name.value for it in usages if it.default_value is not Undefined}
    return frozenset(
        it.variable.name.value
        for it in operation.variable_definitions or ()
        if it.default_value is None and not isinstance(it.type, NonNullTypeNode)
    ).difference(defaulted)


def is_subscription(request: Any) -> bool:
    """Tell whether a request is for a subscription; one that can't be read is not."""
    try:
        query, _, name = _parts(request)
        operation = get_operation_ast(parsed(query), name)
    except EngineError:
        return False
    return operation is not None and operation.operation is OperationType.SUBSCRIPTION


def _parts(request: Any) -> tuple[str, dict[str, Any], str | None]:
    if not isinstance(request, dict):
        raise EngineError("expected an object for the request", "parse-failed")
    if "query" not in request:
        raise EngineError('key "query" not found', "parse-failed")
    query, variables = request["query"], request.get("variables")
    name = request.get("operationName")
    if not isinstance(query, str):
        raise EngineError("expected a string", "parse-failed", "$.query")
    if not isinstance(variables, dict | None):
        raise EngineError("expected an object", "parse-failed", "$.variables")
    if not isinstance(name, str | None):
        raise EngineError("expected a string", "parse-failed", "$.operationName")
    return query, variables or {}, name


def _operation(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    operation = get_operation_ast(document, name)
    if operation is not None:
        return operation
    if name is None:
        message = (
            "exactly one operation has to be present in the document"
            " when operationName is not specified"
        )
    else:
        message = f'no such operation found in the document: "{name}"'
    raise EngineError(message, "validation-failed")


def _check_root(schema: GraphQLSchema, operation: OperationDefinitionNode) -> None:
    if schema.get_root_type(operation.operation) is None:
        kind = {"mutation": "mutations"}.get(operation.operation.value, "subscriptions")
        raise EngineError(f"no {kind} exist", "validation-failed")


def _check_variables(document: DocumentNode, variables: Mapping[str, Any]) -> None:
    if unexpected := sorted(variables.keys() - used_variables(document)):
        message = f"unexpected variables in variableValues: {', '.join(unexpected)}"
        raise EngineError(message, "validation-failed")


def _cause(
    error: GraphQLError,
    document: DocumentNode,
    schema: GraphQLSchema,
    variables: Mapping[str, Any],
) -> EngineError:
    """Find out whose error it is: a resolver's, the request's, or a bug of ours."""
    cause = error.original_error
    if isinstance(cause, EngineError):
        return cause
    if cause is None or isinstance(cause, GraphQLError):
        return translated(error, document, schema, variables)
    _log.error("a resolver failed", exc_info=cause)
    return EngineError("internal error", "unexpected", internal={"error": str(cause)})
