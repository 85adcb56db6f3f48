"""Whatever docs/frontend.md quotes stands in the file that it names, to the letter."""

import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "frontend.md").read_text("utf-8")
# A block, and all the text since the one before.
BLOCKS = re.findall(r"(.*?)\n```(\w+)\n(.*?)\n```\n", GUIDE, re.DOTALL)
QUOTES = [(text, quote) for text, language, quote in BLOCKS if language != "mermaid"]


def lines_of(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def holds(text: str, quote: str) -> bool:
    """Whether the lines stand in the text one after another, indented by any common amount."""
    lines, wanted = lines_of(text), lines_of(quote)
    parts = (lines[start : start + len(wanted)] for start in range(len(lines)))
    return any(lines_of(textwrap.dedent("\n".join(part))) == wanted for part in parts)


@pytest.mark.parametrize(("before", "quote"), QUOTES, ids=[quote[:30] for _, quote in QUOTES])
def test_a_quote_stands_in_the_file_named_last_before_it(before: str, quote: str) -> None:
    name = re.findall(r"\]\(\.\./([^)#]+)\)", before)[-1]
    assert holds((ROOT / name).read_text("utf-8"), quote), name


def test_every_document_that_a_frontend_sends_is_explained() -> None:
    for name in ("insert_image", "watch_images", "remove_background", "find_cutout"):
        assert f"(../graphql/{name}.graphql)" in GUIDE
