"""S3: find and fetch a source, store a cut-out, list both."""

import io
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import closing, suppress
from hashlib import md5
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

import botocore.exceptions as boto_errors
from anyio import CapacityLimiter, create_task_group, fail_after

from webhook.domain import (
    IMAGE_FORMATS,
    SourceObject,
    StandingCutout,
    check_image_id,
    check_source_key,
)
from webhook.errors import (
    ImageTooLarge,
    InvalidSourceKey,
    SourceNotFound,
    StorageRejected,
    StorageUnavailable,
    Superseded,
)
from webhook.recipes import media_type_of
from webhook.s3 import CONNECTIONS, botocore_errors, concerns_credentials
from webhook.telemetry import log
from webhook.threads import run_in_thread
from webhook.tracing import span

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        HeadObjectOutputTypeDef,
        ListObjectsV2OutputTypeDef,
        ObjectTypeDef,
    )

_SUFFIXES = frozenset(suffix for kind in IMAGE_FORMATS for suffix in kind.suffixes)
_CONDITION_FAILED = frozenset(
    # The last: what a condition names is not there any more.
    {"PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchKey", "404"}
)
_NO_CONDITIONS = frozenset({"NotImplemented", "501"})
_END_OF_ID = re.compile(r"[./]")
_AFTER_SLASH = chr(ord("/") + 1)
_BLOCK_BYTES = 32 * 2**10

CALL_TIMEOUT_S = 60
"""For one call, with all its tries."""

_RETURN = TypeVar("_RETURN")


class S3Storage:
    """One bucket, through one client; blocking calls run in threads of their own limiter."""

    def __init__(
        self,
        client: "S3Client",
        *,
        bucket: str,
        source_prefix: str,
        max_source_bytes: int,
        reopen: "Callable[[], S3Client] | None" = None,
    ) -> None:
        """Work on a bucket.

        Args:
            client: Of the whole process.
            bucket: Its name.
            source_prefix: Where the sources lie.
            max_source_bytes: Of the largest source.
            reopen: Makes another client, when the credentials of this one are of no use any more.
        """
        self._client = client
        self._reopen = reopen
        self._reopen_first = False
        self._bucket = bucket
        self._source_prefix = source_prefix
        self._max_source_bytes = max_source_bytes
        self._limiter = CapacityLimiter(CONNECTIONS)
        self._keeps_conditions = True
        self._conditions_tried = False

    async def find(self, image_id: str, source_key: str | None = None) -> SourceObject:
        """Return the newest of the objects that may be the source of this id.

        They are `{prefix}{id}`, `{prefix}{id}` with a suffix of the IMAGE_FORMATS, and all under
        `{prefix}{id}/`.

        Args:
            image_id: Whose source.
            source_key: Of the one object that is it, where the row names it.

        Raises:
            SourceNotFound: there is none.
            InvalidSourceKey: the named one does not lie below the prefix of the sources.
            ImageTooLarge: it has more bytes than allowed.
            StorageUnavailable, StorageRejected: S3 could not be asked.
        """
        if source_key is not None:
            check_source_key(self._source_prefix, source_key)
            source = await self._call("HeadObject", self._head_source, source_key)
            if source is None:
                raise SourceNotFound(
                    f"There is no source object {source_key}, which the row names."
                )
            return self._bounded(source)
        base = self._source_prefix + check_image_id(image_id)
        candidates = await self._call("ListObjectsV2", self._list_candidates, base)
        if not candidates:
            raise SourceNotFound(f"There is no source object for this id (looked for {base}).")
        newest = _newest(candidates)
        if len(candidates) > 1:
            log.warning("several_sources", count=len(candidates), source_key=newest.key)
        return self._bounded(newest)

    def _bounded(self, source: SourceObject) -> SourceObject:
        if source.size_bytes > self._max_source_bytes:
            raise ImageTooLarge(
                f"The source has {source.size_bytes:,} bytes; at most {self._max_source_bytes:,} "
                "are allowed."
            )
        return source

    async def find_all(self, image_ids: Collection[str]) -> Mapping[str, SourceObject]:
        """Return the sources of many ids, as `find` would choose them but of any size.

        It walks through all keys from the first of the ids to the last, a thousand a request: it is
        made for ids that lie close together.

        Raises:
            StorageUnavailable, StorageRejected: S3 could not be asked.
        """
        candidates: dict[str, list[ObjectTypeDef]] = {image_id: [] for image_id in image_ids}
        async for image_id, item in self._walk(self._source_prefix, image_ids):
            if _names_a_source(item["Key"].removeprefix(self._source_prefix + image_id)):
                candidates[image_id].append(item)
        return {image_id: _newest(found) for image_id, found in candidates.items() if found}

    async def find_all_at(self, keys: Collection[str]) -> Mapping[str, SourceObject]:
        """Return the sources that rows name by many keys, of any size; one HEAD each.

        Raises:
            StorageUnavailable, StorageRejected: S3 could not be asked.
        """
        found: dict[str, SourceObject] = {}

        async def ask(key: str) -> None:
            with suppress(SourceNotFound, InvalidSourceKey):
                check_source_key(self._source_prefix, key)
                source = await self._call("HeadObject", self._head_source, key)
                if source is not None:
                    found[key] = source

        try:
            async with create_task_group() as asking:
                for key in keys:
                    asking.start_soon(ask, key)
        except ExceptionGroup as several:  # one says enough of them all
            raise several.exceptions[0] from several
        return found

    async def etags_of(self, prefix: str, image_ids: Collection[str]) -> Mapping[str, str]:
        """Return the keys below `prefix` that belong to one of many ids, each with its ETag.

        It walks as `find_all`, and raises as that does.
        """
        return {
            item["Key"]: _plain(item["ETag"]) async for _, item in self._walk(prefix, image_ids)
        }

    @property
    def keeps_conditions(self) -> bool:
        """Whether this S3 refuses a PUT whose condition does not hold; true until it fails to."""
        return self._keeps_conditions

    async def look(self, key: str) -> StandingCutout | None:
        """Return what is to be known of the cut-out or rendition `key`; None if there is none.

        Raises:
            StorageUnavailable, StorageRejected: S3 could not be asked.
        """
        return await self._call("HeadObject", self._head, key)

    async def fetch(self, source: SourceObject) -> bytes:
        """Return the bytes of the source as it was when it was found.

        Raises:
            SourceNotFound: it is gone by now.
            StorageUnavailable, StorageRejected: S3 did not give it, or it just changed.
        """
        return await self._call("GetObject", self._get, source)

    async def store(
        self, key: str, png: bytes, certificate: Mapping[str, str], replaces: str | None
    ) -> str:
        """Write a file, at once visible as a whole, with its certificate as metadata.

        Args:
            key: Where to; its suffix tells the media type.
            png: The cut-out, or a rendition.
            certificate: What it was made from, ASCII.
            replaces: ETag of the object that lies there; None: there is none.

        Returns:
            The ETag of what was written.

        Raises:
            Superseded: something else lies there by now; nothing was written.
            StorageUnavailable, StorageRejected: S3 did not take it.
        """
        return await self._call("PutObject", self._put, key, png, certificate, replaces)

    async def remove(self, key: str, etag: str) -> None:
        """Delete the object `key`, if it is still the one with this ETag.

        Raises:
            StorageUnavailable, StorageRejected: S3 could not be asked, or does not let us.
        """
        standing = await self.look(key)
        if standing is not None and standing.etag == etag:
            await self._call("DeleteObject", self._delete, key)

    async def remove_all(self, prefix: str) -> int:
        """Delete every object below `prefix`, which ends with "/"; return how many there were.

        Raises:
            StorageUnavailable, StorageRejected: S3 could not be asked, or does not let us.
        """
        count, start, more = 0, "", True
        while more:
            page = await self._call("ListObjectsV2", self._list_page, prefix, start)
            for item in page.get("Contents", ()):
                start = item["Key"]
                await self._call("DeleteObject", self._delete, start)
                count += 1
            more = page["IsTruncated"]
        return count

    async def _walk(
        self, prefix: str, image_ids: Collection[str]
    ) -> "AsyncIterator[tuple[str, ObjectTypeDef]]":
        """List the objects of many ids, each with its id, in the order of their keys."""
        start = prefix + min(image_ids)[:-1]  # a listing begins behind the key that is named
        end = prefix + max(image_ids) + _AFTER_SLASH
        more = True
        while more:
            page = await self._call("ListObjectsV2", self._list_page, prefix, start)
            for item in page.get("Contents", ()):
                start = item["Key"]
                if start >= end:
                    return
                image_id = _END_OF_ID.split(start.removeprefix(prefix), maxsplit=1)[0]
                if image_id in image_ids:
                    yield image_id, item
            more = page["IsTruncated"]

    def _list_page(self, given_up: Event, prefix: str, start: str) -> "ListObjectsV2OutputTypeDef":
        _stop_if(given_up)
        page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, StartAfter=start)
        last = max((item["Key"] for item in page.get("Contents", ())), default=start)
        if page["IsTruncated"] and last <= start:
            raise StorageUnavailable("S3 says that its listing goes on, but it does not.")
        return page

    def _list_candidates(self, given_up: Event, base: str) -> "list[ObjectTypeDef]":
        """List in key order, so that `ogs/12` stops before it walks through `ogs/123…`."""
        after_folder = base + _AFTER_SLASH
        candidates: list[ObjectTypeDef] = []
        start = base[:-1]  # a listing begins behind the key that is named
        more = True
        while more:
            page = self._list_page(given_up, base, start)
            for item in page.get("Contents", ()):
                start = item["Key"]
                if start >= after_folder:
                    return candidates
                if _names_a_source(start.removeprefix(base)):
                    candidates.append(item)
            more = page["IsTruncated"]
        return candidates

    def _head(self, given_up: Event, key: str) -> StandingCutout | None:
        head = self._head_or_none(key)
        if head is None:
            return None
        # Some servers, and proxies before them, give back the names of headers in another case.
        metadata = {name.lower(): value for name, value in head["Metadata"].items()}
        return StandingCutout(_plain(head["ETag"]), metadata, head["ContentLength"])

    def _head_source(self, given_up: Event, key: str) -> SourceObject | None:
        head = self._head_or_none(key)
        return (
            None if head is None else SourceObject(key, _plain(head["ETag"]), head["ContentLength"])
        )

    def _head_or_none(self, key: str) -> "HeadObjectOutputTypeDef | None":
        try:
            return self._client.head_object(Bucket=self._bucket, Key=key)
        except boto_errors.ClientError as exc:
            if exc.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise

    def _get(self, given_up: Event, source: SourceObject) -> bytes:
        try:
            answer = self._client.get_object(
                Bucket=self._bucket, Key=source.key, IfMatch=f'"{source.etag}"'
            )
        except self._client.exceptions.NoSuchKey as exc:
            raise SourceNotFound("The source object is gone.") from exc
        data = bytearray()
        # Not `with answer["Body"] as body`: that is urllib3's stream, which raises its own errors.
        with closing(answer["Body"]) as body:
            for block in body.iter_chunks(_BLOCK_BYTES):
                _stop_if(given_up)
                data += block
        if len(data) != source.size_bytes:
            # Decoded, it would be a damaged image, which is the end of its row.
            raise StorageUnavailable(
                f"S3 gave {len(data):,} of the source's {source.size_bytes:,} bytes."
            )
        return bytes(data)

    def _put(
        self,
        given_up: Event,
        key: str,
        png: bytes,
        certificate: Mapping[str, str],
        replaces: str | None,
    ) -> str:
        # Buckets with Object Lock want one, and it is the one that every server knows.
        digest = b64encode(md5(png, usedforsecurity=False).digest()).decode()

        def put(**condition: Any) -> str:
            return _plain(
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=_Upload(png, given_up),
                    ContentType=media_type_of(key),
                    ContentMD5=digest,
                    Metadata=certificate,
                    **condition,
                )["ETag"]
            )

        if not self._keeps_conditions:
            return put()
        condition = {"IfNoneMatch": "*"} if replaces is None else {"IfMatch": f'"{replaces}"'}
        try:
            etag = put(**condition)
        except boto_errors.ClientError as exc:
            code = exc.response.get("Error", {}).get("Code")
            if code in _CONDITION_FAILED:
                raise Superseded("Another cut-out was stored meanwhile.") from exc
            if code not in _NO_CONDITIONS:
                raise
            self._forgo_conditions(f"it answers {code}")
            return put()
        self._try_conditions(put)
        return etag

    def _try_conditions(self, put: Callable[..., str]) -> None:
        """Once in a process: put the same again, on a condition that can't hold."""
        if self._conditions_tried:
            return
        self._conditions_tried = True
        try:
            put(IfNoneMatch="*")
        except boto_errors.ClientError:
            return
        self._forgo_conditions("it ignores them")

    def _forgo_conditions(self, why: str) -> None:
        self._keeps_conditions = False
        log.warning("s3_keeps_no_conditions", note=f"{why}: each job looks once more at its end")

    def _delete(self, given_up: Event, key: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=key)

    async def _call(self, operation: str, call: Callable[..., _RETURN], *args: Any) -> _RETURN:
        """Make a call in a thread, which learns by an event when nobody waits for it any more.

        The timeouts of a socket see silence only: at a few bytes a second, or page after page, a
        thread would go on for hours.
        """
        given_up = Event()
        try:
            if self._reopen_first and self._reopen is not None:
                # Others may lie where they are found by now: in a file, with a sidecar.
                self._client = await run_in_thread(self._limiter, self._reopen)
                self._reopen_first = False
            with (
                span(f"S3 {operation}", "client", **{"aws.s3.bucket": self._bucket}),
                botocore_errors(),
                fail_after(CALL_TIMEOUT_S),
            ):
                return await run_in_thread(self._limiter, call, given_up, *args)
        except (StorageRejected, StorageUnavailable) as exc:
            self._reopen_first = concerns_credentials(exc)
            raise
        except TimeoutError as exc:
            raise StorageUnavailable(f"S3 took longer than {CALL_TIMEOUT_S} s.") from exc
        finally:
            given_up.set()


def _stop_if(given_up: Event) -> None:
    if given_up.is_set():
        raise StorageUnavailable("Nobody waits for this any more.")


class _Upload(io.BytesIO):
    """A PNG on its way; no more of it is sent once the call is given up."""

    def __init__(self, png: bytes, given_up: Event) -> None:
        super().__init__(png)
        self._given_up = given_up

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next block; a larger one than the 16 KiB that are asked for, to be quicker."""
        _stop_if(self._given_up)
        return super().read(size if size is None or size < 0 else max(size, _BLOCK_BYTES))


def _names_a_source(rest: str) -> bool:
    """Tell by what follows `{prefix}{id}` in a key; `{id}/` itself is a folder's marker."""
    if rest.startswith("/"):
        return not rest.endswith("/")
    return rest == "" or rest.lower() in _SUFFIXES


def _newest(candidates: "list[ObjectTypeDef]") -> SourceObject:
    newest = max(candidates, key=lambda item: (item["LastModified"], item["Key"]))
    return SourceObject(newest["Key"], _plain(newest["ETag"]), newest["Size"])


def _plain(etag: str) -> str:
    return etag.strip('"')
