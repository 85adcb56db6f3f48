"""What the documentation says to type can be typed, and what it links to is there.

That the commands do what they are said to do is shown elsewhere: `RUN_BY` tells where.
"""

import importlib
import re
import shlex
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from webhook.entrypoints.cli import main
from webhook.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = {
    str(page.relative_to(ROOT)): page.read_text("utf-8")
    for pattern in ("*.md", "[!.]*/**/*.md")
    for page in sorted(ROOT.glob(pattern))
    if "node_modules" not in page.parts
}
RUN_BY = {
    "serve": "tests/faults/neighbourhood.py",
    "doctor": "tests/e2e/test_doctor.py",
    "demo": "tests/e2e/test_demo_command.py",
    "local": "tests/e2e/test_local_command.py",
    "process": "tests/e2e/test_backfill_command.py",
    "backfill": "tests/e2e/test_backfill_command.py",
    "pull": "tests/contract/test_hub.py",
}
# What needs something that isn't here; the files that are named exist.
ELSEWHERE = {
    "aws": "an S3 server",
    "docker": "an engine",
    "hasura": "Hasura's command line, and Hasura",
    "kubectl": "a cluster",
    "pip": "a package index",
    "serve": "Ray",
}
OF_OTHERS = ("AWS_", "HF_TOKEN", "RAY_")
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(
    r"(\w+=\S+ )*"
    r"(make|(\S*/)?python -m (webhook|bench|tools)\S*|docker|hasura|kubectl|openssl) (?!…)\S"
)
LINK = re.compile(r"\]\(([^)\s]+)\)|<(https?://[^>]+)>")


def fenced_commands(text: str) -> Iterator[str]:
    """Yield the commands of a page's shell blocks, one by one, without what follows on the line."""
    for _indent, language, block in FENCE.findall(text):
        if language in ("sh", "bash", "console"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                yield from filter(None, (part.strip() for part in shlex.join(words).split("'&&'")))


def inline_commands(text: str) -> Iterator[str]:
    """Yield the commands in a page's sentences."""
    for span in re.findall(r"`([^`\n]+)`", FENCE.sub("", text)):
        if INLINE.match(span):
            yield from span.split(" | ")


COMMANDS = sorted(
    {command for text in PAGES.values() for command in fenced_commands(text)}
    | {command for text in PAGES.values() for command in inline_commands(text)}
)


class ParsedError(Exception):
    """A command line was understood: nothing of it is to be done."""


@pytest.fixture
def only_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every command end where it has understood its arguments."""
    parse = ArgumentParser.parse_args

    def parse_and_stop(self: ArgumentParser, arguments: list[str] | None = None) -> None:
        parse(self, arguments)
        raise ParsedError

    monkeypatch.setattr(ArgumentParser, "parse_args", parse_and_stop)


def assert_understood(run: Callable[[], object]) -> None:
    with pytest.raises((ParsedError, SystemExit)) as ended:
        run()
    if isinstance(ended.value, SystemExit):
        assert ended.value.code == 0  # it asked for help


@pytest.mark.usefixtures("only_parse")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_can_be_typed(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(command)
    if words[0] == "export":
        known = {name.upper() for name in Settings.model_fields}
        for name in (word.partition("=")[0] for word in words[1:]):
            assert name in known or name.startswith(OF_OTHERS), name
        return
    while re.match(r"[A-Z_0-9]+=", words[0]):
        del words[0]
    for word in words:
        if (ROOT / word.split("/")[0]).is_dir() or word.endswith(".txt"):
            assert (ROOT / word).exists(), word
    match words:
        case ["make", *targets]:
            subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, check=True, timeout=30)
        case ["openssl", *_]:
            assert len(subprocess.check_output(words, timeout=30).strip()) == 64
        case [python, "-m", "webhook", *arguments] if python.endswith("python"):
            assert arguments[0] in (ROOT / RUN_BY[arguments[0]]).read_text("utf-8")
            assert_understood(lambda: main(arguments))
        case [python, "-m", "bench", name, *arguments] if python.endswith("python"):
            monkeypatch.setattr(sys, "argv", [name, *arguments])
            assert_understood(importlib.import_module(f"bench.{name}").main)
        case [python, "-m", module, *_] if python.endswith("python"):
            assert (ROOT / f"{module.replace('.', '/')}.py").exists()
        case [program, *_]:
            assert program in ELSEWHERE


def test_every_exception_is_needed() -> None:
    programs = {shlex.split(command)[0] for command in COMMANDS}
    assert programs >= set(ELSEWHERE)


def test_the_database_that_is_migrated_is_that_of_the_metadata() -> None:
    databases = yaml.safe_load((ROOT / "hasura_metadata/databases/databases.yaml").read_text())
    named = {name for text in PAGES.values() for name in re.findall(r"--database-name (\w+)", text)}
    assert named == {database["name"] for database in databases}


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+?) *$", FENCE.sub("", text), re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        again = found.count(slug)
        found.append(f"{slug}-{again}" if again else slug)
    return set(found)


@pytest.mark.parametrize("name", PAGES)
def test_no_link_leads_nowhere(name: str) -> None:
    page = ROOT / name
    for pair in LINK.findall(FENCE.sub("", PAGES[name])):
        target = "".join(pair)
        if "://" in target:
            parts = urlsplit(target)
            assert parts.scheme in ("http", "https"), target
            assert parts.hostname, target
            continue
        path, _, anchor = target.partition("#")
        led_to = (page.parent / path).resolve() if path else page
        assert led_to.exists(), target
        if anchor:
            assert anchor in anchors(led_to.read_text("utf-8")), target


def test_every_page_is_reached_from_the_readme() -> None:
    named = {
        str((ROOT / target.partition("#")[0]).relative_to(ROOT))
        for target, _ in LINK.findall(PAGES["README.md"])
        if target and "://" not in target
    }
    assert {name for name in PAGES if name.startswith("docs/")} <= named
