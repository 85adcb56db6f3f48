"""Random orders of worlds that are too large to walk through all of theirs."""

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import get_args

from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st

from tests.support.interleaving.promises import broken_promise, explain
from tests.support.interleaving.world import Kind, Limits, World

_FEW = st.sampled_from([0, 0, 0, 1, 2])  # of much trouble little is seen: backfill mends it all
_LIMITS = st.builds(
    Limits,
    replacements=st.integers(0, 2),
    breakages=st.integers(0, 1),
    crashes=_FEW,
    lost_answers=_FEW,
    hang_ups=_FEW,
    deletions=st.sampled_from([0, 0, 0, 0, 0, 1]),
)
_REQUESTS = st.lists(st.sampled_from(get_args(Kind)), min_size=2, max_size=5)
_PROCESSES = st.sampled_from([1, 2, 3, 3])
_FIRST_SOURCES = st.sampled_from([b"source 0", b"source 0", b"broken 0"])
_CHOICES = st.binary(min_size=100, max_size=100)  # hypothesis is quick with bytes
_A_ROUND = 7  # calls of a job, about


@dataclass
class Wandering:
    """What was seen on the way.

    Attributes:
        orders: The different orders.
        steps: Of how many steps they were made up.
        happened: How often each kind of step happened.
    """

    orders: set[tuple[str, ...]] = field(default_factory=set)
    steps: int = 0
    happened: Counter[str] = field(default_factory=Counter)

    def note(self, story: list[str]) -> None:
        """Count an order if it is a new one."""
        order = tuple(story)
        if order not in self.orders:
            self.orders.add(order)
            self.steps += len(order)
            self.happened.update(step.split()[0] for step in order)


def wander(examples: int, *, locks_rows: bool = True, blind_puts: bool = False) -> Wandering:
    """Take random orders, the same ones every time.

    Args:
        examples: How many; a few of them are alike.
        locks_rows: As of `World`.
        blind_puts: As of `World`.

    Raises:
        AssertionError: a promise was broken; the message tells the shortest order found that does.
    """
    seen = Wandering()

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @given(_REQUESTS, _LIMITS, _PROCESSES, _FIRST_SOURCES, _CHOICES)
    def take_one(
        kinds: list[Kind], limits: Limits, processes: int, first_source: bytes, choices: bytes
    ) -> None:
        world = World(
            *kinds,
            limits=replace(limits),  # the world counts them down
            processes=processes,
            first_source=first_source,
            locks_rows=locks_rows,
            blind_puts=blind_puts,
        )
        with closing(world):
            _go_on(world, choices)
            world.come_to_rest()
            seen.note(world.story)
            broken = broken_promise(world)
            assert broken is None, explain(broken, world.story)

    take_one()
    return seen


def _go_on(world: World, choices: bytes) -> None:
    """Choose what happens next, and how far a process then goes on: the others act late."""
    for what, how_far in zip(choices[::2], choices[1::2], strict=True):
        actions = world.actions()
        if not actions:
            return
        action = actions[what % len(actions)]
        world.act(action)
        process = world.process_of(action)
        for _ in range(how_far % _A_ROUND):
            calls = [other for other in world.actions() if other.startswith(f"do {process}:")]
            if not calls:
                break
            world.act(calls[0])
