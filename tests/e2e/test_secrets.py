"""No secret leaves the service: not in its log at any level, its answers, metrics or rows."""

import base64
import io
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from PIL import ExifTags, Image

from devstack.stack import Stack, demo_stack
from tests.support.bodies import action_body, event_body
from tests.support.people import Database, User
from tests.support.photos import ROCKET

PREVIOUS = "the-secret-of-last-month-1f9c"
HUB_TOKEN = "hf_tokenThatOpensTheHub8d21"
MISTAKEN = "a-secret-of-another-system-77aa"
PHOTOGRAPHER = "Jane-Whose-Name-Is-In-The-EXIF"
DOORS = ("/actions/remove-background", "/events/images", "/runsync", "/backfill")


@dataclass
class Conversation:
    """A stack at the most talkative level, and all that its service ever said."""

    stack: Stack
    said: list[str] = field(default_factory=list)
    cutout: bytes = b""

    def post(self, path: str, body: Any, secret: str) -> httpx2.Response:
        answer = httpx2.post(
            self.stack.webhook_url + path,
            json=body,
            headers={"x-webhook-secret": secret},
            timeout=60,
        )
        self.said += [answer.text, *(f"{k}: {v}" for k, v in answer.headers.items())]
        return answer

    def post_everywhere(self, image_id: str, secret: str) -> set[int]:
        bodies = (
            *(action_body(image_id), event_body(image_id)),
            *({"input": {"id": image_id}}, {"id": image_id}, {"secret": secret}),
        )
        return {self.post(path, body, secret).status_code for path in DOORS for body in bodies}


@pytest.fixture(scope="module")
def conversation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Conversation]:
    """Let everything happen that can: success, refusals, outages, faults."""
    settings = {
        "LOG_LEVEL": "debug",
        "WEBHOOK_SECRET_PREVIOUS": PREVIOUS,
        "HF_TOKEN": HUB_TOKEN,
        "PYTHONASYNCIODEBUG": "1",
    }
    with demo_stack(tmp_path_factory.mktemp("secrets"), service_settings=settings) as stack:
        conversation, user, database = Conversation(stack), User(stack), Database(stack)
        image_id = str(uuid.uuid4())
        user.upload(image_id, photo_with_a_name())
        user.insert(image_id)
        key = database.finished_row(image_id)["transparent_key"]
        stored = stack.s3.client().get_object(Bucket=stack.bucket, Key=key)
        conversation.cutout = stored["Body"].read()
        assert 200 in conversation.post_everywhere(image_id, stack.webhook_secret)
        assert 200 in conversation.post_everywhere(image_id, PREVIOUS)
        assert conversation.post_everywhere(image_id, MISTAKEN) == {401}
        user.upload(image_id, b"hopeless")
        conversation.post_everywhere(image_id, stack.webhook_secret)
        conversation.said.append(str(database.row(image_id)))
        conversation.said.append(httpx2.get(f"{stack.webhook_url}/metrics").text)

        client = stack.s3.client()
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=stack.bucket):
            for item in page.get("Contents", ()):
                client.delete_object(Bucket=stack.bucket, Key=item["Key"])
        client.delete_bucket(Bucket=stack.bucket)
        assert 500 in conversation.post_everywhere(image_id, stack.webhook_secret)
        stack.s3.process.stop()
        assert 503 in conversation.post_everywhere(image_id, stack.webhook_secret)
        stack.engine.stop()
        assert {429, 503} <= conversation.post_everywhere(image_id, stack.webhook_secret)
        time.sleep(0.2)
        yield conversation


def photo_with_a_name() -> bytes:
    file = io.BytesIO()
    with Image.open(ROCKET) as photo:
        exif = photo.getexif()
        exif[ExifTags.Base.Artist] = PHOTOGRAPHER
        photo.save(file, "JPEG", exif=exif)
    return file.getvalue()


def secrets_of(stack: Stack) -> list[str]:
    plain = [
        *(stack.webhook_secret, PREVIOUS, stack.admin_secret, HUB_TOKEN, MISTAKEN, PHOTOGRAPHER),
        *(stack.s3.access_key, stack.s3.secret_key),
    ]
    return plain + [base64.b64encode(secret.encode()).decode().rstrip("=") for secret in plain]


def test_no_secret_is_ever_logged(conversation: Conversation) -> None:
    log = conversation.stack.service.log.read_text()
    assert "Traceback" in log  # chains of exceptions are among it
    for secret in secrets_of(conversation.stack):
        assert secret not in log
    for trace in ("AWS4-HMAC", "Signature=", "x-hasura-admin-secret", "Bearer "):
        assert trace not in log


def test_no_secret_is_ever_answered_counted_or_written(conversation: Conversation) -> None:
    assert len(conversation.said) > 100
    for said in conversation.said:
        for secret in secrets_of(conversation.stack):
            assert secret not in said


def test_no_answer_tells_of_the_inside(conversation: Conversation) -> None:
    for said in conversation.said:
        for detail in ("Traceback", ".py", "127.0.0.1", "botocore", "httpx", "site-packages"):
            assert detail not in said


def test_a_cutout_does_not_say_who_took_it_nor_where(conversation: Conversation) -> None:
    with Image.open(io.BytesIO(conversation.cutout)) as cutout:
        cutout.load()
        assert (cutout.format, dict(cutout.getexif())) == ("PNG", {})
    assert PHOTOGRAPHER.encode() not in conversation.cutout
