"""Every order of two requests, and of what may come between any two of their steps."""

from collections.abc import Iterator
from itertools import combinations_with_replacement
from typing import Any

import pytest

from tests.support.interleaving.walk import Walk, walk
from tests.support.interleaving.world import Kind, Limits, World

ASKING: list[Kind] = ["event", "mutation by b", "backfill", "doomed event"]
PAIRS = [*combinations_with_replacement(ASKING, 2), ("mutation by b", "mutation by c")]
# Of two events with all that can happen to both there are a billion orders: half a minute.
QUICK_PAIRS = [pair for pair in PAIRS if not any("event" in kind for kind in pair)]
BETWEEN = {
    "a replacement": Limits(replacements=1),
    "a crash": Limits(crashes=1),
    "a lost answer": Limits(lost_answers=1),
    "a deletion": Limits(deletions=1),
}


def walk_through(kinds: tuple[Kind, ...], limits: Limits, **world: Any) -> Walk:
    seen = walk(lambda: World(*kinds, limits=Limits(**vars(limits)), **world))
    told = ", ".join(f"{count} {name}" for name, count in vars(limits).items() if count)
    print(f"{' + '.join(kinds)}, {told}: {seen.orders:,} orders, {seen.states:,} states")
    return seen


def scenarios() -> Iterator[object]:
    for name, limits in BETWEEN.items():
        for pair in PAIRS:
            yield pytest.param(pair, limits, id=f"{' + '.join(pair)} + {name}")
    for pair in [*QUICK_PAIRS, ("event", "mutation by b")]:
        limits = Limits(replacements=1, crashes=1)
        yield pytest.param(pair, limits, id=f"{' + '.join(pair)} + a replacement + a crash")


@pytest.mark.parametrize(("kinds", "limits"), list(scenarios()))
def test_the_newest_source_wins_in_every_order(kinds: tuple[Kind, ...], limits: Limits) -> None:
    seen = walk_through(kinds, limits)
    assert seen.orders > 100
    assert not seen.stories, seen.explain()


@pytest.mark.parametrize(
    "limits", [Limits(replacements=1), Limits(hang_ups=1)], ids=["a replacement", "a hang-up"]
)
@pytest.mark.parametrize("pair", PAIRS, ids=" + ".join)
def test_it_wins_among_the_requests_of_one_process_too(
    pair: tuple[Kind, ...], limits: Limits
) -> None:
    seen = walk_through(pair, limits, processes=1)
    assert not seen.stories, seen.explain()


def test_a_verdict_on_a_broken_file_never_outlives_its_repair() -> None:
    limits = Limits(replacements=1, crashes=1)
    make = lambda: World(  # noqa: E731  # the walk makes it anew for each way
        "event", "mutation", limits=Limits(**vars(limits)), first_source=b"broken"
    )
    seen = walk(make)
    assert not seen.stories, seen.explain()


def test_a_bucket_without_conditions_is_looked_at_once_more() -> None:
    seen = walk_through(("backfill", "mutation"), Limits(), keeps_conditions=False)
    assert not seen.stories, seen.explain()


def orders_with_renditions() -> Iterator[object]:
    for name, limits in BETWEEN.items():
        yield pytest.param(limits, b"small ", id=f"own files + {name}")
    # Masks may be equal bytes, whatever their cut-outs: then ETags tell nothing.
    for name in ("a replacement", "a crash"):
        yield pytest.param(BETWEEN[name], b"mask.", id=f"equal files + {name}")


@pytest.mark.parametrize(("limits", "rendition"), list(orders_with_renditions()))
def test_no_rendition_of_another_cutout_stays_beside_it(limits: Limits, rendition: bytes) -> None:
    seen = walk_through(("mutation by b", "backfill"), limits, rendition=rendition)
    assert seen.orders > 100
    assert not seen.stories, seen.explain()


# --- that the walk would find it -----------------------------------------------------------------


def test_without_the_condition_of_the_row_the_walk_finds_rows_that_tell_of_another_cutout() -> None:
    seen = walk_through(("event", "mutation by b"), Limits(replacements=1), locks_rows=False)
    assert any("the row tells of another cut-out" in broken for broken in seen.stories)


def test_without_any_condition_the_walk_finds_that_the_older_computation_wins() -> None:
    seen = walk_through(
        ("event", "mutation"), Limits(replacements=1), locks_rows=False, blind_puts=True
    )
    assert "the cut-out is of a former source" in seen.stories
    story = seen.stories["the cut-out is of a former source"]
    assert "replace the source" in story


def test_without_any_condition_the_walk_finds_renditions_of_another_cutout() -> None:
    seen = walk_through(
        ("mutation", "backfill"),
        Limits(replacements=1),
        locks_rows=False,
        blind_puts=True,
        rendition=b"small ",
    )
    assert "a rendition is of another cut-out" in seen.stories
