"""`python -m devstack`: beside another copy, stopped early and late, and where it can't be."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from devstack.stack import Stack
from tests.support.command_line import assert_gone, run_curl

REPOSITORY = Path(__file__).parents[2]


@contextmanager
def demo_command(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "devstack", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        try:
            yield demo
        finally:
            demo.kill()  # harmless after its end; its children die with it


def children_of(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stays_up_until_it_is_told_to_stop_and_leaves_nothing_running(
    tmp_path: Path, stack: Stack, number: signal.Signals
) -> None:
    assert stack.service.process.poll() is None  # another copy is up meanwhile
    with demo_command(tmp_path) as demo:
        assert demo.stdout is not None
        text = ""
        while "as a frontend would" not in text:
            line = demo.stdout.readline()
            assert line, text
            text += line
        curl = ""
        while not curl.rstrip().endswith("}'"):
            curl += demo.stdout.readline()
        assert run_curl(curl)["data"]["removeBackground"]["key"].startswith("img/")
        page = re.search(r"▶ (http://127\.0\.0\.1:\d+)", text)
        assert page is not None
        assert "Remove the background" in httpx2.get(page[1]).text
        servers = children_of(demo.pid)
        assert len(servers) == 5
        demo.send_signal(number)
        demo.communicate(timeout=30)
        assert demo.returncode == 0
        assert_gone(servers)


def test_a_stop_during_the_start_leaves_nothing_running(tmp_path: Path) -> None:
    with demo_command(tmp_path) as demo:
        deadline = time.monotonic() + 30
        while len(servers := children_of(demo.pid)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        demo.send_signal(signal.SIGINT)
        text, _ = demo.communicate(timeout=30)
        assert demo.returncode == 130, text
        assert_gone(servers)


def test_a_wrong_postgres_folder_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_BIN", str(tmp_path / "nowhere"))
    with demo_command(tmp_path, "--once") as demo:
        text, _ = demo.communicate(timeout=60)
        assert demo.returncode == 1
        assert "nowhere" in text
        assert "Traceback" not in text
