"""The journey of one image, the same under every entry; and what it asks of its neighbours.

Other processes may work on the same image, its source may be replaced, and each may be slow or die
between any two steps. So whoever writes says what they have seen: the cut-out is stored only in the
place of the one that lay there, the row is changed only if nobody has changed it since. Both are
looked at *before* the source, so what was written after a newer source came is never overwritten by
work on an older one. Whoever finds that somebody else was first goes round again. The renditions
beside a cut-out are stored after it and before the row, likewise.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from anyio import fail_after

from webhook.domain import (
    ModelIdentity,
    Priority,
    Recipe,
    RemovalRequest,
    RemovalResult,
    RowState,
    SourceObject,
    StandingCutout,
    certificate,
    certified_result,
    target_key,
)
from webhook.errors import (
    DeadlineExceeded,
    ImageRejected,
    ModelNotAllowed,
    RemovalError,
    RowNotFound,
    ServiceFault,
    SourceNotFound,
    StorageUnavailable,
    Superseded,
)
from webhook.imaging import Cutout
from webhook.imaging.renditions import Renditions
from webhook.jobs import Jobs, Turn
from webhook.recipes import RenditionRecipe
from webhook.renditions import Beside, described, judge_beside, look_beside, store_beside
from webhook.telemetry import CERTIFICATE_HITS, CUTOUT_BYTES, StageClock, log

MAX_ROUNDS = 8
"""How often a job looks again after somebody else was first; then its caller is to ask again."""


class ObjectStore(Protocol):
    """Where sources and cut-outs lie."""

    @property
    def keeps_conditions(self) -> bool:
        """Whether `store` refuses what it must; not every S3 server does."""

    async def find(self, image_id: str, source_key: str | None = None) -> SourceObject:
        """Return the source object of an id, or the one that its row names."""

    async def look(self, key: str) -> StandingCutout | None:
        """Return what is to be known of the file that lies there, if there is one."""

    async def store(
        self, key: str, png: bytes, certificate: Mapping[str, str], replaces: str | None
    ) -> str:
        """Write a file in the place of the one with this ETag, or of none; return its own.

        Raises:
            Superseded: another one lies there by now.
        """

    async def remove(self, key: str, etag: str) -> None:
        """Remove a file, if it is still the one with this ETag."""

    async def remove_all(self, prefix: str) -> int:
        """Remove every object below a prefix that ends with "/"; return how many there were."""


class Models(Protocol):
    """Which models there are."""

    def identify(self, model: str | None) -> ModelIdentity:
        """Return the model that a request asks for; raises ModelNotAllowed."""


class Cutter(Protocol):
    """Who makes cut-outs."""

    def cut_out(
        self,
        source: SourceObject,
        model: ModelIdentity,
        recipes: Sequence[RenditionRecipe],
        priority: Priority,
        clock: StageClock,
    ) -> AbstractAsyncContextManager[tuple[Cutout, Renditions]]:
        """Make a cut-out and renditions; their memory is accounted for while the caller works."""

    def renditions_of(
        self,
        cutout: SourceObject,
        recipes: Sequence[RenditionRecipe],
        priority: Priority,
        clock: StageClock,
    ) -> AbstractAsyncContextManager[Renditions]:
        """Make renditions of a cut-out that lies there, likewise."""


class Rows(Protocol):
    """Where results are written down."""

    async def find_visible(self, image_id: str, session_variables: Mapping[str, str]) -> str:
        """Return the row's own id if the caller may see it."""

    async def look(self, image_id: str) -> RowState:
        """Return what is to be known of a row; raises RowNotFound."""

    async def record_done(self, row: RowState, result: RemovalResult) -> None:
        """Write a result to its row; raises Superseded if the row has changed since."""

    async def record_failed(self, row: RowState, error: RemovalError) -> None:
        """Write a failure to the row; raises as `record_done`."""


@dataclass(frozen=True, slots=True)
class Service:
    """All that a job needs; put together by webhook/bootstrap.py.

    Attributes:
        store: S3.
        models: The models that may be asked for.
        cutter: Makes cut-outs by them.
        rows: The table, through Hasura.
        jobs: The jobs in work.
        target_prefix: Where the cut-outs go.
        job_timeout_s: Deadline of one job.
        renditions: What else is made of each cut-out.
    """

    store: ObjectStore
    models: Models
    cutter: Cutter
    rows: Rows
    jobs: Jobs[RemovalResult]
    target_prefix: str
    job_timeout_s: float
    renditions: Sequence[RenditionRecipe] = ()


async def remove_background(request: RemovalRequest, service: Service) -> RemovalResult:
    """Do one job: source, matte, cut-out, renditions, row.

    The result is of the source as it lay there when the request came, or of a newer one. If a
    cut-out of that source lies there already, the network does not run: the renditions that are
    missing are made of it, and the row is written; a request that names no
    model is content with any model that is served. Who asks for what is in work already shares
    that job; a job that everybody who asked has left is cancelled.

    Raises:
        Overloaded: there are too many jobs already; nothing was begun.
        ImageRejected: the image is hopeless; the row says so.
        RowNotFound: there is no such row (any more); no cut-out of this job is left.
        RemovalError: any other of webhook/errors.py; the row is as it was.
    """
    service.models.identify(request.model)  # a wrong model costs nothing
    return await service.jobs.run(request, lambda turn: _in_time(request, turn, service))


async def give_up(
    request: RemovalRequest, error: RemovalError, service: Service
) -> RemovalResult | None:
    """Write down that nobody will try again.

    Args:
        request: What was asked for.
        error: Why the last try failed; if that try had looked at the row, nobody may have written
            it since.
        service: What it needs.

    Returns:
        None: the row tells the failure. A result, if the try did not come so far as to see that a
        good cut-out lies there: the row tells that.

    Raises:
        Superseded: others have written since; only another try can tell what is true now.
        RowNotFound: there is no row to write to.
        RemovalError: it could not be written down.
    """
    if error.lock_version is not None:
        row = RowState(request.image_id, error.lock_version)
        await service.rows.record_failed(row, error)
        return None
    row = await service.rows.look(request.image_id)
    good = await _good_already(row, request, service)
    if good is None:
        await service.rows.record_failed(row, error)
    else:
        await service.rows.record_done(row, good)
    return good


async def remove_cutouts(image_id: str, service: Service) -> None:
    """Remove all that was made of an image whose row is gone.

    Raises:
        Superseded: the row is there; nothing was removed.
        RemovalError: it could not be told, or not be removed; another try may.
    """
    try:
        await service.rows.look(image_id)
    except RowNotFound:
        folder = target_key(service.target_prefix, image_id).rpartition("/")[0]
        count = await service.store.remove_all(f"{folder}/")
        log.info("cutouts_removed", image_id=image_id, count=count)
    else:
        raise Superseded("The row is still there, or there again: its cut-outs stay.")


async def _good_already(
    row: RowState, request: RemovalRequest, service: Service
) -> RemovalResult | None:
    """Return the result of the cut-out that lies there, if it is good; None if S3 can't tell.

    Renditions that are missing are left out.
    """
    try:
        seen = await _look(target_key(service.target_prefix, request.image_id), service)
        source = await service.store.find(request.image_id, row.source_key)
    except RemovalError:
        return None
    result = _vouched_for(request, seen.cutout, source, service)
    return None if result is None else _with_renditions(result, _judged(result, seen, service))


@dataclass(frozen=True, slots=True)
class _Seen:
    """What lay in S3 when it was looked at; no renditions are looked for without a cut-out."""

    cutout: StandingCutout | None
    beside: Mapping[str, StandingCutout]


async def _look(key: str, service: Service) -> _Seen:
    cutout = await service.store.look(key)
    if cutout is None or not service.renditions:
        return _Seen(cutout, {})
    return _Seen(cutout, await look_beside(service.store, key, service.renditions))


def _judged(result: RemovalResult, seen: _Seen, service: Service) -> Beside:
    return judge_beside(seen.beside, result.key, result.etag, service.renditions)


def _with_renditions(result: RemovalResult, beside: Beside) -> RemovalResult:
    return replace(result, renditions=tuple(beside.good.values()), subject=beside.subject)


async def _in_time(request: RemovalRequest, turn: Turn, service: Service) -> RemovalResult:
    clock = StageClock()
    with _told_if_unfinished(request, clock):
        try:
            with fail_after(service.job_timeout_s):
                await turn.comes()
                return await _until_first(request, turn, service, clock)
        except TimeoutError as exc:
            raise DeadlineExceeded(f"Not done after {service.job_timeout_s:g} s.") from exc


@contextmanager
def _told_if_unfinished(request: RemovalRequest, clock: StageClock) -> Iterator[None]:
    """Log how far a job came that made no cut-out; why is logged with each answer."""
    try:
        yield
    except BaseException as exc:
        if isinstance(exc, RemovalError):
            code = exc.code
        else:  # a bug of ours; or cancelled, because nobody waits for it any more
            code = ServiceFault.code if isinstance(exc, Exception) else "abandoned"
        log.info(
            "removal_unfinished",
            image_id=request.image_id,
            model=request.model,
            code=code,
            **clock.fields(),
        )
        raise


async def _until_first(
    request: RemovalRequest, turn: Turn, service: Service, clock: StageClock
) -> RemovalResult:
    """Go round until nobody else was first, or too often."""
    journey = _Journey(request, turn, service, clock)
    for _ in range(MAX_ROUNDS):
        try:
            return await journey.go_round()
        except Superseded as reason:
            log.info("round_again", reason=str(reason))
        except RowNotFound:
            await journey.leave_nothing_behind()
            raise
    raise _contended()


def _contended() -> Superseded:
    return Superseded("Others keep working on this image at the same time; ask again.")


@dataclass(slots=True)
class _Journey:
    """One job's rounds.

    Attributes:
        request: What is asked for.
        turn: The job's place among those of its image.
        service: What it needs.
        clock: Times its stages.
        stored: ETags of what it has stored last, by their keys.
        stored_for: The source of the cut-out among them.
        png_bytes: The size of that.
        renditions_made: How many.
    """

    request: RemovalRequest
    turn: Turn
    service: Service
    clock: StageClock
    stored: dict[str, str] = field(default_factory=dict)
    stored_for: SourceObject | None = None
    png_bytes: int | None = None
    renditions_made: int = 0

    @property
    def key(self) -> str:
        """Where the cut-out goes."""
        return target_key(self.service.target_prefix, self.request.image_id)

    async def go_round(self) -> RemovalResult:
        """Look, make what is missing, write it down.

        Raises:
            Superseded: somebody else wrote first: what was seen is no longer so.
            RemovalError: any other, as `remove_background`.
        """
        service, clock = self.service, self.clock
        # Nobody joins any more: the row may name another source for whoever asks from now on.
        self.turn.close()
        # In this order: whoever overwrites what is seen here changes what was seen before it.
        with clock.stage("look"):
            row = await service.rows.look(self.request.image_id)
        try:
            return await self._go_round_from(row)
        except RemovalError as error:
            error.lock_version, error.row_created_at = row.lock_version, row.created_at
            raise

    async def _go_round_from(self, row: RowState) -> RemovalResult:
        service, clock = self.service, self.clock
        with clock.stage("check"):
            seen = await _look(self.key, service)
        try:
            with clock.stage("find"):
                source = await service.store.find(self.request.image_id, row.source_key)
            found = _vouched_for(self._wish(source), seen.cutout, source, service)
            result = await self._complete(found, seen) if found else None
            is_hit = result is not None
            if result is None:
                result = await self._make(source, seen)
        except ImageRejected as verdict:
            with clock.stage("record"):
                await service.rows.record_failed(row, verdict)
            raise
        with clock.stage("record"):
            await service.rows.record_done(row, result)
        if is_hit:
            CERTIFICATE_HITS.inc()
        if not service.store.keeps_conditions:
            await self._look_back(row, result)
        self._tell(result, source, is_hit)
        return result

    async def leave_nothing_behind(self) -> None:
        """Remove what this job has stored, as its row is gone."""
        for key, etag in self.stored.items():
            try:
                await self.service.store.remove(key, etag)
            except RemovalError as error:
                log.warning("cutout_left_behind", key=key, reason=str(error))

    async def _make(self, source: SourceObject, seen: _Seen) -> RemovalResult:
        """Make and store all anew."""
        service, request, clock = self.service, self.request, self.clock
        recipe = Recipe(service.models.identify(request.model))
        making = service.cutter.cut_out(
            source, recipe.model, service.renditions, request.priority, clock
        )
        async with making as (cutout, renditions):
            result = RemovalResult(
                image_id=request.image_id,
                key=self.key,
                model=recipe.model.name,
                width=cutout.width,
                height=cutout.height,
                coverage=cutout.coverage,
            )
            written = certificate(source, recipe, result)
            replaces = seen.cutout.etag if seen.cutout else None
            with clock.stage("store"):
                etag = await service.store.store(self.key, cutout.png, written, replaces)
            self.stored[self.key], self.stored_for = etag, source
            self.png_bytes = len(cutout.png)
            CUTOUT_BYTES.inc(self.png_bytes)
            result = replace(result, etag=etag)
            return await self._store_beside(result, Beside(), renditions, seen)

    async def _complete(self, result: RemovalResult, seen: _Seen) -> RemovalResult | None:
        """Make the renditions that a good cut-out lacks; None if it can't be read: it is not good.

        Raises:
            Superseded: another cut-out has taken its place.
        """
        beside = _judged(result, seen, self.service)
        if not beside.missing or seen.cutout is None:
            return _with_renditions(result, beside)
        cutout = SourceObject(self.key, seen.cutout.etag, seen.cutout.size_bytes)
        try:
            making = self.service.cutter.renditions_of(
                cutout, beside.missing, self.request.priority, self.clock
            )
            async with making as renditions:
                return await self._store_beside(result, beside, renditions, seen)
        except ImageRejected as verdict:
            log.warning("cutout_unreadable", key=self.key, reason=str(verdict))
            return None
        except (SourceNotFound, StorageUnavailable) as error:
            now = await self.service.store.look(self.key)
            if now is None or now.etag != cutout.etag:
                raise Superseded("Another cut-out was stored meanwhile.") from error
            raise

    async def _store_beside(
        self, result: RemovalResult, beside: Beside, made: Renditions, seen: _Seen
    ) -> RemovalResult:
        """Store renditions that were made; return the result with all of them."""
        if not made.files:
            return result
        with self.clock.stage("store_renditions"):
            await store_beside(
                self.service.store, self.key, result.etag, made, seen.beside, self.stored
            )
        self.renditions_made += len(made.files)
        there = {**beside.good, **described(made, self.key)}
        in_order = tuple(there[recipe.name] for recipe in self.service.renditions)
        return replace(result, renditions=in_order, subject=made.subject)

    def _wish(self, source: SourceObject) -> RemovalRequest:
        """Return what is left to ask for.

        Once this job's own cut-out was stored, another one of the same source may take its place,
        by whoever asks for another model: then the row follows what lies there.
        """
        return replace(self.request, model=None) if source == self.stored_for else self.request

    async def _look_back(self, row: RowState, result: RemovalResult) -> None:
        """Look whether an S3 that keeps no conditions has let somebody overwrite this meanwhile."""
        seen = await _look(result.key, self.service)
        source = await self.service.store.find(self.request.image_id, row.source_key)
        good = _vouched_for(self._wish(source), seen.cutout, source, self.service)
        if good is None or good.etag != result.etag or _judged(good, seen, self.service).missing:
            raise Superseded("Another cut-out was stored meanwhile.")

    def _tell(self, result: RemovalResult, source: SourceObject, is_hit: bool) -> None:
        log.info(
            "removal_finished",
            image_id=result.image_id,
            key=result.key,
            model=result.model,
            width=result.width,
            height=result.height,
            coverage=round(result.coverage, 4),
            certificate_hit=is_hit,
            source_bytes=source.size_bytes,
            png_bytes=self.png_bytes,
            renditions_made=self.renditions_made,
            **self.clock.fields(),
        )


def _vouched_for(
    request: RemovalRequest,
    standing: StandingCutout | None,
    source: SourceObject,
    service: Service,
) -> RemovalResult | None:
    """Return the result that lies there already, if it is what the request asks for."""
    if standing is None:
        return None
    key = target_key(service.target_prefix, request.image_id)
    try:
        model = service.models.identify(request.model or standing.certificate.get("model"))
    except ModelNotAllowed:  # it is no longer served
        return None
    return certified_result(request.image_id, key, standing, source, Recipe(model))
