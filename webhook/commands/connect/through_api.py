"""Carries a plan out through Hasura's API, or takes it back; all of it or nothing."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from webhook.commands.connect.columns import Table, down_sql, up_sql
from webhook.commands.connect.live import Exported, Live
from webhook.commands.connect.plan import Plan
from webhook.commands.doctor.engine import NoAnswer
from webhook.commands.doctor.examination import Examination, Trouble
from webhook.commands.doctor.role import examine_role
from webhook.hasura.documents import load_documents


def keep(folder: Path, exported: Exported) -> Path:
    """Keep the metadata of before, as a request that brings it back; nobody else may read it.

    Raises:
        OSError: it can't be written.
    """
    request = {
        "type": "replace_metadata",
        "version": 2,
        "args": {"allow_inconsistent_metadata": False, "metadata": exported.metadata},
    }
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, 10_000):
        path = folder / f"metadata-before-{exported.resource_version}-{number}.json"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(request, file, indent=2)
        return path
    raise FileExistsError(f"{folder} is full of metadata of before")


def apply(live: Live, plan: Plan, seen: Exported) -> None:
    """Add the columns, then replace the metadata.

    Raises:
        NoAnswer: whether it was done is not known.
        Trouble: it is refused; nothing has changed, unless the message says so.
    """
    if plan.missing:
        live.change_table(up_sql(plan.table, plan.missing))
    try:
        if plan.added:
            live.replace(plan.merged, _unchanged(live, seen))
    except NoAnswer:
        raise
    except Trouble as exc:
        if plan.missing:
            _undo(live, down_sql(plan.table, list(plan.missing)), exc)
        raise


def take_back(
    live: Live, table: Table, columns: Sequence[str], rest: Mapping[str, Any], seen: Exported
) -> None:
    """Replace the metadata, then drop the columns, which it named.

    Raises:
        Trouble: it is refused; the message says what has changed.
    """
    if rest != seen.metadata:
        live.replace(rest, seen.resource_version)
    if columns:
        sql = down_sql(table, columns)
        try:
            live.change_table(sql)
        except Trouble as exc:
            raise Trouble(f"{exc}\nThe metadata is taken back, the columns stay:\n{sql}") from exc


def check_role(live: Live, folder: Path) -> list[str]:
    """Run the documents as our role; return what it may not do."""
    examination = Examination()
    if examination.check("Hasura", live.engine.answers):
        examine_role(examination, live.engine, load_documents(folder))
    return [
        f"{it.check}: {it.says}"
        for it in examination.findings
        if it.status == "fail" and it.check != "role does no more"  # it may serve other tables
    ]


def _unchanged(live: Live, seen: Exported) -> int:
    """See that only our own statement has raised the metadata's number."""
    now = live.export()
    if now.metadata != seen.metadata:
        raise Trouble("Somebody else has changed the metadata meanwhile: try once more.")
    return now.resource_version


def _undo(live: Live, sql: str, cause: Trouble) -> None:
    try:
        live.change_table(sql)
    except Trouble as exc:
        raise Trouble(f"{cause}\nThe columns could not be dropped again ({exc}):\n{sql}") from cause
