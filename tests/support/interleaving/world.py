"""A small world in which every call on a neighbour waits until somebody says that it happens now.

Several processes of the service, each the real journey on fakes, share one bucket and one table.
What may happen next is a list of actions: the next call of a process, a request that begins, the
source that is replaced, a process that dies, an answer that is lost. Who picks them, walk.py, a
random test or a story told by hand, decides the order; nothing else does.
"""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from tests.support.fakes import FakeRows, FakeSegmenter, FakeStore
from webhook.domain import (
    Box,
    ModelIdentity,
    Priority,
    RemovalRequest,
    RemovalResult,
    SourceObject,
)
from webhook.errors import (
    InferenceFailed,
    RemovalError,
    RequestRejected,
    StorageUnavailable,
    UnsupportedImage,
    WritebackUnavailable,
)
from webhook.imaging import Cutout
from webhook.imaging.renditions import RenderedRendition, Renditions
from webhook.jobs import Jobs
from webhook.pipeline import Service, give_up, remove_background
from webhook.recipes import RenditionRecipe, parse_renditions
from webhook.telemetry import StageClock

IMAGE_ID = "1"
KEY = "img/1/trans.png"
RENDITION_KEY = "img/1/small.png"
RECIPES = parse_renditions("small.png?max=2")
MODELS = ("a", "b", "c")

Kind = Literal["event", "mutation", "mutation by b", "mutation by c", "backfill", "doomed event"]
"""Who asks: an event, a mutation without or with a model, a backfill; a doomed event's network
fails each time, and it is its last try."""

_NAMED: dict[str, str] = {"mutation by b": "b", "mutation by c": "c"}
_LONGEST_STORY = 1_000
_COMES_AGAIN = 2  # tries beyond the first for an event whose network fails; outages cost none


@dataclass
class Request:
    """One request: who asks, of which process, and what became of it.

    `sources_before` and `chosen_before` tell what was there when it began: the number of the newest
    source, and the names of those requests for a model that had ended.
    """

    name: str
    kind: Kind
    process: int
    tries_left: int = _COMES_AGAIN
    sources_before: int = -1
    chosen_before: frozenset[str] = frozenset()
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

    @property
    def is_last_try(self) -> bool:
        return self.kind == "doomed event" or (self.is_delivery and not self.tries_left)


@dataclass
class _Call:
    """A call that waits for its moment; its future says whether its answer arrives."""

    process: int
    name: str
    writes: bool
    moment: "asyncio.Future[bool]"


@dataclass
class Limits:
    """How often each thing that nobody asked for may happen.

    A breakage replaces the source by a file that is no image; who hangs up is no longer there for
    the answer to a request.
    """

    replacements: int = 0
    breakages: int = 0
    crashes: int = 0
    lost_answers: int = 0
    hang_ups: int = 0
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
        limits: Limits | None = None,
        first_source: bytes = b"source 0",
        processes: int | None = None,
        keeps_conditions: bool = True,
        locks_rows: bool = True,
        blind_puts: bool = False,
        rendition: bytes | None = None,
    ) -> None:
        """Begin with a row and a source, and requests that have not begun.

        Args:
            *kinds: Who will ask.
            limits: What else may happen; None: nothing.
            first_source: The bytes in S3 at first; those that begin with "broken" are no image.
            processes: Over how many the requests are spread; None: each has its own.
            keeps_conditions: Whether the bucket refuses a write whose condition does not hold.
            locks_rows: Whether the table does.
            blind_puts: Whether the bucket takes every write and claims to keep conditions.
            rendition: How the file begins that lies beside a cut-out, which follows; if it ends
                with ".", it is the whole file: those of different cut-outs are equal then. None:
                there is no such file.
        """
        self.rendition = rendition
        self.loop = asyncio.new_event_loop()
        self.bucket = FakeStore({IMAGE_ID: first_source}, keeps_conditions=keeps_conditions)
        self.table = FakeRows({IMAGE_ID: "user"})
        self.limits = limits or Limits()
        self.sources = [first_source]
        self.made: dict[str, tuple[int, str]] = {}  # ETag of a cut-out: source's number, model
        self.story: list[str] = []
        self.unanswered: list[Request] = []
        self.row_was_deleted = False
        self.stored_by: dict[tuple[str, str], asyncio.Task[Any]] = {}  # key and ETag: whose job
        self._locks_rows = locks_rows
        self.claims_conditions = keeps_conditions
        if blind_puts:
            self.bucket.keeps_conditions = False
        self._waiting: list[_Call] = []
        self._numbers = itertools.count(1)
        self.processes: list[Process] = []
        for _ in range(processes or len(kinds)):
            self._new_process()
        self.requests = [
            self._request(kind, number % len(self.processes)) for number, kind in enumerate(kinds)
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
        if self.limits.breakages:
            found.append("break the source")
        if self.limits.deletions:
            found.append("delete the row")
        if self.limits.crashes:
            busy = sorted({call.process for call in self._waiting})
            found += [f"kill {process}" for process in busy]
        if self.limits.hang_ups:
            runs = [request.name for request in self.requests if request.state == "runs"]
            found += [f"hang up {name}" for name in runs]
        return found

    def act(self, action: str) -> None:
        """Let it happen, and run until everybody waits again."""
        verb, _, rest = action.partition(" ")
        self.story.append(action)
        assert len(self.story) < _LONGEST_STORY, "this world never comes to rest"
        if verb == "begin":
            self._begin(self.request(rest))
        elif verb in ("do", "lose"):
            self._let(rest, answers=verb == "do")
        elif verb == "replace":
            self.limits.replacements -= 1
            self._replace("source")
        elif verb == "break":
            self.limits.breakages -= 1
            self._replace("broken")
        elif verb == "delete":
            self.limits.deletions -= 1
            self.row_was_deleted = True
            self.table.owners.pop(IMAGE_ID)
            self.table.changes.pop(IMAGE_ID, None)
        elif verb == "kill":
            self.limits.crashes -= 1
            self._kill(int(rest))
        elif verb == "hang":
            self.limits.hang_ups -= 1
            self._leave(self.request(rest.removeprefix("up ")))
        self._settle()

    def process_of(self, action: str) -> int | None:
        """Return which process goes on with an action, if one does."""
        verb, _, rest = action.partition(" ")
        if verb == "begin":
            return self.request(rest).process
        return int(rest.partition(":")[0]) if verb == "do" else None

    def request(self, name: str) -> Request:
        """Return the request of this name."""
        return next(request for request in self.requests if request.name == name)

    def state(self) -> Any:
        """Return all that the future depends on: equal states have equal futures."""
        row = self.table.changes.get(IMAGE_ID)
        return (
            tuple(self.sources),
            tuple(
                (key, data, tuple(sorted(certificate.items())))
                for key, (data, certificate) in sorted(self.bucket.stored.items())
            ),
            row.etag if isinstance(row, RemovalResult) else repr(row),
            IMAGE_ID in self.table.owners,
            self.table.versions.get(IMAGE_ID, 0),
            tuple((tuple(process.seen), process.is_dead) for process in self.processes),
            tuple(
                (
                    request.state,
                    request.tries_left,
                    request.sources_before,
                    request.chosen_before,
                )
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

    def come_to_rest(self) -> None:
        """Let all go on that still can, without any more trouble.

        Whoever was told to ask again, or hung up, may never do so: then backfill comes at the end.
        """
        self.limits = Limits()
        while actions := self.actions():
            self.act(actions[0])
        if self.unanswered:
            self.story.append("backfill looks through the table")
            self._run_backfill()

    def _run_backfill(self) -> None:
        """Do as `backfill` does, if it would find this row: pending, failed, or another cut-out."""
        row = self.table.changes.get(IMAGE_ID)
        standing = self.bucket.stored.get(KEY)
        etag = hashlib.md5(standing[0]).hexdigest() if standing else None
        is_told = isinstance(row, RemovalResult) and row.etag == etag
        if is_told and not self.stale_renditions():
            return
        self.requests.append(self._request("backfill", self._new_process()))
        while actions := self.actions():
            self.act(actions[0])

    def stale_renditions(self) -> list[str]:
        """Return the keys of renditions that are missing, or of another cut-out than lies there."""
        if self.rendition is None or KEY not in self.bucket.stored:
            return []
        etag = hashlib.md5(self.bucket.stored[KEY][0]).hexdigest()
        _, certificate = self.bucket.stored.get(RENDITION_KEY, (b"", {}))
        return [] if certificate.get("cutout-etag") == etag else [RENDITION_KEY]

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
            renditions=() if self.rendition is None else RECIPES,
        )
        self.processes.append(Process(service))
        return number

    def _begin(self, request: Request) -> None:
        if self.processes[request.process].is_dead:
            request.process = self._new_process()
        request.state = "runs"
        request.sources_before = len(self.sources) - 1
        request.chosen_before = frozenset(
            other.name for other in self.requests if other.model and other.state == "ended"
        )
        request.task = self.loop.create_task(self._serve(request))

    async def _serve(self, request: Request) -> None:
        """Do what the webhook does with a request."""
        service = self.processes[request.process].service
        priority: Priority = "backfill" if request.kind == "backfill" else "live"
        asked = RemovalRequest(IMAGE_ID, request.model, priority)
        try:
            request.result = await remove_background(asked, service)
        except Exception as error:
            request.error = error
        if isinstance(request.error, InferenceFailed) and request.is_last_try:
            try:
                request.result = await give_up(asked, request.error, service)
            except RemovalError as unwritten:
                request.error = unwritten
        request.state = "ended"
        is_final = isinstance(request.error, RequestRejected) or (
            isinstance(request.error, InferenceFailed) and request.is_last_try
        )
        if request.result is None and not is_final:
            self._stay_unanswered(request)

    def _stay_unanswered(self, request: Request) -> None:
        """Hasura delivers an event again; whether somebody else asks again is their affair."""
        if not request.is_delivery:
            self.unanswered.append(request)
        else:
            tries_left = request.tries_left - isinstance(request.error, InferenceFailed)
            self.requests.append(
                Request(f"{request.name}'", request.kind, request.process, tries_left)
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

    def _replace(self, what: str) -> None:
        self.sources.append(f"{what} {len(self.sources)}".encode())
        self.bucket.sources[IMAGE_ID] = self.sources[-1]

    def _kill(self, number: int) -> None:
        """End a process: none of its calls happens any more, and nobody is answered."""
        self.processes[number].is_dead = True
        self._waiting = [call for call in self._waiting if call.process != number]
        for request in list(self.requests):
            if request.process == number and request.state == "runs":
                self._leave(request)

    def _leave(self, request: Request) -> None:
        """Wait for the answer of a request no more."""
        assert request.task is not None
        request.task.cancel()
        request.state, request.error = "ended", None
        self._stay_unanswered(request)

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
            is_of_row = name.startswith("record")
            lost = WritebackUnavailable if is_of_row else StorageUnavailable
            raise lost("The answer was lost.")
        process.seen.append(f"{name}: {answer}")
        return answer


def _named(call: str, key: str) -> str:
    """Tell a call on a rendition from the same one on its cut-out."""
    return call if key == KEY else f"{call} rendition"


@dataclass(frozen=True)
class _Store:
    """The bucket as one process calls it."""

    world: World
    process: int

    @property
    def keeps_conditions(self) -> bool:
        return self.world.claims_conditions

    async def find(self, image_id: str, source_key: str | None = None) -> Any:
        return await self._call("find", partial(self.world.bucket.find, image_id))

    async def look(self, key: str) -> Any:
        return await self._call(_named("check", key), partial(self.world.bucket.look, key))

    async def fetch(self, source: SourceObject) -> Any:
        name = "fetch cut-out" if source.key == KEY else "fetch"
        return await self._call(name, partial(self.world.bucket.fetch, source))

    async def store(
        self, key: str, png: bytes, certificate: Mapping[str, str], replaces: str | None
    ) -> Any:
        async def perform() -> str:
            etag = await self.world.bucket.store(key, png, certificate, replaces)
            job = asyncio.current_task()
            assert job is not None
            self.world.stored_by[key, etag] = job
            return etag

        return await self._call(_named("store", key), perform, writes=True)

    async def remove(self, key: str, etag: str) -> None:
        await self._call(
            _named("remove", key), partial(self.world.bucket.remove, key, etag), writes=True
        )

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
        self,
        source: SourceObject,
        model: ModelIdentity,
        recipes: Sequence[RenditionRecipe],
        priority: Priority,
        clock: StageClock,
    ) -> AsyncIterator[tuple[Cutout, Renditions]]:
        data = await self.store.fetch(source)
        if data.startswith(b"broken"):
            raise UnsupportedImage(data.decode())
        if self._is_doomed():
            raise InferenceFailed(data.decode())
        png = data + b" by " + model.name.encode()
        self.world.made[hashlib.md5(png).hexdigest()] = (
            self.world.sources.index(data),
            model.name,
        )
        yield Cutout(png, 4, 3, 0.5), self._renditions(png, recipes)

    @asynccontextmanager
    async def renditions_of(
        self,
        cutout: SourceObject,
        recipes: Sequence[RenditionRecipe],
        priority: Priority,
        clock: StageClock,
    ) -> AsyncIterator[Renditions]:
        yield self._renditions(await self.store.fetch(cutout), recipes)

    def _renditions(self, png: bytes, recipes: Sequence[RenditionRecipe]) -> Renditions:
        begin = self.world.rendition or b""
        data = begin if begin.endswith(b".") else begin + png
        files = [RenderedRendition(recipe, data, 2, 1) for recipe in recipes]
        return Renditions(files, Box(0, 0, 4, 3))

    def _is_doomed(self) -> bool:
        return any(
            request.kind == "doomed event"
            for request in self.world.requests
            if request.process == self.store.process and request.state == "runs"
        )
