"""What Hasura and the ancestor's callers send, read into domain values; no I/O."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    RootModel,
    SecretStr,
    StrictStr,
    TypeAdapter,
    ValidationError,
)

from webhook.domain import RemovalRequest, check_image_id
from webhook.errors import InvalidPayload, Unauthorized, UnexpectedDelivery
from webhook.hasura.binding import USUAL_BINDING, Binding

SECRET_HEADER = "x-webhook-secret"

Body = TypeVar("Body", bound=BaseModel)

# A timestamp without a zone is of the database's, which we don't know. In this one it is the latest
# moment that it can mean, so that no zone shortens the patience with an event or an upload.
LATEST_ZONE = timezone(timedelta(hours=-12))
_MAX_PLACE_LENGTH = 100  # what a caller wrote and we repeat, in answers and log lines


@dataclass(frozen=True, slots=True)
class ActionCall:
    """One call of the action: whose background, and on whose behalf.

    An id that came as a number is answered as one: so Hasura has that of a `bigint` or `int`.
    """

    request: RemovalRequest
    session_variables: Mapping[str, str]
    id_is_number: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of an event.

    `request` is what it asks for, `deleted_id` the image whose row was deleted; where both are None
    it asks for nothing.
    """

    event_id: str | None
    op: str
    request: RemovalRequest | None
    current_retry: int
    max_retries: int | None
    created_at: datetime | None
    deleted_id: str | None = None

    @property
    def is_last_attempt(self) -> bool:
        """Whether Hasura gives up after this one. Engines too old to tell never say so."""
        return self.max_retries is not None and self.current_retry >= self.max_retries

    def is_over(self, now: datetime, max_age: timedelta) -> bool:
        """Whether even an outage no longer excuses another try.

        Age alone does not tell: the clocks may differ, or Hasura itself was down for a day.
        """
        had_its_tries = self.max_retries is None or self.is_last_attempt
        too_old = self.created_at is not None and now - self.created_at > max_age
        return had_its_tries and too_old


def authorise(presented: str | None, secrets: Sequence[SecretStr]) -> None:
    """Compare the secret header, in constant time, with every secret that is valid now.

    Raises:
        Unauthorized: it is missing or equals none of them.
    """
    candidate = (presented or "").encode("latin-1")  # as header values are decoded: the bytes sent
    matches = [
        hmac.compare_digest(candidate, secret.get_secret_value().encode()) for secret in secrets
    ]
    if not any(matches):
        raise Unauthorized(f"The header {SECRET_HEADER} is missing or wrong.")


def _as_text(value: Any) -> Any:
    """Turn a number into text: a bigint id comes as either."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_timestamp(value: Any) -> datetime | None:
    """Read Postgres' timestamp; none, or one we can't read, is None."""
    try:
        moment = TypeAdapter(datetime).validate_python(value)
    except ValidationError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=LATEST_ZONE)


def _as_count(value: Any) -> int | None:
    """Read a number of retries; one that we can't read must not cost the delivery."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _as_object(value: Any) -> Any:
    return value if isinstance(value, dict) else {}


class _Named(BaseModel):
    name: StrictStr


class _Table(_Named):
    schema_name: StrictStr = Field(alias="schema")


class _Input(BaseModel):
    id: Annotated[StrictStr, BeforeValidator(_as_text)]
    model: StrictStr | None = None

    def request(self) -> RemovalRequest:
        return RemovalRequest(check_image_id(self.id), self.model)


class _Id(RootModel[Annotated[StrictStr, BeforeValidator(_as_text)]]):
    pass


class _ActionBody(BaseModel):
    action: _Named
    input: Any
    session_variables: dict[str, StrictStr]


class _Data(BaseModel):
    old: Any = None
    new: Any = None


class _Event(BaseModel):
    op: StrictStr
    data: _Data


class _DeliveryInfo(BaseModel):
    current_retry: Annotated[int, BeforeValidator(lambda value: _as_count(value) or 0)] = 0
    max_retries: Annotated[int | None, BeforeValidator(_as_count)] = None


class _EventBody(BaseModel):
    id: Any = None
    created_at: Annotated[datetime | None, BeforeValidator(_as_timestamp)] = None
    table: _Table
    trigger: _Named
    event: _Event
    delivery_info: Annotated[_DeliveryInfo, BeforeValidator(_as_object)] = _DeliveryInfo()


class _RunSyncBody(BaseModel):
    input: _Input


def parse_action(body: bytes, binding: Binding = USUAL_BINDING) -> ActionCall:
    """Read an action's body.

    Args:
        body: JSON.
        binding: Which action is ours.

    Raises:
        InvalidPayload, InvalidImageId, UnexpectedDelivery: it isn't a call of our action.
    """
    payload = _parse(_ActionBody, body)
    if payload.action.name != binding.action:
        raise UnexpectedDelivery(f"This address serves the action {binding.action} only.")
    arguments = _validate(_Input, payload.input, "input")
    id_is_number = isinstance(payload.input["id"], int)
    return ActionCall(arguments.request(), payload.session_variables, id_is_number)


def parse_event(body: bytes, binding: Binding = USUAL_BINDING) -> Delivery:
    """Read an event's body; its session variables, null for plain SQL, are not asked for.

    Args:
        body: JSON.
        binding: Which table and triggers are ours.

    Raises:
        InvalidPayload, InvalidImageId, UnexpectedDelivery: it isn't an event of our trigger.
    """
    payload = _parse(_EventBody, body)
    trigger, op = payload.trigger.name, payload.event.op
    is_ours = trigger in (binding.trigger, binding.delete_trigger)
    table = payload.table.schema_name, payload.table.name
    if not is_ours or table != (binding.schema, binding.table):
        raise UnexpectedDelivery(
            f"This address serves the trigger {binding.trigger} on "
            f"{binding.schema}.{binding.table} only."
        )
    request, deleted_id = None, None
    if trigger == binding.trigger and op in ("INSERT", "MANUAL"):
        image_id = _id_of(payload.event.data.new, "event.data.new", binding)
        request = RemovalRequest(image_id)
    elif trigger == binding.delete_trigger and op == "DELETE":
        deleted_id = _id_of(payload.event.data.old, "event.data.old", binding)
    info = payload.delivery_info
    return Delivery(
        event_id=payload.id if isinstance(payload.id, str) else None,
        op=op[:_MAX_PLACE_LENGTH],
        request=request,
        current_retry=info.current_retry,
        max_retries=info.max_retries,
        created_at=payload.created_at,
        deleted_id=deleted_id,
    )


def parse_runsync(body: bytes) -> RemovalRequest:
    """Read a body of the ancestor's contract.

    Raises:
        InvalidPayload, InvalidImageId: it isn't `{"input": {"id": …, "model": …}}`.
    """
    return _parse(_RunSyncBody, body).input.request()


def parse_backfill(body: bytes) -> RemovalRequest:
    """Read what a running backfill hands over: a job behind the live work.

    Raises:
        InvalidPayload, InvalidImageId: it isn't `{"id": …, "model": …}`.
    """
    return replace(_parse(_Input, body).request(), priority="backfill")


def parse_input(value: Any) -> RemovalRequest:
    """Read the input of a job, as RunPod hands it over: already out of its JSON.

    Raises:
        InvalidPayload, InvalidImageId: it isn't `{"id": …, "model": …}`.
    """
    return _validate(_Input, value, "input").request()


def _id_of(row: Any, where: str, binding: Binding) -> str:
    """Return the id of a row as an event holds it: text, or a number."""
    column = binding.id_column
    if not isinstance(row, dict) or column not in row:
        raise InvalidPayload(f"{where}.{column}: Field required."[:_MAX_PLACE_LENGTH])
    return check_image_id(_validate(_Id, row[column], f"{where}.{column}").root)


def _parse(model: type[Body], body: bytes) -> Body:
    try:
        return model.model_validate_json(body)
    except ValidationError as exc:
        raise InvalidPayload(_first_mistake(exc, "body")) from None


def _validate(model: type[Body], value: Any, where: str) -> Body:
    try:
        return model.model_validate(value)
    except ValidationError as exc:
        raise InvalidPayload(_first_mistake(exc, where)) from None


def _first_mistake(exc: ValidationError, where: str) -> str:
    mistake = exc.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join([where, *(str(part) for part in mistake["loc"])])[:_MAX_PLACE_LENGTH]
    what = "Input should be an object" if mistake["type"] == "model_type" else mistake["msg"]
    return f"{place}: {what}."
