"""What the documentation says to type is typed by a test, and what it links to is there."""

import ast
import re
import shlex
import subprocess
from functools import cache
from urllib.parse import urlsplit

import pytest
import yaml

from tests.docs.pages import COMMANDS, FENCE, PAGES, ROOT
from webhook.settings import Settings

# Why no test types them.
NOT_TYPED = {
    "make test": "it is what runs the tests",
    "make check": "make test begins with it",
    "make browser": "make test begins with it, too",
    "make bench": "half an hour; each benchmark is run, small",
    "make bench-edges": "needs the environment of make bench-network",
    "make bench-network": "downloads 5.5 GB of another torch",
}
OF_OTHERS = ("AWS_", "HF_TOKEN", "RAY_")
LINK = re.compile(r"\]\(([^)\s]+)\)|<(https?://[^>]+)>")


@cache
def texts_of_tests() -> frozenset[str]:
    """Return every text that a test has; the terminal types none that isn't in the pages.

    The command line's own tests have a shell that leaves `python -m webhook` out.
    """
    parsed = (ast.parse(path.read_text("utf-8")) for path in ROOT.glob("tests/*/test_*.py"))
    constants = (
        node for tree in parsed for node in ast.walk(tree) if isinstance(node, ast.Constant)
    )
    return frozenset(node.value for node in constants if isinstance(node.value, str))


@pytest.mark.parametrize("command", sorted(COMMANDS - NOT_TYPED.keys()))
def test_a_command_is_typed_by_a_test(command: str) -> None:
    _, _, arguments = command.partition("python -m webhook ")
    typed = {command, arguments} if " " in arguments else {command}
    assert typed & texts_of_tests()


@pytest.mark.parametrize("command", NOT_TYPED)
def test_a_command_that_is_not_typed_is_in_the_pages(command: str) -> None:
    assert command in COMMANDS


@pytest.mark.parametrize("target", ["check", "browser"])
def test_the_tests_begin_with(target: str) -> None:
    make = ["make", "--dry-run", "--no-print-directory"]
    of_the_tests, of_the_target = (
        subprocess.check_output([*make, name], cwd=ROOT, text=True) for name in ("test", target)
    )
    assert of_the_target in of_the_tests


def test_the_variables_that_are_exported_are_known() -> None:
    known = {name.upper() for name in Settings.model_fields}
    for command in COMMANDS:
        if command.startswith("export "):
            for name in (word.partition("=")[0] for word in shlex.split(command)[1:]):
                assert name in known or name.startswith(OF_OTHERS), name


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
