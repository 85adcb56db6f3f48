"""The people around the stack of the demo: who uses it, and who looks after it."""

import io
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psycopg
from numpy.typing import NDArray
from PIL import Image

from devstack.stack import Stack
from tests.support.bodies import USER_ID


@dataclass(frozen=True)
class User:
    """A signed-in user: does what a frontend does."""

    stack: Stack
    user_id: str = USER_ID

    def upload(self, image_id: str, photo: Path | bytes, suffix: str = "") -> None:
        data = photo if isinstance(photo, bytes) else photo.read_bytes()
        client = self.stack.s3.client()
        client.put_object(Bucket=self.stack.bucket, Key=f"ogs/{image_id}{suffix}", Body=data)

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """Run an operation as this user; return the whole answer, errors and all."""
        role = {"x-hasura-role": "user", "x-hasura-user-id": self.user_id}
        return _post(self.stack, "/v1/graphql", {"query": query, "variables": variables}, **role)

    def insert(self, image_id: str) -> None:
        answer = self.graphql(
            "mutation ($id: uuid!) { insert_images_one(object: {id: $id}) { id } }", id=image_id
        )
        assert answer["data"]["insert_images_one"]["id"] == image_id

    def remove_background(self, image_id: str, **arguments: str) -> dict[str, Any]:
        return self.graphql(
            "mutation ($id: uuid!, $model: String) { removeBackground(id: $id, model: $model)"
            " { id key image { status width height } } }",
            id=image_id,
            **arguments,
        )

    def has_cutout(self, image_id: str) -> bool:
        """Tell whether there is a cut-out of this image."""
        client, key = self.stack.s3.client(), f"img/{image_id}/trans.png"
        found = client.list_objects_v2(Bucket=self.stack.bucket, Prefix=key)
        return found["KeyCount"] > 0

    def cutout(self, key: str) -> NDArray[np.uint8]:
        """Return the stored cut-out as uint8 (H, W, 4)."""
        answer = self.stack.s3.client().get_object(Bucket=self.stack.bucket, Key=key)
        assert answer["ContentType"] == "image/png"
        with Image.open(io.BytesIO(answer["Body"].read())) as image:
            assert (image.format, image.mode) == ("PNG", "RGBA")
            return np.asarray(image)


@dataclass(frozen=True)
class Database:
    """The superuser of Postgres: writes past every permission, and reads what Hasura keeps."""

    stack: Stack

    def sql(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.stack.database_url) as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def insert_row(self, image_id: str) -> None:
        self.sql("INSERT INTO images (id, owner_id) VALUES (%s, %s)", image_id, USER_ID)

    def insert_without_event(
        self, image_id: str, *, owner_id: str | None = USER_ID, status: str = "pending"
    ) -> None:
        """Insert a row that nobody is told of."""
        with psycopg.connect(self.stack.database_url) as connection:
            connection.execute("SET session_replication_role = replica")  # no trigger fires
            connection.execute(
                "INSERT INTO images (id, owner_id, status) VALUES (%s, %s, %s)",
                (image_id, owner_id, status),
            )

    def row(self, image_id: str) -> dict[str, Any]:
        row = self.sql("SELECT to_jsonb(images) FROM images WHERE id = %s", image_id)[0][0]
        assert isinstance(row, dict)
        return row

    def finished_row(self, image_id: str, patience_s: float = 30) -> dict[str, Any]:
        """Wait until the row is done or failed."""
        deadline = time.monotonic() + patience_s
        while (row := self.row(image_id))["status"] == "pending":
            assert time.monotonic() < deadline, f"still pending; {self.stack.service.log_tail()}"
            time.sleep(0.05)
        return row

    def event(self, image_id: str) -> dict[str, Any]:
        """Return the row of the event log that this image's latest event has."""
        found = self.sql(
            "SELECT to_jsonb(e) FROM hdb_catalog.event_log e"
            " WHERE payload #>> '{data,new,id}' = %s ORDER BY created_at DESC LIMIT 1",
            image_id,
        )
        event = found[0][0]
        assert isinstance(event, dict)
        return event

    def settled_event(self, image_id: str, patience_s: float = 30) -> dict[str, Any]:
        deadline = time.monotonic() + patience_s
        while not ((event := self.event(image_id))["delivered"] or event["error"]):
            assert time.monotonic() < deadline, "the event is still on its way"
            time.sleep(0.05)
        return event


@dataclass(frozen=True)
class Administrator:
    """Whoever has Hasura's admin secret, at its metadata API."""

    stack: Stack

    def metadata(self, kind: str, **args: Any) -> dict[str, Any]:
        return _post(self.stack, "/v1/metadata", {"type": kind, "args": args})


def _post(stack: Stack, path: str, body: Any, **headers: str) -> dict[str, Any]:
    secret = {"x-hasura-admin-secret": stack.admin_secret}
    answer = httpx2.post(stack.engine_url + path, json=body, headers=secret | headers, timeout=60)
    decoded = answer.json()
    assert isinstance(decoded, dict)
    return decoded
