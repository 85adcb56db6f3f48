"""`python -m webhook doctor`: would the service work with these settings; if not, what to do."""

import json
from contextlib import closing

from webhook.entrypoints.doctor.bucket import examine_bucket
from webhook.entrypoints.doctor.engine import Engine, examine_role
from webhook.entrypoints.doctor.findings import Finding, Report
from webhook.entrypoints.doctor.machine import examine_clock, examine_machine, examine_secrets
from webhook.entrypoints.doctor.wiring import examine_wiring
from webhook.errors import ConfigurationError, StorageRejected
from webhook.settings import load_settings
from webhook.storage import open_client


def examine() -> list[Finding]:
    """Look at everything that the service needs; nothing is changed anywhere."""
    report = Report()
    try:
        settings = load_settings()
    except ConfigurationError as exc:
        _title, *mistakes = str(exc).splitlines()
        return [Finding("settings", "fail", mistake.strip()) for mistake in mistakes]
    report.check("settings", lambda: "complete, and of the right form")
    examine_secrets(report, settings)
    try:
        client = open_client()
    except StorageRejected as exc:
        report.add("S3", "fail", f"{exc} Correct the AWS_* variables.")
    else:
        with closing(client):
            examine_bucket(report, settings, client)
    engine = Engine(report, settings)
    if examine_role(report, engine):
        examine_wiring(report, settings, engine)
    examine_machine(report, settings)
    examine_clock(report)
    return report.findings


def run_doctor(*, as_json: bool) -> int:
    """Print what `examine` found; return the number of failures."""
    findings = examine()
    failures = sum(finding.status == "fail" for finding in findings)
    if as_json:
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
