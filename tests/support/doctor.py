"""`python -m webhook doctor`, run in this process."""

import json

import pytest

from devstack.stack import Stack
from webhook.commands.cli import main


class Doctor:
    """Runs the command in this process; each setting may be replaced."""

    def __init__(
        self, stack: Stack, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._stack, self._patch, self._capsys = stack, patch, capsys

    def findings(self, **settings: str) -> dict[str, tuple[str, str]]:
        """Give status and words of each check; the exit status is the number of failures."""
        for name, value in {**self._stack.settings, **settings}.items():
            self._patch.setenv(name, value)
        self._capsys.readouterr()  # what others have printed before
        status = main(["doctor", "--json"])
        told = json.loads(self._capsys.readouterr().out)
        failures = [finding for finding in told["findings"] if finding["status"] == "fail"]
        assert (status, told["failures"]) == (len(failures), len(failures))
        return {f["check"]: (f["status"], f["says"]) for f in told["findings"]}

    def failures(self, **settings: str) -> dict[str, str]:
        found = self.findings(**settings).items()
        return {check: says for check, (status, says) in found if status == "fail"}
