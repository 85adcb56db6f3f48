from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import pytest

from webhook.domain import (
    ModelIdentity,
    Recipe,
    RemovalResult,
    SourceObject,
    StandingCutout,
    certificate,
    certified_result,
    check_image_id,
    check_source_key,
    target_key,
)
from webhook.errors import InvalidImageId, InvalidSourceKey, SourceNotFound


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


@pytest.mark.parametrize(
    "key",
    ["ogs/12", "ogs/2026/11/My photo (1).JPG", "ogs/a..b.png", "ogs/%2e%2e", "ogs/é", "ogs/..."],
)
def test_a_row_may_name_any_source_below_the_prefix(key: str) -> None:
    assert check_source_key("ogs/", key) == key


@pytest.mark.parametrize(
    "key",
    [
        "img/12/trans.png",
        "ogs",
        "ogs/",
        "/ogs/12",
        "Ogs/12",
        "ogs/../img/12/trans.png",
        "ogs/a/../../secret",
        "ogs/./12",
        "ogs//12",
        "ogs/12/",
        "ogs/a\\..\\b",
        "ogs/a\n",
        "ogs/\x00",
        "ogs/\ud800",
        "ogs/" + "x" * 1021,
        "ogs/" + "é" * 511,
    ],
    ids=ascii,
)
def test_a_source_elsewhere_is_refused_whoever_wrote_its_key(key: str) -> None:
    with pytest.raises(InvalidSourceKey):
        check_source_key("ogs/", key)


def test_a_row_that_names_no_source_yet_is_waited_for() -> None:
    with pytest.raises(SourceNotFound):
        check_source_key("ogs/", "")


def test_the_target_key_follows_from_the_id_alone() -> None:
    assert target_key("img/", "12") == "img/12/trans.png"


SOURCE = SourceObject("ogs/12", "abc", 3)
MODEL = ModelIdentity("embedded", "r1", "float32")
RECIPE = Recipe(MODEL)
RESULT = RemovalResult("12", "img/12/trans.png", "embedded", 640, 480, 0.25, "e1")


def vouched(
    found: Mapping[str, str], source: SourceObject = SOURCE, recipe: Recipe = RECIPE
) -> RemovalResult | None:
    standing = StandingCutout("e1", found)
    return certified_result("12", "img/12/trans.png", standing, source, recipe)


def test_a_certificate_is_ascii_text_as_s3_metadata_must_be() -> None:
    written = certificate(SOURCE, RECIPE, RESULT)
    assert written["source-etag"] == "abc"
    assert (written["width"], written["height"], written["coverage"]) == ("640", "480", "0.250000")
    assert all(name.isascii() and value.isascii() for name, value in written.items())


def test_a_certificate_gives_back_the_result_that_it_was_written_for() -> None:
    assert vouched(certificate(SOURCE, RECIPE, RESULT)) == RESULT


def test_a_certificate_vouches_for_its_own_source_and_recipe_only() -> None:
    found = certificate(SOURCE, RECIPE, RESULT)
    assert vouched(found, replace(SOURCE, etag="xyz")) is None
    for other in ({"name": "local"}, {"revision": "r2"}, {"precision": "float16"}):
        assert vouched(found, recipe=Recipe(replace(MODEL, **other))) is None
    assert vouched(found, recipe=replace(RECIPE, parameters="0")) is None


@pytest.mark.parametrize("found", [{}, {"source-etag": "abc"}], ids=str)
def test_a_cutout_without_a_whole_certificate_is_made_anew(found: Mapping[str, str]) -> None:
    assert vouched(found) is None


def test_a_certificate_that_is_no_longer_numbers_is_not_believed() -> None:
    found = certificate(SOURCE, RECIPE, RESULT)
    assert vouched({**found, "width": "wide"}) is None
    assert vouched({name: value for name, value in found.items() if name != "coverage"}) is None


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    return [value]


def test_whatever_is_part_of_a_recipe_is_part_of_its_certificate() -> None:
    assert sorted(leaves(asdict(RECIPE))) == sorted(RECIPE.certified().values())
