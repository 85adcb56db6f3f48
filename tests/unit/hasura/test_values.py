"""What is read off rows, whatever a table of somebody else's has."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from webhook.domain import ImageRow, RowState
from webhook.hasura.values import read_listed, read_state, values_of_row


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"id": 7, "status": "done"}, ImageRow("7", "done")),
        ({"id": 7, "status": "failed", "key": "k"}, ImageRow("7", "failed")),
        ({"id": 7, "status": "new"}, ImageRow("7", "pending")),
        ({"id": 7, "status": None, "key": "k"}, ImageRow("7", "pending")),
        ({"id": 7, "key": "k", "cutout_etag": "e1"}, ImageRow("7", "done", "e1")),
        ({"id": 7, "key": None}, ImageRow("7", "pending")),
        ({"id": 7, "key": None, "source_key": "a"}, ImageRow("7", "pending", None, "a")),
        ({"id": 7, "key": None, "source_key": None}, ImageRow("7", "pending", None, "")),
    ],
    ids=str,
)
def test_a_row_tells_by_its_status_or_else_by_its_key(
    row: dict[str, Any], expected: ImageRow
) -> None:
    assert read_listed(row) == expected


def test_a_table_may_have_neither_version_nor_time() -> None:
    state = read_state({"id": 7}, {"id"})
    assert state == RowState("7", None)
    assert values_of_row(state) == {"id": "7"}


@pytest.mark.parametrize(("told", "source_key"), [("ogs/a.jpg", "ogs/a.jpg"), (None, ""), ("", "")])
def test_a_row_may_tell_where_its_source_lies(told: str | None, source_key: str) -> None:
    row = {"id": 7, "source_key": told}
    assert read_state(row, row.keys()) == RowState("7", None, source_key=source_key)


def test_a_source_key_that_is_no_text_is_no_answer() -> None:
    row = {"id": 7, "source_key": 12}
    with pytest.raises(TypeError):
        read_state(row, row.keys())


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05.5+00:00", datetime(2026, 1, 2, 3, 4, 5, 500_000, UTC)),
        ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, 0, UTC) + timedelta(hours=12)),
        (None, None),
    ],
)
def test_a_time_without_a_zone_is_the_latest_that_it_can_mean(
    text: str | None, moment: datetime | None
) -> None:
    row = {"id": 7, "created_at": text, "lock_version": "3"}
    assert read_state(row, row.keys()) == RowState("7", 3, moment)
