"""The pages of the documentation, and the commands that they tell a reader to type."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {
    str(page.relative_to(ROOT)): page.read_text("utf-8")
    for pattern in ("*.md", "[!.]*/**/*.md")
    for page in sorted(ROOT.glob(pattern))
    if "node_modules" not in page.parts
}
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_PROGRAMS = "aws|cp|docker|hasura|kubectl|make|openssl|pip|serve"
# A program in a sentence is not yet a command: it says what to do with it, too.
_INLINE = re.compile(
    rf"(\w+=\S+ )*(({_PROGRAMS}) (?!…)\S|(\S*/)?python -m ((webhook|bench) \S|\w+\.\w))"
)


def _fenced(text: str) -> Iterator[str]:
    for _indent, language, block in FENCE.findall(text):
        if language == "sh":
            for line in block.replace("\\\n", " ").splitlines():
                yield from re.split(r" && ", re.sub(r"\s+# .*", "", line))


def _inline(text: str) -> Iterator[str]:
    for span in re.findall(r"`([^`\n]+)`", FENCE.sub("", text)):
        if _INLINE.match(span):
            yield from span.split(" | ")


COMMANDS = {
    " ".join(command.split())
    for text in PAGES.values()
    for find in (_fenced, _inline)
    for command in find(text)
    if command.strip()
}
"""Every command of every page, as it stands there but for spaces and comments."""
