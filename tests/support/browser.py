"""The demo page in Chromium: how the browser is started, and what a visitor does with the page."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import BrowserContext, Locator, Page, expect

from tests.support.photos import COFFEE

ARGUMENTS = [  # also as root, without a GPU, and without calls of its own
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
NewVisitor = Callable[..., Awaitable[BrowserContext]]


@asynccontextmanager
async def opened(
    visitor: BrowserContext, page_url: str, *, outages: bool = False
) -> AsyncIterator[Page]:
    """Open the page; with `outages` the browser may complain about calls that fail."""
    page = await visitor.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    await page.goto(page_url)
    await expect(page.locator("#connection")).to_have_text("Live")
    yield page
    if not outages:
        assert complaints == []


async def add(page: Page, *files: Path) -> None:
    await page.locator("#files").set_input_files(files)


def card(page: Page, title: str) -> Locator:
    return page.get_by_role("article").filter(has_text=title)


async def done_card(page: Page, photo: Path = COFFEE) -> Locator:
    """Add a photograph and wait for its cut-out."""
    await add(page, photo)
    done = card(page, photo.name)
    await expect(done).to_have_attribute("data-phase", "done")
    return done


async def text_file(page: Page, folder: Path) -> Locator:
    """Add a text file that is named like a photograph, and wait until its row says so."""
    file = folder / "notes.jpg"
    file.write_text("not a photograph\n" * 20)
    await add(page, file)
    failed = card(page, file.name)
    await expect(failed).to_have_attribute("data-phase", "failed")
    return failed
