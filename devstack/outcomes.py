"""What the demo shows of its results: the table and the before/after contact sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

_THUMBNAIL_HEIGHT_PX = 240
_GAP_PX = 12
_TILE_PX = 16
_PAPER = (250, 250, 250)
_CHECKS = ((255, 255, 255), (208, 208, 208))


@dataclass(frozen=True)
class Outcome:
    """What became of one photograph; `error` is None when all went well."""

    photo: Path
    image_id: str
    way: str
    width: int | None = None
    height: int | None = None
    milliseconds: int | None = None
    key: str | None = None
    error: str | None = None

    def headline(self) -> str:
        """Say it in one line, for the moment it happens."""
        if self.error is not None:
            return f"FAILED  {self.photo.stem}: {self.error}"
        return f"done  {self.photo.stem} ({self.way}, {self.milliseconds:,} ms)"


def format_table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a table of text."""
    rows = [("id", "photo", "by", "size", "ms", "key")]
    for outcome in outcomes:
        failed = outcome.error is not None
        rows.append(
            (
                outcome.image_id,
                outcome.photo.stem,
                outcome.way,
                "" if failed else f"{outcome.width}×{outcome.height}",
                "" if failed else f"{outcome.milliseconds:,}",
                f"FAILED: {outcome.error}" if failed else f"{outcome.key}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def write_contact_sheet(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Write `contact-sheet.png`: originals above, their cut-outs over a checkerboard below."""
    columns = [
        (_thumbnail(outcome.photo), _thumbnail(folder / f"{outcome.photo.stem}.png"))
        for outcome in outcomes
        if outcome.error is None
    ]
    if not columns:
        return
    width = sum(before.width for before, _ in columns) + _GAP_PX * (len(columns) + 1)
    sheet = Image.new("RGB", (width, 2 * _THUMBNAIL_HEIGHT_PX + 3 * _GAP_PX), _PAPER)
    x, top, bottom = _GAP_PX, _GAP_PX, _THUMBNAIL_HEIGHT_PX + 2 * _GAP_PX
    for before, after in columns:
        sheet.paste(before, (x, top))
        sheet.paste(_checkerboard(after.size), (x, bottom))
        sheet.paste(after, (x, bottom), after)
        x += before.width + _GAP_PX
    sheet.save(folder / "contact-sheet.png")


def _thumbnail(path: Path) -> Image.Image:
    with Image.open(path) as image:
        width = round(image.width * _THUMBNAIL_HEIGHT_PX / image.height)
        return image.convert("RGBA").resize((width, _THUMBNAIL_HEIGHT_PX))


def _checkerboard(size: tuple[int, int]) -> Image.Image:
    board = Image.new("RGB", size, _CHECKS[0])
    for y in range(0, size[1], _TILE_PX):
        for x in range((y // _TILE_PX % 2) * _TILE_PX, size[0], 2 * _TILE_PX):
            board.paste(_CHECKS[1], (x, y, x + _TILE_PX, y + _TILE_PX))
    return board
