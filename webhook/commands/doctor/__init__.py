"""`doctor`: would the service work with these settings; if not, what to do."""

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_command(commands: "_SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its arguments to the command line."""
    parser = commands.add_parser(
        "doctor",
        help="tell whether the service would work with these settings, and if not, what to do",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what the examination found; return the number of failures."""
    # Imported here: what it examines takes seconds to load, which --help need not wait for.
    from webhook.commands.doctor.examine import examine

    findings = examine()
    failures = sum(finding.status == "fail" for finding in findings)
    if options.json:
        told = [
            {"check": finding.check, "status": finding.status, "says": finding.says}
            for finding in findings
        ]
        print(json.dumps({"failures": failures, "findings": told}, indent=2))
        return failures
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        print(f"{finding.status:4}  {finding.check:{width}}  {finding.says}")
    return failures
