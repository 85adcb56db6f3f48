"""Random orders of up to five requests in three processes, with several troubles in between."""

import pytest

from tests.support.interleaving.wander import wander

STEPS = {"begin", "do", "lose", "replace", "break", "delete", "kill", "hang", "backfill"}


def test_the_promises_hold_in_random_longer_orders() -> None:
    seen = wander(examples=2_500)
    print(f"{len(seen.orders):,} orders, {seen.steps:,} steps: {dict(seen.happened)}")
    assert len(seen.orders) > 1_500
    assert seen.steps > 20 * len(seen.orders)
    assert set(seen.happened) == STEPS
    assert min(seen.happened.values()) > 100


# --- that they would find it ----------------------------------------------------------------------


def test_without_the_condition_of_the_row_random_orders_break_a_promise() -> None:
    with pytest.raises(AssertionError, match=r"(?s)the row tells .*1\. begin .* do \d:record"):
        wander(examples=2_500, locks_rows=False)


def test_without_the_condition_of_the_bucket_random_orders_break_a_promise() -> None:
    with pytest.raises(AssertionError, match=r"(?s)model .*1\. begin .* do \d:store"):
        wander(examples=2_500, blind_puts=True)
