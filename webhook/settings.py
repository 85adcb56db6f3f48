"""The only reader of the environment: one frozen Settings, all mistakes reported together."""

from typing import Annotated, Any, Self

from pydantic import Field, HttpUrl, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from webhook.errors import ConfigurationError

_MIN_SECRET_LENGTH = 16


class Settings(BaseSettings):
    """What may be set, each by the environment variable of its name in capitals.

    `AWS_*` (credentials, region, `AWS_ENDPOINT_URL_S3`) is read by boto3 itself.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    webhook_secret: SecretStr = Field(
        description="What Hasura must send in the header `x-webhook-secret`; at least 16 characters"
    )
    webhook_secret_previous: SecretStr | None = Field(
        default=None, description="The secret before this one, still accepted during a rotation"
    )
    hasura_graphql_endpoint: HttpUrl = Field(
        description="Base address of Hasura, as the Hasura CLI takes it"
    )
    hasura_graphql_admin_secret: SecretStr = Field(
        description="Hasura's admin secret; always sent together with a role, never alone"
    )
    s3_bucket: str = Field(min_length=1, description="Bucket of the sources and the cut-outs")
    source_prefix: str = Field(default="ogs/", description="Where the source images lie")
    target_prefix: str = Field(default="img/", description="Where the cut-outs go")
    models: Annotated[tuple[str, ...], NoDecode] = Field(
        description="Models that may be asked for, separated by commas; the first is the default"
    )
    max_source_bytes: int = Field(
        default=64 * 2**20, gt=0, description="Largest source object, in bytes"
    )
    max_pixels: int = Field(
        default=50_000_000, gt=0, description="Most pixels of a source image, width × height"
    )
    job_timeout_s: float = Field(
        default=100.0, gt=0, lt=120, description="Deadline of one job, below Hasura's own timeouts"
    )
    host: str = Field(default="0.0.0.0", description="Address to listen on")
    port: int = Field(default=8000, ge=1, le=65535, description="Port to listen on")
    log_level: str = Field(
        default="info",
        pattern="^(debug|info|warning|error)$",
        description="`debug`, `info`, `warning` or `error`",
    )

    @field_validator("webhook_secret", "webhook_secret_previous")
    @classmethod
    def _refuse_weak_secrets(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value()) < _MIN_SECRET_LENGTH:
            raise ValueError(f"must have at least {_MIN_SECRET_LENGTH} characters")
        return secret

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
        return models

    @field_validator("source_prefix", "target_prefix")
    @classmethod
    def _check_prefix(cls, prefix: str) -> str:
        if not prefix.endswith("/") or prefix.startswith("/"):
            raise ValueError('must end with "/" and not begin with it')
        return prefix

    @model_validator(mode="after")
    def _keep_prefixes_apart(self) -> Self:
        if self.source_prefix.startswith(self.target_prefix) or self.target_prefix.startswith(
            self.source_prefix
        ):
            raise ValueError("SOURCE_PREFIX and TARGET_PREFIX must not lie in one another")
        return self

    @property
    def webhook_secrets(self) -> tuple[SecretStr, ...]:
        """Every secret that is valid now."""
        previous = self.webhook_secret_previous
        return (self.webhook_secret,) if previous is None else (self.webhook_secret, previous)

    @property
    def graphql_url(self) -> str:
        """Hasura's GraphQL address, whether or not the endpoint names it already."""
        base = str(self.hasura_graphql_endpoint).rstrip("/")
        return base if base.endswith("/v1/graphql") else f"{base}/v1/graphql"


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        ConfigurationError: something is missing or wrong; the message has a line for each.
    """
    try:
        return Settings()  # type: ignore[call-arg]  # the environment gives the values
    except ValidationError as exc:
        raise ConfigurationError(_describe(exc)) from None  # the cause may show a secret


def _describe(exc: ValidationError) -> str:
    lines = ["The settings are wrong:"]
    for mistake in exc.errors(include_url=False, include_input=False, include_context=False):
        message = "is not set" if mistake["type"] == "missing" else mistake["msg"]
        name = f"{mistake['loc'][0]}: ".upper() if mistake["loc"] else ""
        lines.append(f"  {name}{message.removeprefix('Value error, ')}")
    return "\n".join(lines)
