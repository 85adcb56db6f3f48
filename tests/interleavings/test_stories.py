"""Orders that once ended badly, told step by step."""

import pytest

from tests.support.interleaving.tell import tell
from tests.support.interleaving.world import Kind, World


def test_a_mutation_after_a_replacement_does_not_join_the_job_on_the_former_source() -> None:
    assert tell(
        World("event", "mutation", processes=1),
        "begin event (1)",
        "0: look, check, find, fetch",
        "replace the source",
        "begin mutation (2)",
    ) == {
        "event (1)": "source 0 by a",
        "mutation (2)": "source 1 by a",
        "row": "done, source 1 by a",
        "bucket": "source 1 by a",
    }


@pytest.mark.parametrize("older", ["event", "mutation", "backfill"])
def test_an_older_computation_that_stores_last_makes_way(older: Kind) -> None:
    assert tell(
        World(older, "mutation"),
        f"begin {older} (1)",
        "0: look, check, find, fetch",
        "replace the source",
        "begin mutation (2)",
        "1 finishes",
        "0: store",
    ) == {
        f"{older} (1)": "source 1 by a",
        "mutation (2)": "source 1 by a",
        "row": "done, source 1 by a",
        "bucket": "source 1 by a",
    }


@pytest.mark.parametrize("older", ["event", "mutation", "backfill"])
def test_an_older_computation_that_records_last_makes_way(older: Kind) -> None:
    assert tell(
        World(older, "mutation"),
        f"begin {older} (1)",
        "0: look, check, find, fetch, store",
        "replace the source",
        "begin mutation (2)",
        "1 finishes",
        "0: record",
    ) == {
        f"{older} (1)": "source 1 by a",
        "mutation (2)": "source 1 by a",
        "row": "done, source 1 by a",
        "bucket": "source 1 by a",
    }


def test_row_and_object_name_one_model_when_event_and_mutation_come_at_once() -> None:
    assert tell(
        World("event", "mutation by b"),
        "begin event (1)",
        "0: look, check, find, fetch, store",
        "begin mutation by b (2)",
        "1 finishes",
        "0: record",
    ) == {
        "event (1)": "source 0 by b",
        "mutation by b (2)": "source 0 by b",
        "row": "done, source 0 by b",
        "bucket": "source 0 by b",
    }


def test_an_event_that_stores_last_does_not_undo_the_choice_of_a_model() -> None:
    assert tell(
        World("event", "mutation by b"),
        "begin event (1)",
        "0: look, check, find, fetch",
        "begin mutation by b (2)",
        "1: look, check, find, fetch, store",
        "0: store",
        "1: record",
    ) == {
        "event (1)": "source 0 by b",
        "mutation by b (2)": "source 0 by b",
        "row": "done, source 0 by b",
        "bucket": "source 0 by b",
    }


def test_a_late_verdict_on_a_broken_file_does_not_mark_the_repaired_one_as_failed() -> None:
    assert tell(
        World("event", "mutation", first_source=b"broken 0"),
        "begin event (1)",
        "0: look, check, find, fetch",
        "replace the source",
        "begin mutation (2)",
        "1 finishes",
        "0: record failure",
    ) == {
        "event (1)": "source 1 by a",
        "mutation (2)": "source 1 by a",
        "row": "done, source 1 by a",
        "bucket": "source 1 by a",
    }


def test_an_event_that_is_delivered_again_keeps_the_model_that_the_user_chose() -> None:
    assert tell(
        World("event", "mutation by b"),
        "begin event (1)",
        "0: look, check, find, fetch, store",
        "lose 0:record",
        "begin mutation by b (2)",
        "1 finishes",
        "begin event (1)'",
    ) == {
        "event (1)": "writeback-unavailable",
        "mutation by b (2)": "source 0 by b",
        "event (1)'": "source 0 by b",
        "row": "done, source 0 by b",
        "bucket": "source 0 by b",
    }


def test_the_last_failed_try_of_an_event_does_not_mark_a_success_as_failed() -> None:
    assert tell(
        World("doomed event", "mutation by b"),
        "begin doomed event (1)",
        "0: look, check, find, fetch",
        "begin mutation by b (2)",
        "1 finishes",
    ) == {
        "doomed event (1)": "superseded",
        "mutation by b (2)": "source 0 by b",
        "doomed event (1)'": "source 0 by b",
        "row": "done, source 0 by b",
        "bucket": "source 0 by b",
    }


def test_nothing_is_computed_for_a_row_that_was_deleted_before() -> None:
    world = World("event")
    assert tell(world, "delete the row", "begin event (1)") == {
        "event (1)": "row-not-found",
        "row": "gone",
        "bucket": "empty",
    }
    assert world.story == ["delete the row", "begin event (1)", "do 0:look"]


def test_no_cutout_is_left_of_a_row_that_is_deleted_meanwhile() -> None:
    world = World("event")
    assert tell(world, "begin event (1)", "0: look, check, find, fetch", "delete the row") == {
        "event (1)": "row-not-found",
        "row": "gone",
        "bucket": "empty",
    }


def test_a_kill_between_a_cutout_and_its_rendition_heals() -> None:
    world = World("event", rendition=b"small ")
    assert tell(world, "begin event (1)", "0: look, check, find, fetch, store", "kill 0") == {
        "event (1)": "None",
        "event (1)'": "source 0 by a",
        "row": "done, source 0 by a",
        "bucket": "source 0 by a",
    }
    assert not world.stale_renditions()
    again = [step.partition(":")[2] for step in world.story if step.startswith("do 1:")]
    assert again == [
        *("look", "check", "check rendition", "find"),
        *("fetch cut-out", "store rendition", "record"),
    ]
