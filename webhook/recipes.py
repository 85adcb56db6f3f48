"""How renditions are made, as the setting RENDITIONS says it: like the URL of an image CDN.

`web.webp?max=1600 mask.png?channel=alpha`. How the pixels follow is in imaging/renditions.py.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Format = Literal["PNG", "WEBP", "JPEG", "AVIF"]

FORMATS: Mapping[str, Format] = MappingProxyType(
    {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG", ".avif": "AVIF"}
)
"""The formats of renditions, by their suffixes."""

_MEDIA_TYPES: Mapping[Format, str] = {
    "PNG": "image/png",
    "WEBP": "image/webp",
    "JPEG": "image/jpeg",
    "AVIF": "image/avif",
}

RESERVED_NAME = "trans.png"
LARGEST_SIDE_PX = 16383  # of WEBP, and so of what the setting may ask for
MOST_RENDITIONS = 16
_MOST_CANVAS_PX = 50_000_000

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_COLOUR = re.compile(r"[0-9A-Fa-f]{6}")
_MARGIN = re.compile(r"([0-9]{1,5})(%|px)")
_WHITE = (255, 255, 255)
_USUAL_QUALITY: Mapping[Format, int] = {"WEBP": 80, "JPEG": 85, "AVIF": 60}


@dataclass(frozen=True, slots=True)
class RenditionRecipe:
    """How one rendition follows from its cut-out.

    Attributes:
        name: Of the file, beside the cut-out.
        format: By the suffix of the name.
        max_px: Most pixels of the longer side; None: as many as there are.
        canvas: Width and height of the file; the picture is fitted inside, in the middle.
        crops: Whether only the subject is shown.
        margin: Around the subject; its unit is in `margin_unit`.
        margin_unit: Per cent of the subject's longer side, or pixels of the source.
        background: RGB behind the subject; None: it is clear.
        alpha_alone: Whether the file is the alpha channel, as a grey picture.
        quality: 1 to 100; None: lossless.
    """

    name: str
    format: Format
    max_px: int | None = None
    canvas: tuple[int, int] | None = None
    crops: bool = False
    margin: int = 0
    margin_unit: Literal["%", "px"] = "px"
    background: tuple[int, int, int] | None = None
    alpha_alone: bool = False
    quality: int | None = None

    @property
    def text(self) -> str:
        """The recipe in one spelling, by which a rendition's certificate names it."""
        background = self.background and bytes(self.background).hex()
        options = {
            "max": self.max_px,
            "size": self.canvas and "x".join(map(str, self.canvas)),
            "crop": "subject" if self.crops else None,
            "margin": f"{self.margin}{self.margin_unit}" if self.margin else None,
            "background": background,
            "channel": "alpha" if self.alpha_alone else None,
            "quality": self.quality or (None if self.format == "PNG" else "lossless"),
        }
        told = "&".join(f"{key}={value}" for key, value in options.items() if value is not None)
        return f"{self.name}?{told}" if told else self.name


def parse_renditions(text: str) -> tuple[RenditionRecipe, ...]:
    """Read the setting.

    Raises:
        ValueError: it is wrong; the message tells every mistake with its place.
    """
    mistakes = _Mistakes()
    recipes: list[RenditionRecipe] = []
    for word in re.finditer(r"\S+", text):
        start = word.start()
        recipe = _parse_one(word.group(), start, mistakes)
        if recipe is None:
            continue
        if recipe.name.lower() in {other.name.lower() for other in recipes}:
            mistakes.add(start, f'"{recipe.name}" is named twice')
        recipes.append(recipe)
    if len(recipes) > MOST_RENDITIONS:
        mistakes.add(0, f"{len(recipes)} renditions are too many; at most {MOST_RENDITIONS}")
    mistakes.raise_if_any()
    return tuple(recipes)


def media_type_of(key: str) -> str:
    """Return the media type of a cut-out or rendition, by the suffix of its key."""
    return _MEDIA_TYPES[FORMATS[key[key.rindex(".") :]]]


@dataclass
class _Mistakes:
    """What is wrong, each with the index in the text where it begins."""

    found: list[tuple[int, str]] = field(default_factory=list)

    def add(self, index: int, what: str) -> None:
        self.found.append((index, what))

    def raise_if_any(self) -> None:
        if self.found:
            told = (f"at character {index + 1}: {what}" for index, what in sorted(self.found))
            raise ValueError("; ".join(told))


def _parse_one(word: str, start: int, mistakes: _Mistakes) -> RenditionRecipe | None:
    """Read one word of the setting; None if its name or a value is wrong."""
    known_before = len(mistakes.found)
    name, mark, query = word.partition("?")
    file_format = _format_of(name, start, mistakes)
    options: dict[str, Any] = {}
    places: dict[str, int] = {}
    if mark:
        for key, value, index in _options(query, start + len(name) + 1):
            if key not in _READERS:
                known = ", ".join(_READERS)
                mistakes.add(index, f'there is no "{key}"; known: {known}')
            elif key in places:
                mistakes.add(index, f'"{key}" is given twice')
            else:
                places[key] = index
                try:
                    options |= _READERS[key](value)
                except ValueError as exc:
                    mistakes.add(index, f"{key}={value}: {exc}")
    if file_format is None or len(mistakes.found) > known_before:
        return None
    for key, what in _contradictions(file_format, options, places):
        mistakes.add(places[key], what)
    return _recipe(name, file_format, options)


def _format_of(name: str, start: int, mistakes: _Mistakes) -> Format | None:
    suffix = name[name.rfind(".") :] if "." in name[1:] else ""
    if not _NAME.fullmatch(name):
        mistakes.add(
            start, f'"{name}" is no name of a file: 1 to 64 letters, digits, ".", "-" or "_"'
        )
    elif name.lower() == RESERVED_NAME:
        mistakes.add(start, f'"{name}" is the name of the cut-out itself')
    elif suffix not in FORMATS:
        mistakes.add(start, f'"{name}" must end with one of {", ".join(FORMATS)}')
    else:
        return FORMATS[suffix]
    return None


def _options(query: str, start: int) -> Iterator[tuple[str, str, int]]:
    """Yield keys, values, and where they begin."""
    for option in query.split("&"):
        key, _, value = option.partition("=")
        yield key, value, start
        start += len(option) + 1


def _contradictions(
    file_format: Format, options: Mapping[str, Any], places: Mapping[str, int]
) -> Iterator[tuple[str, str]]:
    """Yield what does not go together, each with the key that is too much."""
    if "max" in places and "size" in places:
        yield "max", "max and size exclude each other"
    if "margin" in places and "crop" not in places:
        yield "margin", "margin needs crop=subject"
    if "channel" in places and "background" in places:
        yield "background", "channel=alpha has no background"
    if "background" in places and options["background"] is None and file_format == "JPEG":
        yield "background", "JPEG can't be clear"
    if "quality" in places:
        if file_format == "PNG":
            yield "quality", "PNG has no quality: it is lossless"
        elif options["quality"] is None and file_format != "WEBP":
            yield "quality", f"{file_format} can't be lossless here; WEBP and PNG can"


def _recipe(name: str, file_format: Format, options: dict[str, Any]) -> RenditionRecipe:
    needs_background = file_format == "JPEG" and not options.get("alpha_alone")
    usual = {
        "background": _WHITE if needs_background else None,
        "quality": _USUAL_QUALITY.get(file_format),
    }
    return RenditionRecipe(name, file_format, **{**usual, **options})


def _number(value: str, least: int, most: int) -> int:
    if not (value.isascii() and value.isdecimal()) or not least <= int(value[:9]) <= most:
        raise ValueError(f"must be a whole number from {least} to {most:,}")
    return int(value)


def _read_max(value: str) -> dict[str, Any]:
    return {"max_px": _number(value, 1, LARGEST_SIDE_PX)}


def _read_size(value: str) -> dict[str, Any]:
    sides = value.split("x")
    if len(sides) != 2:
        raise ValueError("must be width and height, such as 800x600")
    width, height = (_number(side, 1, LARGEST_SIDE_PX) for side in sides)
    if width * height > _MOST_CANVAS_PX:
        raise ValueError(f"has more than {_MOST_CANVAS_PX:,} pixels")
    return {"canvas": (width, height)}


def _read_crop(value: str) -> dict[str, Any]:
    if value != "subject":
        raise ValueError("must be subject")
    return {"crops": True}


def _read_margin(value: str) -> dict[str, Any]:
    found = _MARGIN.fullmatch(value)
    if found is None:
        raise ValueError("must be per cent or pixels, such as 5% or 20px")
    digits, unit = found.groups()
    margin = _number(digits, 0, 100 if unit == "%" else 9999)
    return {"margin": margin, "margin_unit": unit if margin else "px"}


def _read_background(value: str) -> dict[str, Any]:
    if value == "clear":
        return {"background": None}
    if not _COLOUR.fullmatch(value):
        raise ValueError("must be clear, or a colour of six hexadecimal digits, such as ffffff")
    return {"background": tuple(bytes.fromhex(value))}


def _read_channel(value: str) -> dict[str, Any]:
    if value != "alpha":
        raise ValueError("must be alpha")
    return {"alpha_alone": True}


def _read_quality(value: str) -> dict[str, Any]:
    return {"quality": None if value == "lossless" else _number(value, 1, 100)}


_READERS: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "max": _read_max,
    "size": _read_size,
    "crop": _read_crop,
    "margin": _read_margin,
    "background": _read_background,
    "channel": _read_channel,
    "quality": _read_quality,
}
