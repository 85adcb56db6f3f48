"""Hostile files through the real service: they end in their rows, and hurt nobody else's.

The device is simulated: what it takes for each picture is of no interest here.
"""

import signal
import uuid
from collections.abc import Iterator

import numpy as np
import pytest

from bench import load
from devstack.stack import Stack
from tests.support.faults.helpers import ending_helpers, is_decoding
from tests.support.hostile import KINDS
from tests.support.images import RGBA, png
from tests.support.people import Database, User
from tests.support.photos import ROCKET

HONEST = 8
IMAGE_S = 0.02
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with load.simulated_stack(0, IMAGE_S) as stack:
        yield stack


def upload_honest(user: User) -> list[str]:
    image_ids = [str(uuid.uuid4()) for _ in range(HONEST)]
    for image_id in image_ids:
        user.upload(image_id, ROCKET)
    return image_ids


def insert(database: Database, image_ids: list[str]) -> None:
    database.sql("INSERT INTO images (id) SELECT unnest(%s::uuid[])", image_ids)


def statuses(database: Database, image_ids: list[str]) -> set[str]:
    return {database.finished_row(image_id, PATIENCE_S)["status"] for image_id in image_ids}


def test_a_picture_that_breaks_its_decoder_fails_alone(
    stack: Stack, user: User, database: Database, image_id: str
) -> None:
    height, width = 5000, 6000
    user.upload(image_id, png(np.zeros((height, width, 4), np.uint8), 8, RGBA))
    honest = upload_honest(user)
    service = stack.service.process

    def decodes_it(helper: int) -> bool:
        return is_decoding(helper, height * width)

    with ending_helpers(service.pid, signal.SIGSEGV, 0.005, chosen=decodes_it) as ended:
        insert(database, [image_id, *honest])
        row = database.finished_row(image_id)
    assert (row["status"], row["error_code"]) == ("failed", "unsupported-image")
    assert row["error_message"] == "The image breaks its decoder."
    assert len(set(ended)) == 2
    assert statuses(database, honest) == {"done"}
    assert stack.service.process is service
    assert service.poll() is None


def test_one_of_each_kind_of_hostile_file_ends_and_honest_ones_are_done(
    stack: Stack, user: User, database: Database
) -> None:
    kinds = {str(uuid.uuid4()): kind for kind in KINDS}
    for image_id, kind in kinds.items():
        user.upload(image_id, KINDS[kind](1))
    honest = upload_honest(user)
    service = stack.service.process
    insert(database, [*kinds, *honest])
    assert statuses(database, honest) == {"done"}
    rows = [database.finished_row(image_id, PATIENCE_S) for image_id in kinds]
    codes = {row["error_code"] for row in rows if row["status"] == "failed"}
    assert codes == {"unsupported-image", "image-too-large"}
    assert stack.service.process is service
    assert service.poll() is None
