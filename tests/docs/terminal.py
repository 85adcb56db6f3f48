"""Where the documentation's commands are typed: a shell in a copy of the repository.

Programs that can't be had here are fakes of ours, named in `_FAKES`; every other one is real.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.docs.pages import COMMANDS, ROOT
from webhook.settings import Settings

_FAKES = {"docker": "fake_docker", "hasura": "fake_hasura_cli"}
_PROGRAMS = Path(sys.executable).parent
_PATIENCE_S = 90.0
_NOT_COPIED = (
    *(".git", ".venv*", "node_modules", ".*_cache", ".hypothesis", "__pycache__"),
    *(".env", "demo-output", "cutouts"),
)
_LINKED = (".git", ".venv", "tests/browser/node_modules")  # used, and never written to
_NOT_INHERITED = ("MAKE", "MFLAGS", "PYTEST_", "VIRTUAL_ENV", "DOCKER_", "COMPOSE_", "HF_")


@dataclass
class Terminal:
    """A shell: its folder, its environment, and what a reader fills in."""

    folder: Path
    environment: dict[str, str]
    filled_in: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, **environment: str) -> Self:
        """Copy the repository to `folder/copy`, and make the fakes' names known."""
        copy, fakes = folder / "copy", folder / "fakes"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*_NOT_COPIED))
        for name in _LINKED:
            if (ROOT / name).exists():
                (copy / name).symlink_to(ROOT / name)
        fakes.mkdir()
        for name, module in _FAKES.items():
            (fakes / name).write_text(
                f'#!/bin/sh\nexec {sys.executable} -m tests.docs.{module} "$@"\n'
            )
            (fakes / name).chmod(0o755)
        inherited = {
            name: text
            for name, text in os.environ.items()
            if name.lower() not in Settings.model_fields and not name.startswith(_NOT_INHERITED)
        }
        path = f"{fakes}:{_PROGRAMS}:{os.environ['PATH']}"
        variables = {"PATH": path, "PYTHONPATH": str(copy), "FAKES": str(fakes), **environment}
        return cls(copy, {**inherited, **variables})

    def type(
        self, command: str, *more: str, status: int = 0, timeout_s: float = _PATIENCE_S
    ) -> str:
        """Type a command of the documentation, as it stands there; return what it said.

        `more` is what a test must add: a port that is free, a size that is small.
        """
        with subprocess.Popen(
            self._shell(command, more),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                said, _ = process.communicate(timeout=timeout_s)
            finally:
                kill_all_of(process)
        assert process.returncode == status, said
        assert "Traceback" not in said, said
        if command.startswith("export "):
            *_, exported = said.rpartition("\n--\n")
            self.environment |= dict(
                line.split("=", 1) for line in exported.rstrip("\0").split("\0")
            )
        return said

    @contextmanager
    def typing(self, command: str, *more: str) -> Iterator["Running"]:
        """Type a command that stays; end it by Ctrl-C, if the test has not."""
        log = self.folder.parent / "typed.log"
        with (
            log.open("w") as output,
            subprocess.Popen(
                self._shell(command, more),
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as process,
        ):
            running = Running(process, log)
            try:
                yield running
                running.press_ctrl_c()
            finally:
                kill_all_of(process)

    def _shell(self, command: str, more: tuple[str, ...]) -> list[str]:
        assert command in COMMANDS, "the documentation says something else"
        for written, meant in self.filled_in.items():
            command = command.replace(written, meant)
        assert "…" not in command, f"the test does not fill in {command}"
        line = " ".join((command, *more))
        if command.startswith("export "):
            line += "; printf '\\n--\\n'; env -0"
        return ["bash", "-c", line]


@dataclass(frozen=True)
class Running:
    """A command that has been typed and stays."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def wait_for(self, words: str) -> str:
        """Wait until it has said something; return all that it said."""
        self.wait_until(lambda: words in self._said())
        return self._said()

    def _said(self) -> str:
        return self.log.read_text("utf-8", "replace")  # it may be in the middle of a character

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait while it runs, but not for ever."""
        deadline = time.monotonic() + _PATIENCE_S
        while not is_so():
            assert self.process.poll() is None, self._said()
            assert time.monotonic() < deadline, self._said()
            time.sleep(0.05)

    def press_ctrl_c(self) -> int:
        """Do to everything in the foreground what a terminal does; return the exit status."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(60)


def kill_all_of(process: "subprocess.Popen[Any]") -> None:
    """Leave nothing in the foreground of a terminal behind."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
