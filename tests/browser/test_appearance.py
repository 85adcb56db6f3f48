"""How the page looks and reads: dark mode, a phone's width, and what axe-core finds."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, ViewportSize, expect

from tests.support.browser import NewVisitor, done_card, opened, text_file

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
DESK: ViewportSize = {"width": 1440, "height": 1000}
PHONE: ViewportSize = {"width": 360, "height": 740}


@pytest.fixture(scope="session")
def axe() -> str:
    if not AXE.exists():
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail("axe-core is missing; REQUIRE_BROWSER asks for these tests: make browser")
        pytest.skip("ACCESSIBILITY IS NOT TESTED: axe-core is missing; make browser")
    return AXE.read_text("utf-8")


async def findings(page: Page, axe: str) -> list[str]:
    """What axe-core has against the page as it stands, best practices included."""
    await page.evaluate(axe)
    result: dict[str, Any] = await page.evaluate("axe.run()")
    return [
        f"{violation['id']}: {json.dumps(node['target'])} {node['failureSummary']}"
        for violation in result["violations"]
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
async def test_axe_finds_nothing(
    new_visitor: NewVisitor, page_url: str, axe: str, tmp_path: Path, size: ViewportSize
) -> None:
    # axe-core is a script of ours, which the page's own policy would refuse.
    # Colours on their way from one to another are not what it is about.
    visitor = await new_visitor(viewport=size, bypass_csp=True, reduced_motion="reduce")
    async with opened(visitor, page_url) as page:
        assert await findings(page, axe) == []
        done = await done_card(page)
        await done.get_by_role("button", name="Run again").click()
        await expect(done.locator(".note")).to_be_visible()
        await text_file(page, tmp_path)
        assert await findings(page, axe) == []
        await page.emulate_media(color_scheme="dark")
        assert await findings(page, axe) == []
        if size is PHONE:
            await page.get_by_role("button", name="GraphQL").click()
            await page.locator("summary").last.click()
            assert await findings(page, axe) == []


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
async def test_it_follows_the_systems_colours(
    new_visitor: NewVisitor, page_url: str, scheme: str, is_dark: bool
) -> None:
    async with opened(await new_visitor(color_scheme=scheme), page_url) as page:
        paper = await page.evaluate(
            "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
        )
    assert (max(paper) < 64) == is_dark


async def test_on_a_phone_nothing_is_wider_than_the_screen(
    new_visitor: NewVisitor, page_url: str, tmp_path: Path
) -> None:
    visitor = await new_visitor(viewport=PHONE, has_touch=True, is_mobile=True)
    async with opened(visitor, page_url) as page:
        await done_card(page)
        await text_file(page, tmp_path)
        width = "document.documentElement.scrollWidth"
        assert await page.evaluate(width) == PHONE["width"]

        panel = page.get_by_role("complementary", name="GraphQL")
        await expect(panel).to_be_hidden()
        toggle = page.get_by_role("button", name="GraphQL")
        await toggle.tap()
        await panel.locator("summary").last.tap()
        assert await page.evaluate(width) == PHONE["width"]
        await page.keyboard.press("Escape")
        await expect(panel).to_be_hidden()
        await expect(toggle).to_be_focused()


async def test_a_finger_moves_the_divider(new_visitor: NewVisitor, page_url: str) -> None:
    visitor = await new_visitor(viewport=PHONE, has_touch=True, is_mobile=True)
    async with opened(visitor, page_url) as page:
        done = await done_card(page)
        await done.scroll_into_view_if_needed()
        box = await done.locator(".frame").bounding_box()
        assert box is not None
        await page.touchscreen.tap(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)
        await expect(done.get_by_role("slider")).to_have_attribute("aria-valuenow", "75")
