"""All orders of a world, each different state entered once."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.support.interleaving.promises import broken_promise, explain
from tests.support.interleaving.world import World


@dataclass(frozen=True)
class Walk:
    """What a walk has seen.

    Attributes:
        orders: How many different orders there are, from the beginning to rest.
        states: How many different states they lead through.
        stories: One order for each promise that was broken, by the words for it.
    """

    orders: int
    states: int
    stories: dict[str, list[str]]

    def explain(self) -> str:
        """Tell the stories."""
        return "\n".join(explain(broken, story) for broken, story in self.stories.items())


def walk(make: Callable[[], World]) -> Walk:
    """Walk through all orders of a world.

    From equal states everything goes on alike, so each is gone on from only once; the orders are
    counted along all the ways that lead to it.
    """
    ways: dict[Any, list[Any]] = {}
    stories: dict[str, list[str]] = {}
    todo: list[list[str]] = [[]]
    first = None
    while todo:
        prefix = todo.pop()
        world = make()
        before = None
        try:
            for action in prefix:
                before = world.state()
                world.act(action)
            while True:
                here = world.state()
                first = first or here
                if before is not None:
                    ways[before].append(here)
                if here in ways:
                    break
                ways[here] = []
                actions = world.actions()
                if not actions:
                    _judge(world, stories)
                    break
                todo += [[*world.story, action] for action in actions[1:]]
                before = here
                world.act(actions[0])
        finally:
            world.close()

    @cache
    def orders_from(state: Any) -> int:
        return sum(map(orders_from, ways[state])) if ways[state] else 1

    return Walk(orders_from(first), len(ways), stories)


def _judge(world: World, stories: dict[str, list[str]]) -> None:
    world.come_to_rest()
    broken = broken_promise(world)
    if broken is not None:
        stories.setdefault(broken, [*world.story])
