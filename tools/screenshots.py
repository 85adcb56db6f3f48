"""Makes the documentation's pictures of the demo page: `python -m tools.screenshots`.

From the running page, in a real Chromium, with the sample photographs.
"""

import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, StorageState, ViewportSize, sync_playwright

from devstack.backend import page_server
from devstack.stack import demo_stack
from tests.support.browser import ARGUMENTS

_FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"
_SAMPLES = ("flower", "chelsea", "coffee")
_DONE = "[data-phase=done]"
_DESK = ViewportSize(width=1360, height=1180)
_PHONE = ViewportSize(width=390, height=844)


def main() -> None:
    """Make them all."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("Chromium is missing; Debian: apt-get install chromium")
    with (
        tempfile.TemporaryDirectory() as folder,
        demo_stack(Path(folder)) as stack,
        page_server(stack) as (url, _),
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        state = _photograph_light(browser, url)
        _photograph_dark(browser, url, state)
        _photograph_phone(browser, url, state)
        browser.close()


def _photograph_light(browser: Browser, url: str) -> StorageState:
    """Add the samples; return the visitor's cookies, for the other pictures to show the same."""
    context = browser.new_context(viewport=_DESK)
    page = context.new_page()
    page.goto(url)
    for name in _SAMPLES:
        page.get_by_role("button", name=name).click()
        page.get_by_role("article").filter(has_text=name).and_(page.locator(_DONE)).wait_for()
    page.get_by_role("button", name="Run again").first.click()
    page.locator(".note:not([hidden])").wait_for()
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    _save(page, "page-light")
    return context.storage_state()


def _photograph_dark(browser: Browser, url: str, state: StorageState) -> None:
    context = browser.new_context(viewport=_DESK, color_scheme="dark", storage_state=state)
    page = context.new_page()
    page.goto(url)
    page.locator(_DONE).nth(len(_SAMPLES) - 1).wait_for()
    page.locator("summary").click()
    for slider in page.get_by_role("slider").all():
        slider.press("PageDown")
        slider.press("PageDown")
    page.evaluate("document.activeElement.blur()")
    _show_photographs(page)
    _save(page, "page-dark")


def _photograph_phone(browser: Browser, url: str, state: StorageState) -> None:
    context = browser.new_context(
        viewport=_PHONE, device_scale_factor=2, is_mobile=True, has_touch=True, storage_state=state
    )
    page = context.new_page()
    page.goto(url)
    page.locator(_DONE).nth(len(_SAMPLES) - 1).wait_for()
    _show_photographs(page)
    _save(page, "page-phone")


def _show_photographs(page: Page) -> None:
    page.get_by_role("heading", name="Your photographs").evaluate(
        "it => scrollTo(0, it.getBoundingClientRect().top - 84)"
    )


def _save(page: Page, name: str) -> None:
    page.wait_for_timeout(300)  # for the last transition
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").save(_FOLDER / f"{name}.webp", quality=82, method=6)
    print(f"docs/images/{name}.webp")


if __name__ == "__main__":
    main()
