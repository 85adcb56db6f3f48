import pytest

from webhook.domain import (
    ModelIdentity,
    RemovalResult,
    SourceObject,
    certificate,
    check_image_id,
    target_key,
)
from webhook.errors import InvalidImageId


@pytest.mark.parametrize(
    "image_id", ["12", "a", "x" * 128, "A_b-9", "5f0c5d5e-94a6-4f47-9f0c-1d5e3bb1a111"]
)
def test_an_id_of_plain_characters_is_taken_as_it_is(image_id: str) -> None:
    assert check_image_id(image_id) == image_id


@pytest.mark.parametrize(
    "image_id",
    ["", "x" * 129, "../x", "a/b", "a.b", "a b", "a\n", "\x00", "é", "\uff11", "%2e%2e"],
    ids=repr,
)
def test_an_id_that_could_leave_its_folder_is_refused(image_id: str) -> None:
    with pytest.raises(InvalidImageId):
        check_image_id(image_id)
    with pytest.raises(InvalidImageId):
        target_key("img/", image_id)


def test_the_target_key_follows_from_the_id_alone() -> None:
    assert target_key("img/", "12") == "img/12/trans.png"


def test_a_certificate_is_ascii_text_as_s3_metadata_must_be() -> None:
    source = SourceObject("ogs/12", "abc", 3)
    model = ModelIdentity("embedded", "r1", "float32")
    result = RemovalResult("12", "img/12/trans.png", "embedded", 640, 480, 0.25)
    written = certificate(source, model, result)
    assert written["source-etag"] == "abc"
    assert (written["width"], written["height"], written["coverage"]) == ("640", "480", "0.250000")
    assert all(name.isascii() and value.isascii() for name, value in written.items())
