import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import torch
from anyio import fail_after

from tests.support.fakes import FakeNetwork, FakeRows, FakeStore
from tests.support.house import cutter_of
from webhook.bootstrap import open_service_on
from webhook.domain import ModelIdentity
from webhook.pipeline import Service
from webhook.segmentation.device import Device
from webhook.segmentation.weights import LoadedModel
from webhook.settings import load_job_settings

MAX_SOURCE_BYTES = 1000


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    settings = load_job_settings(
        s3_bucket="none", models="embedded", max_source_bytes=MAX_SOURCE_BYTES
    )
    cpu = Device(torch.device("cpu"), torch.float32)
    fake = LoadedModel(ModelIdentity("fake", "r1", "float32"), FakeNetwork(), 16, cpu)
    async with open_service_on(
        FakeStore(), FakeRows(), settings, lambda _: {"fake": fake}
    ) as service:
        yield service


async def test_feeders_and_renderers_take_no_threads_from_each_other(service: Service) -> None:
    for number in range(int(cutter_of(service).feeders.total_tokens)):
        cutter_of(service).feeders.acquire_on_behalf_of_nowait(number)
    assert cutter_of(service).feeders.available_tokens == 0
    assert (
        cutter_of(service).renderers.available_tokens == cutter_of(service).renderers.total_tokens
    )


async def test_eight_of_the_largest_sources_fit_into_the_budget_together(service: Service) -> None:
    budget = cutter_of(service).source_bytes

    async def hold_one_more() -> None:
        async with budget.share(1, "live"):
            pass

    async with AsyncExitStack() as held:
        for _ in range(8):
            with fail_after(5):
                await held.enter_async_context(
                    cutter_of(service).source_bytes.share(MAX_SOURCE_BYTES, "live")
                )
        one_more = asyncio.create_task(hold_one_more())
        await asyncio.sleep(0)
        assert not one_more.done()
    await one_more
