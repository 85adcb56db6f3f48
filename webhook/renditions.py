"""The renditions beside a cut-out: which of them are good, and how they are stored.

Each is stored after its cut-out and before the row is written, in the place of the one that was
seen there before the source was. Its certificate names its cut-out and its recipe: one of another
cut-out is not good, whatever else it says.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from webhook import __version__
from webhook.domain import Box, Rendition, StandingCutout
from webhook.imaging.renditions import RenderedRendition, Renditions
from webhook.recipes import RenditionRecipe

RENDITIONS_VERSION = "1"
"""Raised whenever the same cut-out and recipe would give another file."""

_NO_SUBJECT = "none"

_RETURN = TypeVar("_RETURN")


class Store(Protocol):
    """Where they lie."""

    async def look(self, key: str) -> StandingCutout | None:
        """Return what is to be known of an object, if there is one."""

    async def store(
        self, key: str, png: bytes, certificate: Mapping[str, str], replaces: str | None
    ) -> str:
        """Write a file in the place of the one with this ETag, or of none; return its own."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What lies beside a cut-out.

    Attributes:
        good: Renditions that are of this cut-out and as the recipes say, by their names.
        subject: Where the subject is, if a good one tells it.
        missing: The recipes of the others.
    """

    good: Mapping[str, Rendition] = field(default_factory=dict)
    subject: Box | None = None
    missing: Sequence[RenditionRecipe] = ()


def key_beside(cutout_key: str, name: str) -> str:
    """Return the key of a rendition."""
    return f"{cutout_key.rpartition('/')[0]}/{name}"


async def look_beside(
    store: Store, cutout_key: str, recipes: Sequence[RenditionRecipe]
) -> dict[str, StandingCutout]:
    """Return what lies under the renditions' names, good or not.

    Raises:
        StorageUnavailable, StorageRejected: S3 could not be asked.
    """
    found = await _all_of([store.look(key_beside(cutout_key, it.name)) for it in recipes])
    return {it.name: standing for it, standing in zip(recipes, found, strict=True) if standing}


def judge_beside(
    seen: Mapping[str, StandingCutout],
    cutout_key: str,
    cutout_etag: str,
    recipes: Sequence[RenditionRecipe],
) -> Beside:
    """Tell which of the renditions that were seen are good."""
    good: dict[str, Rendition] = {}
    subject = None
    for recipe in recipes:
        standing = seen.get(recipe.name)
        if standing is None or not is_good(standing, cutout_etag, recipe):
            continue
        found, key = standing.certificate, key_beside(cutout_key, recipe.name)
        try:
            width, height = int(found["width"]), int(found["height"])
            subject = _box(found["subject"])
        except (KeyError, ValueError):  # not written by us
            continue
        good[recipe.name] = Rendition(recipe.name, key, width, height, standing.size_bytes)
    missing = [recipe for recipe in recipes if recipe.name not in good]
    return Beside(good, subject, missing)


def is_good(standing: StandingCutout, cutout_etag: str, recipe: RenditionRecipe) -> bool:
    """Tell whether the same cut-out and recipe would give the same file again."""
    return _origin(cutout_etag, recipe).items() <= standing.certificate.items()


async def store_beside(
    store: Store,
    cutout_key: str,
    cutout_etag: str,
    made: Renditions,
    seen: Mapping[str, StandingCutout],
    stored: dict[str, str],
) -> None:
    """Write renditions in the places of those that were seen.

    Args:
        store: Where they go.
        cutout_key: Of their cut-out.
        cutout_etag: Likewise.
        made: What to write.
        seen: What lay there.
        stored: Gets the ETag of each that was written, by its key; also if another one was not.

    Raises:
        Superseded: others lie there by now.
        StorageUnavailable, StorageRejected: S3 did not take one.
    """

    async def put(rendered: RenderedRendition) -> None:
        key = key_beside(cutout_key, rendered.recipe.name)
        standing = seen.get(rendered.recipe.name)
        certificate = {
            **_origin(cutout_etag, rendered.recipe),
            "width": str(rendered.width),
            "height": str(rendered.height),
            "subject": _NO_SUBJECT if made.subject is None else ",".join(map(str, made.subject)),
            "service-version": __version__,
        }
        stored[key] = await store.store(
            key, rendered.data, certificate, standing.etag if standing else None
        )

    await _all_of([put(rendered) for rendered in made.files])


def described(made: Renditions, cutout_key: str) -> dict[str, Rendition]:
    """Return what a row says of renditions that were made, by their names."""
    return {
        it.recipe.name: Rendition(
            it.recipe.name,
            key_beside(cutout_key, it.recipe.name),
            it.width,
            it.height,
            len(it.data),
        )
        for it in made.files
    }


def _origin(cutout_etag: str, recipe: RenditionRecipe) -> dict[str, str]:
    return {
        "cutout-etag": cutout_etag,
        "recipe": recipe.text,
        "renditions-version": RENDITIONS_VERSION,
    }


def _box(text: str) -> Box | None:
    if text == _NO_SUBJECT:
        return None
    left, top, width, height = map(int, text.split(","))
    return Box(left, top, width, height)


async def _all_of(calls: Sequence[Awaitable[_RETURN]]) -> list[_RETURN]:
    """Make calls at once; when all have ended, return what they did, or raise the first error."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    returned: list[_RETURN] = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        returned.append(outcome)
    return returned
