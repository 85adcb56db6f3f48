"""Rows become cut-outs: every way in, on real photographs, through the real servers."""

import io
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tests.support.people import Administrator, Database, User
from tests.support.photos import COFFEE, FLOWER, ROCKET
from webhook.domain import PARAMETERS_VERSION

Post = Callable[..., httpx2.Response]


SUBJECTS_XY = {COFFEE: (290, 300), ROCKET: (320, 250), FLOWER: (307, 213)}


def assert_is_cutout_of(user: User, key: str, photo: Path) -> None:
    """Same size; the subject is kept in its own colours, the background is clear."""
    cutout = user.cutout(key)
    source = in_srgb(photo)
    assert cutout.shape[:2] == source.shape[:2]
    alpha = cutout[:, :, 3]
    x, y = SUBJECTS_XY[photo]
    assert (alpha[y - 4 : y + 4, x - 4 : x + 4] > 240).all()
    clear = alpha == 0
    assert 0.3 < clear.mean() < 0.98
    assert not cutout[clear].any()
    opaque = alpha == 255
    assert np.abs(cutout[opaque][:, :3].astype(int) - source[opaque]).max() <= 1


def in_srgb(photo: Path) -> NDArray[np.uint8]:
    """Return the colours of a photograph: the rocket's are Adobe RGB's."""
    with Image.open(photo) as image:
        profile = image.info.get("icc_profile")
        if profile is None:
            return np.asarray(image.convert("RGB"))
        converted = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            "RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    return np.asarray(converted)


def test_a_row_inserted_by_a_user_gets_its_cutout(
    user: User, database: Database, image_id: str
) -> None:
    user.upload(image_id, COFFEE, ".png")
    user.insert(image_id)
    row = database.finished_row(image_id)
    assert (row["status"], row["owner_id"]) == ("done", user.user_id)
    assert row["transparent_key"] == f"img/{image_id}/trans.png"
    assert (row["width"], row["height"], row["model"]) == (600, 400, "embedded")
    assert (row["error_code"], row["error_message"]) == (None, None)
    assert row["processed_at"] >= row["created_at"]
    assert_is_cutout_of(user, row["transparent_key"], COFFEE)
    alpha = user.cutout(row["transparent_key"])[:, :, 3]
    assert row["coverage"] == pytest.approx(alpha.mean() / 255, abs=1e-3)


def test_a_row_inserted_by_plain_sql_gets_its_cutout(
    user: User, database: Database, image_id: str
) -> None:
    user.upload(image_id, ROCKET, ".jpg")
    database.insert_row(image_id)
    row = database.finished_row(image_id)
    assert row["status"] == "done"
    assert_is_cutout_of(user, row["transparent_key"], ROCKET)
    assert database.event(image_id)["payload"]["session_variables"] is None


def test_the_mutation_answers_when_the_row_is_true(user: User, image_id: str) -> None:
    user.upload(image_id, FLOWER, "/IMG 0001.jpg")
    user.insert(image_id)
    answer = user.remove_background(image_id)["data"]["removeBackground"]
    assert answer == {
        "id": image_id,
        "key": f"img/{image_id}/trans.png",
        "image": {"status": "done", "width": 640, "height": 427},
    }
    assert_is_cutout_of(user, answer["key"], FLOWER)


def test_an_id_in_capitals_leads_to_the_rows_own_key(
    user: User, database: Database, image_id: str
) -> None:
    user.upload(image_id, ROCKET)
    database.insert_row(image_id)
    answer = user.remove_background(image_id.upper(), model="embedded")
    assert answer["data"]["removeBackground"]["key"] == f"img/{image_id}/trans.png"


def test_a_cutout_carries_its_birth_certificate(
    user: User, database: Database, image_id: str
) -> None:
    user.upload(image_id, ROCKET)
    user.insert(image_id)
    database.finished_row(image_id)
    client = user.stack.s3.client()
    source = client.head_object(Bucket=user.stack.bucket, Key=f"ogs/{image_id}")
    target = client.head_object(Bucket=user.stack.bucket, Key=f"img/{image_id}/trans.png")
    certificate = target["Metadata"]
    assert certificate["source-etag"] == source["ETag"].strip('"')
    assert (certificate["model"], certificate["precision"]) == ("embedded", "float32")
    assert certificate["parameters"] == PARAMETERS_VERSION
    assert (certificate["width"], certificate["height"]) == ("640", "427")


def test_a_photograph_with_a_turn_in_its_exif_comes_out_upright(
    user: User, database: Database, image_id: str
) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(ROCKET) as photo:
        photo.rotate(90, expand=True).save(buffer, "JPEG", exif=exif, quality=95)
    user.upload(image_id, buffer.getvalue())
    user.insert(image_id)
    row = database.finished_row(image_id)
    assert (row["width"], row["height"]) == (640, 427)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP"])
def test_every_format_is_served(
    user: User, database: Database, image_id: str, file_format: str
) -> None:
    buffer = io.BytesIO()
    with Image.open(COFFEE) as photo:
        photo.save(buffer, file_format)
    user.upload(image_id, buffer.getvalue(), f".{file_format.lower()}")
    user.insert(image_id)
    assert database.finished_row(image_id)["status"] == "done"


def test_a_row_can_be_run_again_by_hand(
    user: User, database: Database, administrator: Administrator, image_id: str
) -> None:
    user.upload(image_id, b"not an image")
    user.insert(image_id)
    assert database.finished_row(image_id)["error_code"] == "unsupported-image"
    user.upload(image_id, ROCKET)
    database.sql("UPDATE images SET status = 'pending' WHERE id = %s", image_id)
    answer = administrator.metadata(
        "pg_invoke_event_trigger", name="images_remove_background", payload={"id": image_id}
    )
    assert "event_id" in answer
    row = database.finished_row(image_id)
    assert (row["status"], row["error_code"], row["error_message"]) == ("done", None, None)


def test_the_write_back_sets_off_no_other_event(
    user: User, database: Database, image_id: str
) -> None:
    user.upload(image_id, ROCKET)
    user.insert(image_id)
    database.settled_event(image_id)
    count = database.sql(
        "SELECT count(*) FROM hdb_catalog.event_log WHERE payload #>> '{data,new,id}' = %s",
        image_id,
    )
    assert count == [(1,)]


def test_the_ancestors_contract_is_served(
    user: User, database: Database, image_id: str, post: Post
) -> None:
    user.upload(image_id, ROCKET)
    database.insert_row(image_id)
    answer = post("/runsync", {"input": {"id": image_id, "model": "embedded"}})
    assert (answer.status_code, answer.json()) == (200, {"key": f"img/{image_id}/trans.png"})
    without_row = str(uuid.uuid4())
    missing = post("/runsync", {"input": {"id": without_row}})
    assert missing.status_code == 404
    assert "row" in missing.json()["error"]
    database.insert_without_event(without_row)
    missing = post("/runsync", {"input": {"id": without_row}})
    assert missing.status_code == 404
    assert "no source object" in missing.json()["error"]


def test_many_rows_of_one_statement_are_all_served(user: User, database: Database) -> None:
    image_ids = [str(uuid.uuid4()) for _ in range(12)]
    for image_id in image_ids:
        user.upload(image_id, ROCKET)
    database.sql("INSERT INTO images (id) SELECT unnest(%s::uuid[])", image_ids)
    rows = [database.finished_row(image_id, patience_s=60) for image_id in image_ids]
    assert {row["status"] for row in rows} == {"done"}
