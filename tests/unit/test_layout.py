import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "webhook"
AN_IMPORT = re.compile(
    r"^\s*(?:from\s+(\S+)\s+import\s+(\([^)]*\)|[^\n]*)|import\s+([^\n]*))", re.MULTILINE
)
A_TEST = re.compile(r"(.*\.)?(test_\w+|conftest)(\..*)?")


def test_only_the_settings_read_the_environment_of_the_service() -> None:
    for path in PACKAGE.rglob("*.py"):
        code = path.read_text("utf-8").split('"""', 2)[-1]
        assert not re.search(r"environ(\b(?!\.setdefault)|b)|getenv", code), path


def test_only_the_documents_know_what_hasura_makes_of_a_table() -> None:
    """Its root fields and types, and its columns but for those that are named like our own."""
    writes_documents = PACKAGE / "commands" / "connect"
    for path in PACKAGE.rglob("*.py"):
        if path.is_relative_to(writes_documents):
            continue
        assert not re.search(
            r"_by_pk\b|_set_input|_bool_exp|\b(insert|update|delete)_images|transparent_key",
            path.read_text("utf-8"),
        ), path


def imports_of_tests(code: str) -> Iterator[str]:
    """Give the names of a test module, a conftest or anything in them that some code imports."""
    for module, members, modules in AN_IMPORT.findall(code):
        names = re.findall(r"[\w.]+", members or modules)
        full = (f"{module}.{name}" if module else name for name in names)
        yield from filter(A_TEST.fullmatch, full)


@pytest.mark.parametrize("folder", ["tests", "bench", "tools"])
def test_nothing_imports_from_a_test_or_a_conftest(folder: str) -> None:
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    wrong = {
        str(path.relative_to(ROOT)): found
        for path in files
        if (found := list(imports_of_tests(path.read_text("utf-8"))))
    }
    assert wrong == {}, "what several tests share lives in tests/support"


@pytest.mark.parametrize(
    ("code", "is_one"),
    [
        ("from tests.e2e.conftest import User", True),
        ("from tests.e2e import conftest", True),
        ("import tests.contract.test_hub", True),
        ("def later():\n    from tests.contract.test_hub import FakeHub as Hub", True),
        ("from . import test_hub", True),
        ("from .conftest import User", True),
        ("from tests.support.fakes import FakeStore", False),
        ("from starlette.testclient import TestClient", False),
    ],
)
def test_an_import_of_a_test_is_seen_in_every_form(code: str, is_one: bool) -> None:
    assert bool(list(imports_of_tests(code))) == is_one
