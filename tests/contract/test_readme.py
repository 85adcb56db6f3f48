"""What README and docs/models.md promise is what the code does: settings, errors, models."""

from pathlib import Path

from pydantic_core import PydanticUndefined

import webhook.errors
from webhook.errors import (
    InvalidImageId,
    InvalidPayload,
    PayloadTooLarge,
    RemovalError,
    SourceNotFound,
    Unauthorized,
    UnexpectedDelivery,
)
from webhook.hasura.replies import USUAL_PATIENCE, concerns_row
from webhook.models import CHECKPOINTS, MODELS
from webhook.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
MODELS_PAGE = (ROOT / "docs" / "models.md").read_text("utf-8")


def table(first_header: str, page: str = README) -> list[list[str]]:
    """Return the cells of the table whose first column has this header."""
    lines = page.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_header} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def settings_of_the_code() -> list[list[str]]:
    rows = []
    for name, field in Settings.model_fields.items():
        default = "–" if field.default is None else f"`{field.default}`"
        if field.default is PydanticUndefined:
            default = "required"
        if isinstance(field.default, tuple):
            default = f"`{','.join(field.default)}`" if field.default else "–"
        if isinstance(field.default, Path):
            default = f"`{field.default.relative_to(ROOT)}`"
        rows.append([f"`{name.upper()}`", default, field.description or ""])
    return rows


def errors_of_the_code() -> list[list[str]]:
    found = []
    for item in vars(webhook.errors).values():
        if isinstance(item, type) and issubclass(item, RemovalError) and hasattr(item, "code"):
            meaning = (item.__doc__ or "").splitlines()[0]
            error = item("")
            found.append([f"`{item.code}`", str(item.http_status), tried_again(error), meaning])
    return found


def tried_again(error: RemovalError) -> str:
    """Tell how long Hasura delivers an event again that fails like this."""
    if isinstance(error, SourceNotFound):
        return f"{USUAL_PATIENCE.upload_timeout.total_seconds() / 60:g} minutes"
    if error.transient:
        return f"{USUAL_PATIENCE.max_event_age.total_seconds() / 3600:g} hours"
    not_even_read = Unauthorized | PayloadTooLarge | InvalidPayload | InvalidImageId
    is_refused = isinstance(error, not_even_read | UnexpectedDelivery)
    return "6 times" if is_refused or concerns_row(error) else "no"


def test_the_settings_are_those_of_the_code() -> None:
    assert table("Variable") == settings_of_the_code()


def test_the_errors_are_those_of_the_code() -> None:
    assert table("Code") == errors_of_the_code()


def test_the_models_are_those_of_the_code() -> None:
    assert [name.strip("`") for name, *_ in table("Model", MODELS_PAGE)] == list(MODELS)


def test_the_licences_are_those_of_the_code() -> None:
    told = {name.strip("`"): licence for name, _, licence, _ in table("Model", MODELS_PAGE)}
    for name, checkpoint in CHECKPOINTS.items():
        for part in checkpoint.licence.split("; "):
            assert part in told[name]
        assert ("gated" in told[name]) == checkpoint.gated
