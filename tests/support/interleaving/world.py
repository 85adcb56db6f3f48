"""A small world in which every call on a neighbour waits until somebody says that it happens now.

Several processes of the service, each the real journey on fakes, share one bucket and one table.
What may happen next is a list of actions: the next call of a process, a request that begins, the
source that is replaced, a process that dies, an answer that is lost. Who picks them, walk.py, a
random test or a story told by hand, decides the order; nothing else does.
"""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from tests.support.fakes import FakeRows, FakeSegmenter, FakeStore
from webhook.domain import ModelIdentity, Priority, RemovalRequest, RemovalResult, SourceObject
from webhook.errors import (
    ImageRejected,
    InferenceFailed,
    RemovalError,
    RequestRejected,
    StorageUnavailable,
    TemporarilyUnavailable,
    UnsupportedImage,
)
from webhook.imaging import Cutout
from webhook.jobs import Jobs
from webhook.pipeline import Service, give_up, remove_background
from webhook.telemetry import StageClock

IMAGE_ID = "1"
KEY = "img/1/trans.png"
MODELS = ("a", "b", "c")

Kind = Literal["event", "mutation", "mutation by b", "mutation by c", "backfill", "doomed event"]
"""Who asks: an event, a mutation without or with a model, a backfill; a doomed event's network
fails each time, and it is its last try."""

_NAMED: dict[str, str] = {"mutation by b": "b", "mutation by c": "c"}
_COMES_AGAIN = 2  # deliveries of an event beyond the first


@dataclass
class Request:
    """One request: who asks, of which process, and what became of it."""

    name: str
    kind: Kind
    process: int
    tries_left: int = _COMES_AGAIN
    sources_before: int = -1
    state: Literal["waits", "runs", "ended"] = "waits"
    result: RemovalResult | None = None
    error: Exception | None = None
    task: "asyncio.Task[None] | None" = None

    @property
    def model(self) -> str | None:
        return _NAMED.get(self.kind)

    @property
    def is_delivery(self) -> bool:
        return self.kind in ("event", "doomed event")


@dataclass
class _Call:
    """A call that waits for its moment; its future says whether its answer arrives."""

    process: int
    name: str
    writes: bool
    moment: "asyncio.Future[bool]"


@dataclass
class Limits:
    """How often each thing that nobody asked for may happen."""

    replacements: int = 0
    crashes: int = 0
    lost_answers: int = 0
    deletions: int = 0


@dataclass
class Process:
    """One process of the service; `seen` is all that it has learnt, and so all that it is."""

    service: Service
    seen: list[str] = field(default_factory=list)
    is_dead: bool = False


class World:
    """Bucket, table, processes, and the actions that are possible now."""

    def __init__(
        self,
        *kinds: Kind,
        limits: Limits,
        first_source: bytes = b"source 0",
        one_process: bool = False,
        keeps_conditions: bool = True,
        locks_rows: bool = True,
        blind_puts: bool = False,
    ) -> None:
        """Begin with a row and a source, and requests that have not begun.

        Args:
            *kinds: Who will ask.
            limits: What else may happen.
            first_source: The bytes in S3 at first; `b"broken"` is no image.
            one_process: Whether all requests come to one process; else each to its own.
            keeps_conditions: Whether the bucket refuses a write whose condition does not hold.
            locks_rows: Whether the table does.
            blind_puts: Whether the bucket takes every write and claims to keep conditions.
        """
        self.loop = asyncio.new_event_loop()
        self.bucket = FakeStore({IMAGE_ID: first_source}, keeps_conditions=keeps_conditions)
        self.table = FakeRows({IMAGE_ID: "user"})
        self.limits = limits
        self.sources = [first_source]
        self.made: dict[str, tuple[int, str]] = {}  # ETag of a cut-out: source's number, model
        self.story: list[str] = []
        self.unanswered: list[Request] = []
        self.row_was_deleted = False
        self.told_before_deletion: str | None = None
        self._locks_rows = locks_rows
        self.claims_conditions = keeps_conditions
        if blind_puts:
            self.bucket.keeps_conditions = False
        self._waiting: list[_Call] = []
        self._numbers = itertools.count(1)
        self.processes: list[Process] = []
        self.requests = [
            self._request(kind, 0 if one_process and number else self._new_process())
            for number, kind in enumerate(kinds)
        ]

    # --- what may happen -------------------------------------------------------------------------

    def actions(self) -> list[str]:
        """Return the names of all that may happen now; none means that the world is at rest."""
        found = [f"begin {request.name}" for request in self.requests if request.state == "waits"]
        found += [f"do {call.process}:{call.name}" for call in self._waiting]
        if not found:
            return []  # at rest: what nobody answers to any more is no part of the promise
        if self.limits.lost_answers:
            found += [f"lose {call.process}:{call.name}" for call in self._waiting if call.writes]
        if self.limits.replacements:
            found.append("replace the source")
        if self.limits.deletions:
            found.append("delete the row")
        if self.limits.crashes:
            busy = sorted({call.process for call in self._waiting})
            found += [f"kill {process}" for process in busy]
        return found

    def act(self, action: str) -> None:
        """Let it happen, and run until everybody waits again."""
        verb, _, rest = action.partition(" ")
        self.story.append(action)
        if verb == "begin":
            self._begin(next(request for request in self.requests if request.name == rest))
        elif verb in ("do", "lose"):
            self._let(rest, answers=verb == "do")
        elif verb == "replace":
            self.limits.replacements -= 1
            self._replace()
        elif verb == "delete":
            self.limits.deletions -= 1
            self.row_was_deleted = True
            self.table.owners.pop(IMAGE_ID)
            row = self.table.changes.pop(IMAGE_ID, None)
            self.told_before_deletion = row.etag if isinstance(row, RemovalResult) else None
        elif verb == "kill":
            self.limits.crashes -= 1
            self._kill(int(rest))
        self._settle()

    def state(self) -> Any:
        """Return all that the future depends on: equal states have equal futures."""
        row = self.table.changes.get(IMAGE_ID)
        standing = self.bucket.stored.get(KEY)
        return (
            tuple(self.sources),
            standing and (standing[0], tuple(sorted(standing[1].items()))),
            row.etag if isinstance(row, RemovalResult) else type(row),
            IMAGE_ID in self.table.owners,
            self.table.versions.get(IMAGE_ID, 0),
            tuple((tuple(process.seen), process.is_dead) for process in self.processes),
            tuple(
                (request.state, request.tries_left, request.sources_before)
                for request in self.requests
            ),
            tuple(vars(self.limits).values()),
            tuple(sorted((call.process, call.name) for call in self._waiting)),
        )

    def close(self) -> None:
        """End what still waits."""
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self._settle()
        self.loop.close()

    def run_backfill(self) -> None:
        """Do as `backfill` does, if it would find this row: pending, failed, or another cut-out."""
        row = self.table.changes.get(IMAGE_ID)
        standing = self.bucket.stored.get(KEY)
        etag = hashlib.md5(standing[0]).hexdigest() if standing else None
        if isinstance(row, RemovalResult) and row.etag == etag:
            return
        self.requests.append(self._request("backfill", self._new_process()))
        self.limits = Limits()
        while actions := self.actions():
            self.act(actions[0])

    # --- what is promised ------------------------------------------------------------------------

    def violation(self) -> str | None:
        """Return which promise is broken now that the world is at rest; None if all are kept."""
        for request in self.requests:
            if isinstance(request.error, AssertionError) or not isinstance(
                request.error, RemovalError | None
            ):
                return f"{request.name} ended with {request.error!r}"
            if request.result is not None:
                number, model = self.made[request.result.etag]
                if number < request.sources_before:
                    return f"{request.name} was answered by a cut-out of a former source"
                named = {other.model for other in self.requests}  # one of two at once wins
                if request.model is not None and model not in named:
                    return f"{request.name} was answered by a model that nobody asked for"
        if self.row_was_deleted:
            standing = self.bucket.stored.get(KEY)
            left = standing and hashlib.md5(standing[0]).hexdigest()
            is_clean = left in (None, self.told_before_deletion) or self._anybody_died()
            return None if is_clean else "a cut-out is left of a row that is gone"
        return self._violation_of_the_row()

    def _violation_of_the_row(self) -> str | None:
        row = self.table.changes.get(IMAGE_ID)
        standing = self.bucket.stored.get(KEY)
        asked = [
            request.sources_before
            for request in self.requests
            if request.is_delivery or request.result is not None
        ]
        newest_asked = max(asked, default=0)
        if isinstance(row, ImageRejected):
            is_true = self.sources[newest_asked] == b"broken" and standing is None
            return None if is_true else "a verdict on a broken file outlives its repair"
        if isinstance(row, InferenceFailed):
            newest = len(self.sources) - 1  # which the failing one may have tried, unasked
            is_true = standing is None or self._number_of(standing[0]) < newest
            return None if is_true else "the row tells a failure, and there is a good cut-out"
        if row is None and not asked:
            return None
        if not isinstance(row, RemovalResult):
            return f"the row does not say done, but {row!r}"
        if standing is None:
            return "the row says done, and there is no cut-out"
        png, certificate = standing
        number, model = self.made[hashlib.md5(png).hexdigest()]
        if number < newest_asked:
            return "the cut-out is of a former source"
        if (row.etag, row.model) != (hashlib.md5(png).hexdigest(), certificate["model"]):
            return f"the row tells of another cut-out ({row.model}) than lies there ({model})"
        was_chosen = any(
            request.model is not None
            and request.result is not None
            and self.made[request.result.etag][0] == number
            for request in self.requests
        )
        if was_chosen and model not in {request.model for request in self.requests}:
            return "the choice of a model was undone"
        return None

    def _number_of(self, png: bytes) -> int:
        return self.made[hashlib.md5(png).hexdigest()][0]

    def _anybody_died(self) -> bool:
        return any(process.is_dead for process in self.processes)

    # --- how it happens --------------------------------------------------------------------------

    def _request(self, kind: Kind, process: int) -> Request:
        return Request(f"{kind} ({next(self._numbers)})", kind, process)

    def _new_process(self) -> int:
        number = len(self.processes)
        store = _Store(self, number)
        rows = _Rows(self, number)
        service = Service(
            store=store,
            models=FakeSegmenter(names=MODELS),
            cutter=_Cutter(self, store),
            rows=rows,
            jobs=Jobs(100, 10**6, lambda: 0),
            target_prefix="img/",
            job_timeout_s=10**6,
        )
        self.processes.append(Process(service))
        return number

    def _begin(self, request: Request) -> None:
        request.state = "runs"
        request.sources_before = len(self.sources) - 1
        request.task = self.loop.create_task(self._serve(request))

    async def _serve(self, request: Request) -> None:
        """Do what the webhook does with a request."""
        service = self.processes[request.process].service
        priority: Priority = "backfill" if request.kind == "backfill" else "live"
        asked = RemovalRequest(IMAGE_ID, request.model, priority)
        try:
            request.result = await remove_background(asked, service)
        except InferenceFailed as error:
            request.error = error
            try:
                request.result = await give_up(asked, error, service)
            except RemovalError as unwritten:
                request.error = unwritten
        except Exception as error:
            request.error = error
        request.state = "ended"
        self._come_again(request)
        if not request.is_delivery and isinstance(request.error, TemporarilyUnavailable):
            self.unanswered.append(request)

    def _come_again(self, request: Request) -> None:
        """Deliver an event again that was answered by an outage, or by nobody."""
        error = request.error
        is_over = request.result is not None or isinstance(error, RequestRejected | InferenceFailed)
        if request.is_delivery and not is_over and request.tries_left:
            process = request.process
            if self.processes[process].is_dead:
                process = self._new_process()
            self.requests.append(
                Request(
                    f"{request.name}'", request.kind, process, tries_left=request.tries_left - 1
                )
            )

    def _let(self, name: str, *, answers: bool) -> None:
        process, _, call_name = name.partition(":")
        call = next(
            call for call in self._waiting if (call.process, call.name) == (int(process), call_name)
        )
        if not answers:
            self.limits.lost_answers -= 1
        self._waiting.remove(call)
        call.moment.set_result(answers)

    def _replace(self) -> None:
        self.sources.append(f"source {len(self.sources)}".encode())
        self.bucket.sources[IMAGE_ID] = self.sources[-1]

    def _kill(self, number: int) -> None:
        """End a process: none of its calls happens any more, and nobody is answered."""
        self.processes[number].is_dead = True
        self._waiting = [call for call in self._waiting if call.process != number]
        for request in list(self.requests):
            if request.process != number or request.state != "runs":
                continue
            assert request.task is not None
            request.task.cancel()
            request.state, request.error = "ended", None
            if request.is_delivery:
                self._come_again(request)
            else:
                self.unanswered.append(request)

    def _settle(self) -> None:
        while self.loop._ready:  # type: ignore[attr-defined]  # there is no public way to ask
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    async def call(
        self, number: int, name: str, perform: Callable[[], Awaitable[Any]], *, writes: bool = False
    ) -> Any:
        """Wait for the moment of a call, make it, and note what the process learnt."""
        process = self.processes[number]
        if process.is_dead:  # what a cancelled task still does, a dead process does not
            raise StorageUnavailable("This process is dead.")
        call = _Call(number, name, writes, self.loop.create_future())
        self._waiting.append(call)
        try:
            answers = await call.moment
        finally:
            with suppress(ValueError):
                self._waiting.remove(call)
        try:
            answer = await perform()
        except RemovalError as error:
            process.seen.append(f"{name}: {type(error).__name__}")
            raise
        if not answers:
            process.seen.append(f"{name}: no answer")
            raise StorageUnavailable("The answer was lost.")
        process.seen.append(f"{name}: {answer}")
        return answer


@dataclass(frozen=True)
class _Store:
    """The bucket as one process calls it."""

    world: World
    process: int

    @property
    def keeps_conditions(self) -> bool:
        return self.world.claims_conditions

    async def find(self, image_id: str) -> Any:
        return await self._call("find", partial(self.world.bucket.find, image_id))

    async def look(self, key: str) -> Any:
        return await self._call("check", partial(self.world.bucket.look, key))

    async def fetch(self, source: SourceObject) -> Any:
        return await self._call("fetch", partial(self.world.bucket.fetch, source))

    async def store(
        self, key: str, png: bytes, certificate: Mapping[str, str], replaces: str | None
    ) -> Any:
        perform = partial(self.world.bucket.store, key, png, certificate, replaces)
        return await self._call("store", perform, writes=True)

    async def remove(self, key: str, etag: str) -> None:
        await self._call("remove", partial(self.world.bucket.remove, key, etag), writes=True)

    async def remove_all(self, prefix: str) -> int:
        raise NotImplementedError

    async def _call(self, name: str, perform: Any, *, writes: bool = False) -> Any:
        return await self.world.call(self.process, name, perform, writes=writes)


@dataclass(frozen=True)
class _Rows:
    """The table as one process calls it."""

    world: World
    process: int

    async def find_visible(self, image_id: str, session_variables: Mapping[str, str]) -> str:
        raise NotImplementedError

    async def look(self, image_id: str) -> Any:
        return await self.world.call(self.process, "look", partial(self.world.table.look, image_id))

    async def record_done(self, row: Any, result: RemovalResult) -> None:
        await self._record("record", self.world.table.record_done, row, result)

    async def record_failed(self, row: Any, error: RemovalError) -> None:
        await self._record("record failure", self.world.table.record_failed, row, error)

    async def _record(self, name: str, record: Any, row: Any, what: Any) -> None:
        async def perform() -> None:
            seen = row
            if not self.world._locks_rows:
                seen = await self.world.table.look(IMAGE_ID)
            await record(seen, what)

        await self.world.call(self.process, name, perform, writes=True)


@dataclass(frozen=True)
class _Cutter:
    """Cut-outs that name their source and model; a source that says broken is no image."""

    world: World
    store: _Store

    @asynccontextmanager
    async def cut_out(
        self, source: SourceObject, model: ModelIdentity, priority: Priority, clock: StageClock
    ) -> AsyncIterator[Cutout]:
        data = await self.store.fetch(source)
        if data == b"broken":
            raise UnsupportedImage("It is broken.")
        if self._is_doomed():
            raise InferenceFailed("The network fails on this image.")
        png = data + b" by " + model.name.encode()
        self.world.made[hashlib.md5(png).hexdigest()] = (
            self.world.sources.index(data),
            model.name,
        )
        yield Cutout(png, 4, 3, 0.5)

    def _is_doomed(self) -> bool:
        return any(
            request.kind == "doomed event"
            for request in self.world.requests
            if request.process == self.store.process and request.state == "runs"
        )
