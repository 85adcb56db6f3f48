"""A running service, asked over HTTP to do what a backfill has found."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx2
from pydantic import BaseModel, SecretStr, ValidationError

from webhook.domain import ModelIdentity, Recipe, RemovalRequest, RemovalResult
from webhook.errors import (
    ConfigurationError,
    RemovalError,
    TemporarilyUnavailable,
    Unauthorized,
    error_of,
)
from webhook.hasura.protocol import SECRET_HEADER
from webhook.http.app import BACKFILL_PATH, RECIPE_PATH
from webhook.recipes import RenditionRecipe, parse_renditions

# No job takes longer than 95 s (settings.py), and its body 5 s before it.
_ANSWER_TIMEOUT_S = 120.0
_CONNECT_TIMEOUT_S = 5.0

_Answer = TypeVar("_Answer", bound=BaseModel)


class ServiceUnavailable(TemporarilyUnavailable):
    """The service that is to do the work can't be reached; it never says so itself."""

    code = "service-unavailable"


class _Done(BaseModel):
    id: str
    key: str
    width: int
    height: int
    coverage: float
    model: str


class _Recipe(BaseModel):
    model: str
    revision: str
    precision: str
    parameters: str
    renditions: str


class _Extensions(BaseModel):
    code: str


class _Problem(BaseModel):
    message: str
    extensions: _Extensions


class RunningService:
    """Asks a service, and raises what it answers as if the work had been done here."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        """Ask nothing yet.

        Args:
            client: With the address of the service, and its secret.
        """
        self._client = client
        self._name = f"The service at {str(client.base_url).rstrip('/')}"

    async def recipe(self) -> Recipe:
        """Return what makes its cut-outs when no model is named.

        Raises:
            ServiceUnavailable: it can't be reached.
            ConfigurationError: it is another service, or has another secret.
            RemovalError: what else it says.
        """
        told = await self._ask(_Recipe, "GET", RECIPE_PATH)
        return Recipe(ModelIdentity(told.model, told.revision, told.precision), told.parameters)

    async def renditions(self) -> tuple[RenditionRecipe, ...]:
        """Return what it makes of each cut-out; raises as `recipe`."""
        told = await self._ask(_Recipe, "GET", RECIPE_PATH)
        return parse_renditions(told.renditions)

    async def remove_background(self, request: RemovalRequest) -> RemovalResult:
        """Have a job done behind the live work; raises as `recipe`."""
        body = {"id": request.image_id, "model": request.model}
        done = await self._ask(_Done, "POST", BACKFILL_PATH, body)
        return RemovalResult(done.id, done.key, done.model, done.width, done.height, done.coverage)

    async def _ask(
        self, kind: type[_Answer], method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> _Answer:
        try:
            answer = await self._client.request(method, path, json=body)
        except httpx2.RequestError as exc:
            raise ServiceUnavailable(f"{self._name} can't be reached, or is slow.") from exc
        if answer.status_code != 200:
            raise self._refusal(answer)
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError as exc:
            raise self._not_ours(answer) from exc

    def _refusal(self, answer: httpx2.Response) -> RemovalError:
        try:
            problem = _Problem.model_validate_json(answer.content)
        except ValidationError:
            return self._not_ours(answer)
        error = error_of(problem.extensions.code, problem.message)
        if error is None:  # of HTTP itself
            return self._not_ours(answer)
        if isinstance(error, Unauthorized):  # no image's fault
            return ConfigurationError(
                f"{self._name} refuses WEBHOOK_SECRET: it must be the same here and there."
            )
        wait_s = answer.headers.get("retry-after", "")
        if isinstance(error, TemporarilyUnavailable) and wait_s.isdecimal():
            error.retry_after_s = int(wait_s)
        return error

    def _not_ours(self, answer: httpx2.Response) -> RemovalError:
        status = answer.status_code
        if status >= 500:  # a proxy before it, or its server, while it starts or is full
            return ServiceUnavailable(f"{self._name} can't be reached: HTTP {status}.")
        return ConfigurationError(
            f"{self._name} answers HTTP {status}, and not as this version of the service does."
        )


@asynccontextmanager
async def open_running_service(
    url: str, secret: SecretStr, at_once: int
) -> AsyncIterator[RunningService]:
    """Keep connections to the service at `url`, one for each of the jobs `at_once`."""
    async with httpx2.AsyncClient(
        base_url=url,
        headers={SECRET_HEADER: secret.get_secret_value()},
        timeout=httpx2.Timeout(_ANSWER_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S),
        limits=httpx2.Limits(max_connections=at_once, max_keepalive_connections=at_once),
    ) as client:
        yield RunningService(client)
