"""What a removal is: its request, its source, its result; id rules and S3 keys. No I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from webhook import __version__
from webhook.errors import InvalidImageId, InvalidSourceKey, SourceNotFound


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """A kind of file that is taken: Pillow's name for it, its media type, its usual suffixes."""

    name: str
    media_type: str
    suffixes: tuple[str, ...]


IMAGE_FORMATS = (
    ImageFormat("JPEG", "image/jpeg", (".jpg", ".jpeg")),
    ImageFormat("PNG", "image/png", (".png",)),
    ImageFormat("GIF", "image/gif", (".gif",)),
    ImageFormat("WEBP", "image/webp", (".webp",)),
)
"""The kinds of files that a source may be; which one it is, its content tells, not its name."""


def list_formats(last_word: str) -> str:
    """Return the names of the formats for a sentence: "JPEG, PNG, GIF or WEBP"."""
    *names, last = (image_format.name for image_format in IMAGE_FORMATS)
    return f"{', '.join(names)} {last_word} {last}"


PARAMETERS_VERSION = "3"
"""Raised whenever the same image and model would give another cut-out."""

_IMAGE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_UNSAFE_IN_KEYS = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
_MAX_KEY_BYTES = 1024  # of S3


Priority = Literal["live", "backfill"]
"""Somebody waits for it, or it is caught up on while there is room. In order: live goes first."""


@dataclass(frozen=True, slots=True)
class RemovalRequest:
    """One job: whose background to remove, with which model (None: the default one)."""

    image_id: str
    model: str | None = None
    priority: Priority = "live"


@dataclass(frozen=True, slots=True)
class SourceObject:
    """The object that holds the source image, as listed: nothing of it is read yet."""

    key: str
    etag: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StandingCutout:
    """The cut-out, or the rendition, that lies under a key.

    Attributes:
        etag: Of S3.
        certificate: What it was made from.
        size_bytes: Of the file.
    """

    etag: str
    certificate: Mapping[str, str]
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ImageRow:
    """What the table says of an image.

    Attributes:
        image_id: As the database writes it.
        status: `pending`, `done` or `failed`.
        cutout_etag: Of the cut-out that the row describes; None if it tells of none.
        source_key: As of `RowState`.
    """

    image_id: str
    status: str
    cutout_etag: str | None = None
    source_key: str | None = None


@dataclass(frozen=True, slots=True)
class RowState:
    """A row as it was looked at before the work on it.

    Attributes:
        image_id: As the database writes it.
        lock_version: Raised by each write; whoever writes says which one they have seen. None if
            the table has none.
        created_at: When it was inserted; None if that is not told.
        source_key: S3 key of its source, as the row tells it, empty if it tells none yet; None if
            the id alone names the source.
    """

    image_id: str
    lock_version: int | None
    created_at: datetime | None = None
    source_key: str | None = None


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What produced a matte: enough to tell whether another run would give the same."""

    name: str
    revision: str
    precision: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that a cut-out follows from besides its source.

    Who asks for the same recipe of the same image shares one job, and a cut-out whose certificate
    names it is not made again: so whatever changes the pixels must be part of it.
    """

    model: ModelIdentity
    parameters: str = PARAMETERS_VERSION

    def certified(self) -> Mapping[str, str]:
        """Return what the certificate says of it."""
        return {
            "model": self.model.name,
            "revision": self.model.revision,
            "precision": self.model.precision,
            "parameters": self.parameters,
        }


class Box(NamedTuple):
    """A part of a picture, in its pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Rendition:
    """A file that was made of a cut-out, and lies beside it.

    Attributes:
        name: Of the file, as the setting RENDITIONS names it.
        key: S3 key.
        width: In pixels.
        height: In pixels.
        size_bytes: Of the file.
    """

    name: str
    key: str
    width: int
    height: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class RemovalResult:
    """What one finished job made.

    Attributes:
        image_id: Of the row.
        key: S3 key of the cut-out.
        model: What predicted the matte.
        width: In pixels, the source's.
        height: In pixels, the source's.
        coverage: Share of opaque area, 0 to 1.
        etag: S3's ETag of the cut-out; empty before it is stored.
        renditions: What lies beside it.
        subject: Where the subject is, in the source's pixels; None if next to nothing is opaque,
            or if no rendition was asked for.
    """

    image_id: str
    key: str
    model: str
    width: int
    height: int
    coverage: float
    etag: str = ""
    renditions: tuple[Rendition, ...] = ()
    subject: Box | None = None


def check_image_id(value: str) -> str:
    """Return `value` if it may be part of an S3 key.

    Raises:
        InvalidImageId: it isn't 1 to 128 letters, digits, "-" or "_".
    """
    if not _IMAGE_ID.fullmatch(value):
        raise InvalidImageId('The id must be 1 to 128 letters, digits, "-" or "_".')
    return value


def check_source_key(source_prefix: str, key: str) -> str:
    """Return `key`, which a row names, if it lies below the prefix whoever reads it.

    Raises:
        SourceNotFound: it is empty: the row names no source yet.
        InvalidSourceKey: it lies elsewhere, or some S3 server might think so.
    """
    if not key:
        raise SourceNotFound("The row names no source object yet.")
    inside = key.startswith(source_prefix)
    parts = key.removeprefix(source_prefix).split("/")
    if not inside or _UNSAFE_IN_KEYS.search(key) or {"", ".", ".."} & set(parts):
        raise InvalidSourceKey(
            f"The row names a source object that is not served: its key must begin with "
            f'{source_prefix} and hold no ".." and no empty part.'
        )
    if len(key.encode()) > _MAX_KEY_BYTES:
        raise InvalidSourceKey(f"The row names a source by more than {_MAX_KEY_BYTES:,} bytes.")
    return key


def target_key(target_prefix: str, image_id: str) -> str:
    """Return the S3 key of the cut-out."""
    return f"{target_prefix}{check_image_id(image_id)}/trans.png"


def certificate(source: SourceObject, recipe: Recipe, result: RemovalResult) -> Mapping[str, str]:
    """Return the target's birth certificate: its S3 metadata, ASCII."""
    return {
        "source-etag": source.etag,
        **recipe.certified(),
        "width": str(result.width),
        "height": str(result.height),
        "coverage": f"{result.coverage:.6f}",
        "service-version": __version__,
    }


def certified_result(
    image_id: str, key: str, standing: StandingCutout, source: SourceObject, recipe: Recipe
) -> RemovalResult | None:
    """Return the result that lies under `key`, if the certificate found there vouches for it.

    It does if the same source and recipe would give the same cut-out again.
    """
    found = standing.certificate
    origin = {"source-etag": source.etag, **recipe.certified()}
    if not origin.items() <= found.items():
        return None
    try:
        width, height, coverage = (
            int(found["width"]),
            int(found["height"]),
            float(found["coverage"]),
        )
    except (KeyError, ValueError):  # not written by us
        return None
    return RemovalResult(image_id, key, recipe.model.name, width, height, coverage, standing.etag)
