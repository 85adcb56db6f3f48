"""The run of a backfill: what the inventory finds is done, while it goes on looking.

Which rows are looked at, and what is said at the end, is in backfill.py.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from anyio import CancelScope, create_memory_object_stream, create_task_group
from anyio.streams.memory import MemoryObjectSendStream

from webhook.commands.backfill.failures import FailureList
from webhook.commands.progress import ProgressReport
from webhook.commands.runner import do_all, patiently
from webhook.domain import RemovalRequest, RemovalResult
from webhook.errors import ModelNotAllowed, RemovalError, RequestRejected
from webhook.inventory import Inventory, OutstandingRow

# An outage is waited out for two minutes. So many images in a row that fail by no fault of their
# own mean that the next ones would fail too.
PAUSES_S = (1, 2, 4, 8, 15, 30, 30, 30)
FAULTS_IN_A_ROW = 10

# Found ahead of the work, so that the time left can be told. What is more waits in the table.
_FOUND_AHEAD = 100_000

Remover = Callable[[RemovalRequest], Awaitable[RemovalResult]]
"""Who does a job, here or elsewhere."""


class Search:
    """All that an inventory finds, up to a limit; outages are waited out."""

    def __init__(self, inventory: Inventory, report: ProgressReport, limit: int | None) -> None:
        self._inventory = inventory
        self._report = report
        self._limit = limit
        self.row_count = 0

    async def __aiter__(self) -> AsyncIterator[OutstandingRow]:
        """Page through the table.

        Raises:
            RemovalError: as of `Inventory.page`, when waiting did not help.
        """
        count, after = 0, None
        while True:
            look = partial(self._inventory.page, after)
            page = await patiently(look, PAUSES_S, self._report.note_outage)
            self.row_count += page.row_count
            left = None if self._limit is None else self._limit - count
            outstanding = page.outstanding[:left]
            count += len(outstanding)
            is_last = page.next_after is None or count == self._limit
            self._report.expect(len(outstanding), more_may_come=not is_last)
            for row in outstanding:
                yield row
            if is_last:
                return
            after = page.next_after


class Backfill:
    """Does what was found; lists what failed; gives up when nothing succeeds any more.

    `gave_up` is why, if it did.
    """

    def __init__(
        self,
        remove: Remover,
        report: ProgressReport,
        failures: FailureList,
        default_model: str | None = None,
    ) -> None:
        """Begin nothing yet.

        Args:
            remove: Does each.
            report: Is told what became of each.
            failures: Gets a line for each image that failed.
            default_model: What stale cut-outs are made anew by. It must be named: who names no
                model is content with the cut-out that lies there, if its model is still served.
        """
        self._remove = remove
        self._report = report
        self._failures = failures
        self._default_model = default_model
        self._faults_in_a_row = 0
        self._scope = CancelScope()
        self.gave_up: RemovalError | None = None

    async def run(self, search: Search, concurrency: int) -> None:
        """Do all that is found, `concurrency` images at once."""
        send, receive = create_memory_object_stream[OutstandingRow](_FOUND_AHEAD)
        with self._scope:
            async with create_task_group() as group:
                group.start_soon(self._find, search, send)
                await do_all(receive, self._do, self._ended, concurrency)

    async def _find(self, search: Search, send: MemoryObjectSendStream[OutstandingRow]) -> None:
        with send:
            try:
                async for row in search:
                    await send.send(row)
            except RemovalError as error:
                self._give_up(error)

    async def _do(self, row: OutstandingRow) -> RemovalResult:
        model = self._default_model if row.reason == "stale" else None
        job = partial(self._remove, RemovalRequest(row.image_id, model, "backfill"))
        return await patiently(job, PAUSES_S, self._report.note_outage)

    def _ended(self, row: OutstandingRow, outcome: RemovalResult | RemovalError) -> None:
        if isinstance(outcome, RemovalResult):
            self._faults_in_a_row = 0
            self._report.add_done(row.image_id, outcome, key=outcome.key)
            return
        self._failures.add(row.image_id, outcome)
        self._report.add_failed(row.image_id, outcome)
        self._faults_in_a_row += 1
        # The image's own fault, or its row's; but for the model, of which we name the only one.
        if isinstance(outcome, RequestRejected) and not isinstance(outcome, ModelNotAllowed):
            self._faults_in_a_row = 0
        if self._faults_in_a_row == FAULTS_IN_A_ROW:
            self._give_up(outcome)

    def _give_up(self, error: RemovalError) -> None:
        self.gave_up = error
        self._scope.cancel()
