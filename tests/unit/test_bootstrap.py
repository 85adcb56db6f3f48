import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import torch
from anyio import fail_after

from tests.support.fakes import FakeNetwork, FakeRows, FakeStore
from tests.support.house import cutter_of
from webhook.bootstrap import open_rows, open_service, open_service_on
from webhook.domain import ModelIdentity
from webhook.errors import ConfigurationError
from webhook.pipeline import Service
from webhook.segmentation.device import Device
from webhook.segmentation.weights import LoadedModel
from webhook.settings import load_job_settings, load_row_settings

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


async def test_documents_that_are_wrong_are_told_before_any_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_BUCKET", "images")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("HASURA_GRAPHQL_ENDPOINT", "http://hasura:8080")
    monkeypatch.setenv("HASURA_GRAPHQL_ADMIN_SECRET", "admin-secret")
    monkeypatch.setenv("GRAPHQL_DOCUMENTS", str(tmp_path))

    def never_loaded(_: object) -> dict[str, LoadedModel]:
        raise AssertionError("a model was loaded")

    with pytest.raises(ConfigurationError, match=r"find_row\.graphql: is missing"):
        async with open_service(load_job_settings(), never_loaded):
            pass
    with pytest.raises(ConfigurationError, match=r"list_images\.graphql: is missing"):
        open_rows(load_row_settings())
