"""What becomes of the cut-outs of a row that is deleted, with and without the trigger for that."""

import time
import uuid
from pathlib import Path

import yaml

from devstack.stack import Stack, demo_stack
from tests.support.people import Database, User
from tests.support.photos import ROCKET
from tests.support.standin_engine import IMAGES, REPOSITORY, copy_project

TRIGGER = REPOSITORY / "deploy" / "hasura-delete-trigger.yaml"
PATIENCE_S = 30


def row_with_cutout(stack: Stack) -> tuple[User, Database, str]:
    user, database, image_id = User(stack), Database(stack), str(uuid.uuid4())
    user.upload(image_id, ROCKET)
    user.insert(image_id)
    assert database.finished_row(image_id)["status"] == "done"
    assert user.has_cutout(image_id)
    return user, database, image_id


def test_a_deleted_row_leaves_its_cutout_by_default(stack: Stack) -> None:
    user, database, image_id = row_with_cutout(stack)
    database.sql("DELETE FROM images WHERE id = %s", image_id)
    assert user.has_cutout(image_id)


def test_a_deleted_row_takes_its_cutouts_along_with_the_trigger_for_that(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    (trigger,) = yaml.safe_load(TRIGGER.read_text("utf-8"))
    project.edit(IMAGES, event_triggers__append=trigger)
    with demo_stack(tmp_path, metadata=project.metadata) as stack:
        user, database, image_id = row_with_cutout(stack)
        _, _, kept = row_with_cutout(stack)
        database.sql("DELETE FROM images WHERE id = %s", image_id)
        deadline = time.monotonic() + PATIENCE_S
        while user.has_cutout(image_id):
            assert time.monotonic() < deadline, "the cut-out is still there"
            time.sleep(0.05)
        assert user.has_cutout(kept)
