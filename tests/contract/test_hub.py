"""`pull` against a stand-in for the model hub on loopback: download, digest, gate."""

import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.downloads import LITE, FakeHub
from tests.support.serving import serving
from webhook.models import CHECKPOINTS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def hub() -> Iterator[str]:
    FakeHub.asked = []
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)) as url:
        yield url


def pull(
    model: str, hub: str, home: Path, terminal: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "webhook", "pull", model],
        cwd=ROOT,
        env={**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"},
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        text=True,
        check=False,
        timeout=100,
    )


def test_a_download_that_is_not_what_was_published_is_refused(hub: str, tmp_path: Path) -> None:
    done = pull(LITE.repository, hub, tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert re.search(rf"is not the published file of {LITE.repository}.*SHA-256", line)


def test_a_terminal_shows_the_progress_of_a_download(hub: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    done = pull(LITE.repository, hub, tmp_path, terminal=theirs)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert done.returncode == 1
    assert re.search(r"model\.safetensors: +100%", shown)


def test_a_gated_model_is_told_with_what_to_do(hub: str, tmp_path: Path) -> None:
    done = pull("briaai/RMBG-2.0", hub, tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "accept its licence" in line
    assert "HF_TOKEN" in line
    assert any(CHECKPOINTS["briaai/RMBG-2.0"].revision in path for path in FakeHub.asked)
