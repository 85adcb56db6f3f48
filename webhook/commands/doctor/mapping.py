"""The GraphQL documents: are they right, and what is weaker without what they leave out?"""

from collections.abc import Iterator

from webhook.commands.doctor.examination import Examination
from webhook.errors import ConfigurationError
from webhook.hasura.documents import Documents, load_documents
from webhook.settings import Settings


def examine_documents(examination: Examination, settings: Settings) -> Documents | None:
    """Read the documents; tell what they lack."""
    try:
        documents = load_documents(
            settings.graphql_documents, with_source_key=settings.source_key_column is not None
        )
    except ConfigurationError as exc:
        _title, *mistakes = str(exc).splitlines()
        for mistake in mistakes:
            examination.add("documents", "fail", mistake.strip())
        return None
    examination.add("documents", "ok", f"those of {settings.graphql_documents} are right")
    for lack in (*_lacks(documents), *_lacks_of_renditions(documents, settings)):
        examination.add("documents", "weak", lack)
    return documents


def _lacks(documents: Documents) -> Iterator[str]:
    """Tell what a table, or its documents, could have; docs/own-table.md has the same list."""
    if unconditional := [it.name for it in documents.mutations if "lock_version" not in it.types]:
        yield (
            f"{' and '.join(unconditional)}: without $lock_version an older job may write the row "
            "after a newer one"
        )
    for it in documents.mutations:
        is_raised = "next_lock_version" in it.types or "_inc" in it.columns
        if "lock_version" in it.types and not is_raised:
            yield (
                f"{it.name}: each write must raise lock_version: by $next_lock_version, by _inc, "
                "or by a trigger in the database"
            )
    if "created_at" not in documents.find_row.selected:
        yield "find_row: without created_at a missing upload is awaited from the event's time"
    if documents.record_failure is None:
        yield "record_failure is missing: rows do not show failures; answers and the log do"
    yield from _lacks_of_a_backfill(documents)


def _lacks_of_renditions(documents: Documents, settings: Settings) -> Iterator[str]:
    if settings.renditions and "renditions" not in documents.record_removal.types:
        yield "record_removal: without $renditions rows do not tell of the renditions"


def _lacks_of_a_backfill(documents: Documents) -> Iterator[str]:
    listing = documents.list_images
    if listing is None:
        yield "list_images is missing: the command backfill does not work"
        return
    if "cutout_etag" not in listing.selected or "etag" not in documents.record_removal.types:
        yield (
            "list_images, record_removal: without cutout_etag and $etag backfill does not find "
            "rows that describe another cut-out than the one in S3"
        )
    if "created_before" not in listing.types:
        yield "list_images: without $created_before backfill also takes rows that come meanwhile"
    if "status" not in listing.selected:
        yield "list_images: without status backfill takes a failed row for a pending one"
