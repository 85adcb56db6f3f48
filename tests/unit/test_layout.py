import re
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "webhook"


def test_only_the_settings_read_the_environment_of_the_service() -> None:
    for path in PACKAGE.rglob("*.py"):
        code = path.read_text("utf-8").split('"""', 2)[-1]
        assert not re.search(r"environ(\b(?!\.setdefault)|b)|getenv", code), path
