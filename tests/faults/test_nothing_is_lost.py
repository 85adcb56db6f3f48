"""Every fault of scenarios.py: afterwards each row is right, and little was computed twice."""

import pytest

from tests.support.faults.neighbourhood import Neighbourhood
from tests.support.faults.scenarios import SCENARIOS, Scenario


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_nothing_is_lost(house: Neighbourhood, scenario: Scenario) -> None:
    outcome = scenario.run(house)
    assert outcome.lost == 0
    assert outcome.computed_twice <= scenario.again


def test_at_rest_row_cutout_and_newest_source_say_the_same(house: Neighbourhood) -> None:
    assert house.wrong() == []
