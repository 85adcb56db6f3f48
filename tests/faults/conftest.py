from collections.abc import Iterator

import pytest

from tests.support.faults.neighbourhood import Neighbourhood, neighbourhood


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbourhood]:
    with neighbourhood(tmp_path_factory.mktemp("faults")) as house:
        yield house
