"""The whole examination: every check of this folder, in order."""

from contextlib import closing

from webhook.commands.doctor.bucket import examine_bucket
from webhook.commands.doctor.engine import Engine, examine_engine
from webhook.commands.doctor.examination import Examination, Finding
from webhook.commands.doctor.machine import examine_clock, examine_machine, examine_secrets
from webhook.commands.doctor.mapping import examine_documents
from webhook.commands.doctor.modes import examine_strangers
from webhook.commands.doctor.role import examine_role
from webhook.commands.doctor.wiring import examine_wiring
from webhook.errors import ConfigurationError, StorageRejected
from webhook.s3 import open_client
from webhook.settings import load_settings


def examine() -> list[Finding]:
    """Look at everything that the service needs; nothing is changed anywhere."""
    examination = Examination()
    try:
        settings = load_settings()
    except ConfigurationError as exc:
        _title, *mistakes = str(exc).splitlines()
        return [Finding("settings", "fail", mistake.strip()) for mistake in mistakes]
    examination.check("settings", lambda: "complete, and of the right form")
    examine_secrets(examination, settings)
    try:
        client = open_client()
    except StorageRejected as exc:
        examination.add("S3", "fail", f"{exc} Correct the AWS_* variables.")
    else:
        with closing(client):
            examine_bucket(examination, settings, client)
    documents = examine_documents(examination, settings)
    engine = Engine(examination, settings)
    if examine_engine(examination, engine):
        examine_strangers(examination, engine)
        examine_role(examination, engine, documents)
        examine_wiring(examination, settings, engine, documents)
    examine_machine(examination, settings)
    examine_clock(examination)
    return examination.findings
