"""The only reader of the environment: frozen settings, all mistakes reported together."""

import re
import socket
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    DirectoryPath,
    Field,
    HttpUrl,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from webhook.errors import ConfigurationError
from webhook.models import LOCAL, MODELS, WEIGHTS_FILE, PatchOrder
from webhook.recipes import RenditionRecipe, parse_renditions

DOCUMENTS = Path(__file__).parents[1] / "graphql"
"""The documents for the table of migrations/."""

_MIN_SECRET_LENGTH = 16
_PRINTABLE = re.compile(r"[!-~]([ -~]*[!-~])?")
_S3_BUCKET = r"^([a-zA-Z0-9._-]{1,255}|arn:.+)$"

_OTLP_PROTOCOL = "http/protobuf"
_MAX_PREFIX_BYTES = 512  # of the 1024 of a key
_UNSAFE_IN_PREFIX = re.compile(r"[\x00-\x1f\x7f\\]")
_LONGEST_S = 366 * 24 * 3600
_COLUMN = r"^[^.\x00-\x1f\x7f]{1,63}$"

_SETTINGS = TypeVar("_SETTINGS", bound="JobSettings")


class JobSettings(BaseSettings):
    """What the jobs need, whichever way they come in: Hasura only where there are rows to write.

    Each is set by the environment variable of its name in capitals. `AWS_*` (credentials, region,
    `AWS_ENDPOINT_URL_S3`) is read by boto3 itself.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    hasura_graphql_endpoint: HttpUrl | None = None
    hasura_graphql_admin_secret: SecretStr | None = Field(default=None, validate_default=True)
    graphql_documents: DirectoryPath = Field(
        default=DOCUMENTS,
        description="Folder of the GraphQL documents; yours, for "
        "[a table of your own](docs/own-table.md)",
    )
    source_key_column: str | None = Field(
        default=None,
        pattern=_COLUMN,
        description="Column that holds the S3 key of the upload, below `SOURCE_PREFIX`, for a "
        "table where it is not `ogs/{id}`",
    )
    s3_bucket: str = Field(pattern=_S3_BUCKET, description="Bucket of the sources and the cut-outs")
    source_prefix: str = Field(default="ogs/", description="Where the source images lie")
    target_prefix: str = Field(default="img/", description="Where the cut-outs go")
    renditions: Annotated[tuple[RenditionRecipe, ...], NoDecode] = Field(
        default=(),
        description="Further files of each cut-out, such as `web.webp?max=1600`: see "
        "[Renditions](docs/renditions.md). Without it there are none",
    )
    models: Annotated[tuple[str, ...], NoDecode] = Field(
        default=MODELS[:1],
        description="Models that may be asked for, separated by commas; the first is the default",
    )
    local_model: DirectoryPath | None = Field(
        default=None,
        validate_default=True,
        description="Folder with weights of your own, served as the model `local`",
    )
    local_model_patch_order: PatchOrder | None = Field(
        default=None,
        validate_default=True,
        description="How the code that trained `LOCAL_MODEL` stacked image tiles: `columns` "
        "before 2024-11-05, `rows` since; the weights do not tell",
    )
    device: Literal["auto", "cuda", "cpu"] = Field(
        default="auto", description="`cuda`, `cpu`, or `auto`: CUDA where there is one"
    )
    torch_compile: bool = Field(
        default=False,
        description="Compile the network at start: minutes once, for a faster CUDA device",
    )
    max_batch_size: int = Field(
        default=8,
        ge=1,
        le=64,
        description="Most images that the device runs at once; the CPU always takes one by one",
    )
    max_jobs: int = Field(
        default=128,
        ge=1,
        description="Most jobs in work or waiting; further ones are told when to come back. Hasura "
        "delivers 100 at once",
    )
    max_source_bytes: int = Field(
        default=64 * 2**20, gt=0, description="Largest source object, in bytes"
    )
    max_pixels: int = Field(
        default=50_000_000, gt=0, description="Most pixels of a source image, width × height"
    )
    max_pixels_in_flight: int = Field(
        default=400_000_000,
        validate_default=True,
        description="Most pixels of all decoded images together, at least `MAX_PIXELS`; each takes "
        "up to 16 bytes of memory",
    )
    job_timeout_s: float = Field(
        default=90.0,
        gt=0,
        # With 5 s for the body and 8 s to look a row up before it, and 8 s to write a failure after
        # it, it stays below the 120 s after which Hasura gives up on the action.
        le=95,
        description="Deadline of one job, in seconds; below Hasura's own timeouts",
    )
    otel_exporter_otlp_endpoint: HttpUrl | None = Field(
        default=None,
        description="OpenTelemetry collector that takes OTLP over HTTP, such as "
        "`http://collector:4318`: traces go to its `/v1/traces`. Without it there are none",
    )
    otel_exporter_otlp_traces_endpoint: HttpUrl | None = Field(
        default=None, description="The same, as the whole address for traces; goes first"
    )
    otel_exporter_otlp_protocol: str | None = Field(
        default=None, description="Nothing but `http/protobuf` is spoken"
    )
    log_level: str = Field(
        default="info",
        pattern="^(debug|info|warning|error)$",
        description="`debug`, `info`, `warning` or `error`",
    )

    @field_validator(
        "webhook_secret",
        "webhook_secret_previous",
        "hasura_graphql_admin_secret",
        check_fields=False,  # the first two are of a subclass
    )
    @classmethod
    def _refuse_unsendable_secrets(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and not _PRINTABLE.fullmatch(secret.get_secret_value()):
            raise ValueError("must be printable ASCII without spaces or line ends around it")
        return secret

    @field_validator(
        "hasura_graphql_endpoint",
        "otel_exporter_otlp_endpoint",
        "otel_exporter_otlp_traces_endpoint",
    )
    @classmethod
    def _refuse_more_than_an_address(cls, endpoint: HttpUrl | None) -> HttpUrl | None:
        if endpoint is None:
            return None
        if endpoint.username or endpoint.password:
            raise ValueError("must not hold credentials: addresses are shown where secrets are not")
        if endpoint.query is not None or endpoint.fragment is not None:
            raise ValueError("must end with its path: a query or a fragment can't be kept")
        return endpoint

    @field_validator("otel_exporter_otlp_protocol")
    @classmethod
    def _speak_the_one_protocol(cls, protocol: str | None, info: ValidationInfo) -> str | None:
        is_exported = any(
            info.data.get(f"otel_exporter_otlp_{it}endpoint") for it in ("", "traces_")
        )
        if is_exported and protocol not in (None, _OTLP_PROTOCOL):
            raise ValueError(f"must be {_OTLP_PROTOCOL}, or not set: no other is spoken")
        return protocol

    @field_validator("hasura_graphql_admin_secret")
    @classmethod
    def _refuse_half_a_hasura(cls, secret: SecretStr | None, info: ValidationInfo) -> Any:
        endpoint = info.data.get("hasura_graphql_endpoint", secret)  # absent if it was refused
        if (endpoint is None) != (secret is None):
            raise ValueError("goes with HASURA_GRAPHQL_ENDPOINT: set both, or neither")
        return secret

    @field_validator("renditions", mode="before")
    @classmethod
    def _parse_renditions(cls, value: Any) -> Any:
        return parse_renditions(value) if isinstance(value, str) else value

    @field_validator("models", mode="before")
    @classmethod
    def _split_models(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("models")
    @classmethod
    def _need_a_model(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if not models:
            raise ValueError("must name at least one model")
        for name in models:
            if name not in MODELS:
                raise ValueError(f'there is no model "{name}"; known: {", ".join(MODELS)}')
        return models

    @field_validator("source_prefix", "target_prefix")
    @classmethod
    def _check_prefix(cls, prefix: str) -> str:
        if not prefix.endswith("/") or prefix.startswith("/"):
            raise ValueError('must end with "/" and not begin with it')
        if len(prefix.encode()) > _MAX_PREFIX_BYTES:
            raise ValueError(f"must have at most {_MAX_PREFIX_BYTES} bytes")
        if _UNSAFE_IN_PREFIX.search(prefix) or {"", ".", ".."} & set(prefix[:-1].split("/")):
            raise ValueError('must not hold control characters, "\\", empty parts, "." or ".."')
        return prefix

    @field_validator("local_model")
    @classmethod
    def _need_its_folder(cls, folder: DirectoryPath | None, info: ValidationInfo) -> Any:
        if folder is None and LOCAL in info.data.get("models", ()):
            raise ValueError("is not set, but MODELS names local")
        if folder is not None and not (folder / WEIGHTS_FILE).is_file():
            raise ValueError(f"holds no {WEIGHTS_FILE}; pickles are never loaded")
        return folder

    @field_validator("local_model_patch_order")
    @classmethod
    def _need_its_patch_order(cls, order: str | None, info: ValidationInfo) -> Any:
        if order is None and info.data.get("local_model") is not None:
            raise ValueError("is not set, but LOCAL_MODEL is: columns or rows?")
        return order

    @field_validator("max_pixels_in_flight")
    @classmethod
    def _fit_the_largest_image(cls, pixels: int, info: ValidationInfo) -> int:
        if pixels < info.data.get("max_pixels", 0):
            raise ValueError("must not be less than MAX_PIXELS")
        return pixels

    @field_validator("target_prefix")
    @classmethod
    def _keep_prefixes_apart(cls, target: str, info: ValidationInfo) -> str:
        source = info.data.get("source_prefix")
        if source and (source.startswith(target) or target.startswith(source)):
            raise ValueError("must not lie in SOURCE_PREFIX, nor the other way round")
        return target

    @property
    def hasura_url(self) -> str:
        """Hasura's base address, below which its APIs lie; without a slash at its end."""
        endpoint = str(self.hasura_graphql_endpoint).rstrip("/")
        return endpoint.removesuffix("/v1/graphql").rstrip("/")

    @property
    def graphql_url(self) -> str:
        """Hasura's GraphQL address, whether or not the endpoint names it already."""
        return f"{self.hasura_url}/v1/graphql"

    @property
    def traces_url(self) -> str | None:
        """Where traces are sent, if anywhere."""
        if self.otel_exporter_otlp_traces_endpoint is not None:
            return str(self.otel_exporter_otlp_traces_endpoint)
        if self.otel_exporter_otlp_endpoint is not None:
            return f"{str(self.otel_exporter_otlp_endpoint).rstrip('/')}/v1/traces"
        return None


class RowSettings(JobSettings):
    """What the work on rows needs: the jobs' settings, and Hasura always."""

    hasura_graphql_endpoint: HttpUrl = Field(
        description="Base address of Hasura, as the Hasura CLI takes it"
    )
    hasura_graphql_admin_secret: SecretStr = Field(
        description="Hasura's admin secret; always sent together with a role, never alone"
    )
    table: str = Field(
        default="public.images",
        pattern=rf"{_COLUMN[:-1]}\.{_COLUMN[1:]}",
        description="Schema and name of the table whose events are served",
    )
    id_column: str = Field(default="id", pattern=_COLUMN, description="Key column of that table")
    action_name: str = Field(
        default="removeBackground",
        pattern="^[_A-Za-z][_0-9A-Za-z]*$",
        description="Name of the action that is served",
    )


class ConnectSettings(RowSettings):
    """What `connect` needs: Hasura and the table. It touches no bucket, and writes documents."""

    s3_bucket: str = "none"
    graphql_documents: Path = Path("documents")


class Settings(RowSettings):
    """What the webhook needs: the settings of its work on rows, and its own door."""

    webhook_secret: SecretStr = Field(
        description="What Hasura must send in the header `x-webhook-secret`; at least 16 characters"
    )
    webhook_secret_previous: SecretStr | None = Field(
        default=None, description="The secret before this one, still accepted during a rotation"
    )
    max_event_age_s: float = Field(
        default=86400.0,
        gt=0,
        le=_LONGEST_S,
        description="How long the deliveries of an event ride out an outage, in seconds",
    )
    upload_timeout_s: float = Field(
        default=900.0,
        gt=0,
        le=_LONGEST_S,
        description="How long the file of a new row may take to arrive in S3, in seconds",
    )
    host: str = Field(default="0.0.0.0", description="Address to listen on")
    port: int = Field(default=8000, ge=1, le=65535, description="Port to listen on")

    @field_validator("host")
    @classmethod
    def _need_an_address(cls, host: str) -> str:
        try:
            socket.getaddrinfo(host, None, flags=socket.AI_PASSIVE)
        except (OSError, UnicodeError) as exc:
            raise ValueError("is no address of this machine, nor the name of one") from exc
        return host

    @field_validator("webhook_secret", "webhook_secret_previous")
    @classmethod
    def _refuse_weak_secrets(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is None:
            return None
        if len(secret.get_secret_value()) < _MIN_SECRET_LENGTH:
            raise ValueError(f"must have at least {_MIN_SECRET_LENGTH} characters")
        return secret

    @property
    def webhook_secrets(self) -> tuple[SecretStr, ...]:
        """Every secret that is valid now."""
        previous = self.webhook_secret_previous
        return (self.webhook_secret,) if previous is None else (self.webhook_secret, previous)


def load_settings() -> Settings:
    """Read the environment of a webhook.

    Raises:
        ConfigurationError: something is missing or wrong; the message has a line for each.
    """
    return _load(Settings)


def load_row_settings() -> RowSettings:
    """Do as `load_settings`, for a command that works on rows and takes no calls."""
    return _load(RowSettings)


def load_connect_settings() -> ConnectSettings:
    """Do as `load_settings`, for the command that joins a Hasura."""
    return _load(ConnectSettings)


def load_job_settings(**given: Any) -> JobSettings:
    """Do as `load_settings`, for an entry that may have no rows to write.

    Args:
        given: Values that the entry decides, whatever the environment says; so it need not say
            what an entry does without.
    """
    return _load(JobSettings, **given)


def _load(kind: type[_SETTINGS], **given: Any) -> _SETTINGS:
    try:
        return kind(**given)  # the environment gives the rest
    except ValidationError as exc:
        raise ConfigurationError(_describe(exc)) from None  # the cause may show a secret


def _describe(exc: ValidationError) -> str:
    lines = ["The settings are wrong:"]
    for mistake in exc.errors(include_url=False, include_input=False, include_context=False):
        message = "is not set" if mistake["type"] == "missing" else mistake["msg"]
        name = f"{mistake['loc'][0]}: ".upper() if mistake["loc"] else ""
        lines.append(f"  {name}{message.removeprefix('Value error, ')}")
    return "\n".join(lines)
