"""One Chromium and one page server for all; each visitor has a cookie, so rows, of its own."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from devstack.backend import page_server
from devstack.stack import Stack
from tests.support.browser import ARGUMENTS, NewVisitor, opened

PATIENCE_MS = 20_000


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the browser; without one the tests are skipped, unless REQUIRE_BROWSER is set."""
    path = shutil.which("chromium")
    if path is None and os.environ.get("REQUIRE_BROWSER"):
        pytest.fail("Chromium is missing; REQUIRE_BROWSER asks for these tests: make browser")
    if path is None:
        pytest.skip("THE PAGE IS NOT TESTED: Chromium is missing; apt-get install chromium")
    return path


@pytest.fixture(scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def page_url(stack: Stack) -> Iterator[str]:
    with page_server(stack) as (url, _):
        yield url


@pytest.fixture
async def new_visitor(browser: Browser) -> AsyncIterator[NewVisitor]:
    """Make a browser of another visitor, with its own cookies."""
    visitors = []

    async def make(**options: Any) -> BrowserContext:
        visitor = await browser.new_context(**options)
        visitor.set_default_timeout(PATIENCE_MS)
        visitors.append(visitor)
        return visitor

    yield make
    for visitor in visitors:
        await visitor.close()


@pytest.fixture
async def visitor(new_visitor: NewVisitor) -> BrowserContext:
    return await new_visitor(viewport={"width": 1440, "height": 1000})


@pytest.fixture
async def page(visitor: BrowserContext, page_url: str) -> AsyncIterator[Page]:
    """The page, open and live; whatever its console complains about fails the test."""
    async with opened(visitor, page_url) as page:
        yield page
