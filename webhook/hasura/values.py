"""What the service tells a document's variables, and what it reads off the rows of an answer."""

from collections.abc import Mapping, Set
from datetime import UTC, datetime
from typing import Any

from webhook.domain import ImageRow, RemovalResult, RowState
from webhook.errors import RemovalError
from webhook.hasura.protocol import LATEST_ZONE


def values_of_row(row: RowState) -> dict[str, Any]:
    """Return what a document may name of the row that it writes."""
    if row.lock_version is None:
        return {"id": row.image_id}
    versions = {"lock_version": row.lock_version, "next_lock_version": row.lock_version + 1}
    return {"id": row.image_id, **versions}


def values_of_result(result: RemovalResult) -> dict[str, Any]:
    """Return what `record_removal` may name besides."""
    return {
        "status": "done",
        "key": result.key,
        "etag": result.etag,
        "width": result.width,
        "height": result.height,
        "coverage": result.coverage,
        "model": result.model,
        "renditions": told_renditions(result),
        "subject": told_subject(result),
        "processed_at": _now(),
    }


def told_renditions(result: RemovalResult) -> dict[str, Any] | None:
    """Return what rows and answers say of the renditions, by their names; None: there are none."""
    told = {
        it.name: {"key": it.key, "width": it.width, "height": it.height, "bytes": it.size_bytes}
        for it in result.renditions
    }
    return told or None


def told_subject(result: RemovalResult) -> dict[str, int] | None:
    """Return what rows and answers say of where the subject is."""
    return None if result.subject is None else result.subject._asdict()


def values_of_failure(error: RemovalError) -> dict[str, Any]:
    """Return what `record_failure` may name besides."""
    return {
        "status": "failed",
        "error_code": error.code,
        "error_message": str(error),
        "processed_at": _now(),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat()


def read_state(row: Mapping[str, Any], selected: Set[str]) -> RowState:
    """Read the answer of `find_row`, of which so much was selected.

    Raises:
        LookupError, TypeError, ValueError: it is no such answer.
    """
    return RowState(
        str(row["id"]),
        int(row["lock_version"]) if "lock_version" in selected else None,
        _moment(row["created_at"]) if "created_at" in selected else None,
        _source_key(row) if "source_key" in selected else None,
    )


def read_listed(row: Mapping[str, Any]) -> ImageRow:
    """Read a row of `list_images`; one without a status tells by its key if there is a result.

    Raises:
        AttributeError, LookupError, TypeError: it is no such row.
    """
    if "status" not in row:
        status = "pending" if row["key"] is None else "done"
    else:
        status = row["status"] if row["status"] in ("done", "failed") else "pending"
    source_key = _source_key(row) if "source_key" in row else None
    return ImageRow(str(row["id"]), status, row.get("cutout_etag"), source_key)


def _source_key(row: Mapping[str, Any]) -> str:
    key = row["source_key"]
    if not isinstance(key, str | None):
        raise TypeError("the source's key is no text")
    return key or ""


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=LATEST_ZONE)
