"""Calls an action's handler and judges its answer by graphql-engine's rules: JSON before status."""

from collections.abc import Mapping
from typing import Any

import httpx2
from graphql import (
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    get_named_type,
    is_object_type,
    is_specified_scalar_type,
)

from devstack.standin import strict_json
from devstack.standin.database.unit_of_work import UnitOfWork
from devstack.standin.errors import EngineError
from devstack.standin.models.actions import Action
from devstack.standin.models.tables import sent_headers
from devstack.standin.webhooks.outbound import Answer, Unreachable, post_json

_ANSWER = "the action webhook response"
# The names under which graphql-engine speaks of JSON scalars, and the types each may stand for.
_SCALARS: dict[type, tuple[str, tuple[str, ...]]] = {
    bool: ("Boolean", ("Boolean",)),
    int: ("Number", ("Int", "Float")),
    float: ("Number", ("Float", "Int")),
    str: ("String", ("String", "ID")),
}


async def call_action(
    client: httpx2.AsyncClient,
    action: Action,
    arguments: Mapping[str, Any],
    output: GraphQLOutputType,
    work: UnitOfWork,
) -> Any:
    """Ask the handler.

    Args:
        client: for the call.
        action: from the metadata, address and headers filled in.
        arguments: those that the caller gave.
        output: the type that the answer must fit.
        work: the operation; its session goes into the body.

    Returns:
        The handler's JSON, unknown fields included.

    Raises:
        EngineError: no answer, an answer that does not fit, or the handler's own error.
    """
    body = {
        "action": {"name": action.name},
        "input": dict(arguments),
        "session_variables": dict(work.session.variables),
        "request_query": work.query,
    }
    definition = action.definition
    internal: dict[str, Any] = {"request": {"url": definition.handler.value, "body": body}}
    try:
        answer = await post_json(
            client,
            definition.handler.value,
            body,
            sent_headers(definition.headers),
            headers_within_s=definition.timeout,
        )
    except Unreachable as error:
        message = "http exception when calling webhook"
        raise EngineError(
            message, "unexpected", internal=internal | {"error": str(error)}
        ) from error
    internal["response"] = {"status": answer.status, "body": answer.body.decode(errors="replace")}
    try:
        return _judged(answer, output)
    except EngineError as error:
        error.internal = internal | {"error": error.message}
        raise


def _judged(answer: Answer, output: GraphQLOutputType) -> Any:
    try:
        content = strict_json.loads(answer.body)
    except ValueError:
        raise _unexpected("not a valid json response from webhook") from None
    if 200 <= answer.status < 300:
        check_output(content, output)
        return content
    if 400 <= answer.status < 500:
        raise _handlers_error(content)
    raise _unexpected("internal error")


def _handlers_error(content: Any) -> EngineError:
    """Read `{message, code?, extensions?}`."""
    if not isinstance(content, dict):
        return EngineError("expected an object for the action webhook error", "parse-failed")
    if "message" not in content:
        return EngineError("the key 'message' was not present", "parse-failed")
    message, code = content["message"], content.get("code")
    if not isinstance(message, str):
        return EngineError("expected a string", "parse-failed", "$.message")
    if not isinstance(code, str | None):
        return EngineError("expected a string", "parse-failed", "$.code")
    return EngineError(message, code or "unexpected", extensions=content.get("extensions"))


def check_output(content: Any, output: GraphQLOutputType) -> None:
    """Check an answer's shape; fields of scalar type are passed on unchecked.

    Raises:
        EngineError: it does not fit, in graphql-engine's words.
    """
    if isinstance(output, GraphQLNonNull):
        if content is None:
            raise _unexpected(f"got null for {_ANSWER}")
        check_output(content, output.of_type)
    elif content is None:
        return
    elif isinstance(output, GraphQLList):
        if not isinstance(content, list):
            raise _unexpected(f"expecting array for {_ANSWER}")
        for item in content:
            check_output(item, output.of_type)
    elif isinstance(output, GraphQLObjectType):
        _check_object(content, output)
    elif is_specified_scalar_type(output):  # any JSON fits the others
        _check_scalar(content, str(output))


def _check_object(content: Any, output: GraphQLObjectType) -> None:
    if not isinstance(content, dict):
        raise _unfit(content, output.name)
    for name, field in output.fields.items():
        if field.resolve is not None:  # a relationship, not the handler's to answer
            continue
        if isinstance(field.type, GraphQLNonNull):
            if name not in content:
                raise _unexpected(f'field "{name}" expected in webhook response, but not found')
            if content[name] is None:
                raise _unexpected(f'expecting not null value for field "{name}"')
        if is_object_type(get_named_type(field.type)):
            check_output(content.get(name), field.type)


def _check_scalar(content: Any, name: str) -> None:
    _, fitting = _SCALARS.get(type(content), ("", ()))
    if name not in fitting:
        raise _unfit(content, name)


def _unfit(content: Any, expected: str) -> EngineError:
    if isinstance(content, list):
        found = "array"
    elif isinstance(content, dict):
        found = "object"
    else:
        found = f"scalar {_SCALARS[type(content)][0]}"
    return _unexpected(f"got {found} for {_ANSWER}, expecting {expected}")


def _unexpected(message: str) -> EngineError:
    return EngineError(message, "unexpected")
