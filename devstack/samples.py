"""Sample photographs for the demo and the tests, out of installed packages.

They are found, not copied: the repository carries no photographs of its own.
"""

from importlib.util import find_spec
from pathlib import Path

from devstack import DemoError

_PHOTOS = (
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/rocket.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
)


def sample_photos() -> list[Path]:
    """Return the paths of five photographs, always in the same order.

    Raises:
        DemoError: A package that holds them is not installed.
    """
    return [_photo(package, name) for package, name in _PHOTOS]


def _photo(package: str, name: str) -> Path:
    # Finding a package is quick; importing these two takes seconds.
    spec = find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or []:
        photo = Path(folder) / name
        if photo.is_file():
            return photo
    raise DemoError(
        f"the sample photograph {Path(name).name} of the package {package} is missing: "
        "install requirements/dev.txt"
    )
