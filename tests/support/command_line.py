"""The command line as a person has it: a shell, a folder, an environment, two streams."""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from devstack.processes import clean_environment

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit status, and what it said."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Its JSON lines, without the summary."""
        return [line for line in map(json.loads, self.out.splitlines()) if "summary" not in line]

    @property
    def summary(self) -> dict[str, Any]:
        """The last JSON line."""
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])["summary"]
        return found


@dataclass(frozen=True)
class Shell:
    """Runs `python -m webhook` in a folder, with these settings and nothing else of ours."""

    folder: Path
    settings: Mapping[str, str]

    def run(self, command: str, **variables: str) -> Ended:
        with self.running(command, **variables) as process:
            return self.end_of(process)

    def end_of(self, process: "subprocess.Popen[str]") -> Ended:
        out, err = process.communicate(timeout=180)
        assert "Traceback" not in err, err
        return Ended(process.returncode, out, err)

    @contextmanager
    def running(self, command: str, **variables: str) -> Iterator["subprocess.Popen[str]"]:
        with subprocess.Popen(
            ["sh", "-c", f"exec {sys.executable} -m webhook {command}"],
            cwd=self.folder,
            env=clean_environment(PYTHONPATH=str(REPOSITORY), **{**self.settings, **variables}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()  # harmless after its end

    def stopped(self, command: str, number: signal.Signals, when: Callable[[], bool]) -> Ended:
        """Send a signal to a command as soon as something is so, and wait for its end."""
        with self.running(command) as process:
            deadline = time.monotonic() + 120
            while not when():
                assert process.poll() is None, self.end_of(process)
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(number)
            return self.end_of(process)

    def on_terminal(self, command: str, **variables: str) -> str:
        """Run a command on a terminal of its own; return what it showed there."""
        ours, its = os.openpty()
        with subprocess.Popen(
            ["sh", "-c", f"exec {sys.executable} -m webhook {command}"],
            cwd=self.folder,
            env=clean_environment(
                PYTHONPATH=str(REPOSITORY), TERM="xterm", **{**self.settings, **variables}
            ),
            stdin=its,
            stdout=its,
            stderr=its,
        ) as process:
            os.close(its)
            shown = b""
            try:
                while block := os.read(ours, 4096):
                    shown += block
            except OSError:  # the other end is closed: it has ended
                pass
            os.close(ours)
            assert process.wait(10) == 0, shown
        return shown.decode()


def run_curl(command: str) -> Any:
    """Do what the printed command says; curl itself may be missing here."""
    parser = argparse.ArgumentParser()
    parser.add_argument("program", choices=["curl"])
    parser.add_argument("-s", action="store_true")
    parser.add_argument("url")
    parser.add_argument("-H", dest="headers", action="append")
    parser.add_argument("-d", dest="body")
    options = parser.parse_args(shlex.split(command.replace("\\\n", " ")))
    headers = dict(header.split(": ", 1) for header in options.headers)
    return httpx2.post(options.url, content=options.body, headers=headers, timeout=60).json()


def assert_gone(pids: set[int]) -> None:
    """Wait until none of these processes is left; but they are given little time."""
    deadline = time.monotonic() + 5
    while alive := {pid for pid in pids if Path(f"/proc/{pid}").exists()}:
        assert time.monotonic() < deadline, f"left running: {alive}"
        time.sleep(0.05)
