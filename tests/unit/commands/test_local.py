import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from webhook.commands.local import Files
from webhook.errors import StorageRejected

KEY = "img/0/trans.png"
PNG = bytes(2**20)


@contextmanager
def files_of_at_most(count: int) -> Iterator[None]:
    """Let the system fail writes half way, as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def files(target: Path) -> Files:
    return Files([(target.with_suffix(".jpg"), target)], "img/", 1000)


def everything_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("before", [{}, {"photo.png": b"made before"}], ids=["new", "overwritten"])
async def test_a_write_that_fails_half_way_leaves_everything_as_it_was(
    tmp_path: Path, before: dict[str, bytes]
) -> None:
    for name, data in before.items():
        (tmp_path / name).write_bytes(data)
    with files_of_at_most(len(PNG) // 2), pytest.raises(StorageRejected, match="can't be written"):
        await files(tmp_path / "photo.png").store(KEY, PNG, {}, None)
    assert everything_in(tmp_path) == before


async def test_a_cutout_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"made before")
    await files(tmp_path / "photo.png").store(KEY, PNG, {}, None)
    assert everything_in(tmp_path) == {"photo.png": PNG}
