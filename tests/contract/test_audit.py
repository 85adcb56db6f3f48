"""The dependency audit leaves no pin out, and never takes silence for safety."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tools.audit import _FILES, _PIN

ROOT = Path(__file__).parents[2]


def test_every_pinned_package_is_asked_about() -> None:
    for name in _FILES:
        text = (ROOT / name).read_text("utf-8")
        assert len(_PIN.findall(text)) == len(re.findall("^[^ #].*==", text, re.MULTILINE)) > 0


def test_without_a_network_it_says_aloud_that_nothing_is_known(tmp_path: Path) -> None:
    offline = os.environ | {"UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path)}
    finished = subprocess.run(
        [sys.executable, "tools/audit.py"], cwd=ROOT, env=offline, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("!!! NOT AUDITED: ")
