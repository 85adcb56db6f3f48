"""What a visitor does with the page, in a real browser."""

import io
import re
from pathlib import Path

from PIL import Image
from playwright.async_api import BrowserContext, Page, expect

from devstack.stack import Stack
from tests.support.browser import NewVisitor, add, card, done_card, opened, text_file
from tests.support.photos import COFFEE


async def test_a_dropped_photograph_becomes_a_cutout_to_download(page: Page) -> None:
    encoded = list(COFFEE.read_bytes())
    dropped = await page.evaluate_handle(
        """bytes => {
          const transfer = new DataTransfer();
          const file = new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" });
          transfer.items.add(file);
          return transfer;
        }""",
        encoded,
    )
    await page.dispatch_event("#drop", "drop", {"dataTransfer": dropped})

    done = card(page, "dropped.png")
    await expect(done).to_have_attribute("data-phase", "done")
    await expect(done.locator(".size")).to_have_text("600 × 400")
    await expect(done.locator(".time")).to_have_text(re.compile(r"^[\d.]+ m?s$"))
    await expect(done.locator(".coverage")).to_have_text(re.compile(r"^\d+ %$"))
    async with page.expect_download() as download:
        await done.get_by_role("button", name="Download PNG").click()
    with Image.open(io.BytesIO((await (await download.value).path()).read_bytes())) as cutout:
        assert (cutout.format, cutout.mode, cutout.size) == ("PNG", "RGBA", (600, 400))


async def test_a_sample_takes_one_click(page: Page) -> None:
    await page.get_by_role("button", name="rocket").click()
    await expect(card(page, "rocket")).to_have_attribute("data-phase", "done")


async def test_a_status_arrives_without_a_reload_in_every_tab(
    page: Page, visitor: BrowserContext, page_url: str
) -> None:
    async with opened(visitor, page_url) as second:
        await done_card(page)
        await expect(second.get_by_role("article")).to_have_attribute("data-phase", "done")
        await expect(second.locator(".cutout")).to_have_js_property("naturalWidth", 600)


async def test_another_visitor_sees_nothing_of_it(
    page: Page, new_visitor: NewVisitor, page_url: str
) -> None:
    await done_card(page)
    async with opened(await new_visitor(), page_url) as other:
        await expect(other.locator("#empty")).to_be_visible()


async def test_the_divider_follows_the_mouse(page: Page) -> None:
    done = await done_card(page)
    await done.scroll_into_view_if_needed()
    box = await done.locator(".frame").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    await page.mouse.move(box["x"] + box["width"] / 2, middle)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] * 0.2, middle, steps=5)
    await page.mouse.up()
    await page.mouse.move(box["x"] + box["width"] * 0.9, middle)  # released: nothing follows

    divider = done.get_by_role("slider")
    await expect(divider).to_have_attribute("aria-valuenow", "20")
    await expect(divider).to_have_attribute("aria-valuetext", "20 % original, 80 % cut-out")
    clip = await done.locator(".after").evaluate("it => getComputedStyle(it).clipPath")
    assert clip == "inset(0px 0px 0px 20%)"


async def test_the_divider_follows_the_keyboard(page: Page) -> None:
    divider = (await done_card(page)).get_by_role("slider")
    await divider.focus()
    for keys, place in (
        (["ArrowRight", "ArrowUp", "ArrowUp"], "56"),
        (["ArrowLeft"], "54"),
        (["PageUp"], "64"),
        (["Shift+ArrowLeft"], "54"),
        (["Home", "ArrowDown"], "0"),
        (["End", "PageUp"], "100"),
    ):
        for key in keys:
            await divider.press(key)
        await expect(divider).to_have_attribute("aria-valuenow", place)


async def test_a_backdrop_is_chosen_for_all(page: Page) -> None:
    after = (await done_card(page)).locator(".after")
    for name, colour in (("White", "rgb(255, 255, 255)"), ("Black", "rgb(0, 0, 0)")):
        await page.get_by_role("radio", name=name).press(" ")
        await expect(after).to_have_css("background-color", colour)
    await page.get_by_role("radio", name="Colour").press(" ")
    await page.get_by_label("Colour of the backdrop").fill("#336699")
    await expect(after).to_have_css("background-color", "rgb(51, 102, 153)")


async def test_a_failing_file_is_told_in_words_with_its_code(page: Page, tmp_path: Path) -> None:
    failed = await text_file(page, tmp_path)
    await expect(failed.locator(".error")).to_contain_text("no JPEG, PNG, GIF or WEBP image")
    await expect(failed.locator(".error")).to_contain_text("unsupported-image")

    await failed.get_by_role("button", name="Try again").click()
    sent = page.locator("#exchanges > li").filter(has_text="RemoveBackground")
    await expect(sent.locator(".outcome")).to_have_text("unsupported-image")
    await expect(failed.locator(".error")).to_contain_text("unsupported-image")


async def test_a_file_of_another_type_is_refused_before_it_travels(
    page: Page, tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("Dear reader")
    (tmp_path / "empty.png").touch()
    await add(page, tmp_path / "letter.txt", tmp_path / "empty.png")
    await expect(card(page, "letter.txt").locator(".error")).to_contain_text("unsupported-type")
    await expect(card(page, "empty.png").locator(".error")).to_contain_text("unsuitable-size")
    await expect(page.locator("#exchanges > li")).to_have_count(1)  # the subscription alone


async def test_a_failed_upload_can_be_tried_again(
    visitor: BrowserContext, page_url: str, stack: Stack
) -> None:
    async with opened(visitor, page_url, outages=True) as page:
        await page.route(f"{stack.s3.endpoint_url}/**", lambda route: route.abort())
        await add(page, COFFEE)
        failed = card(page, COFFEE.name)
        await expect(failed.locator(".error")).to_contain_text("upload-failed")
        await page.unroute_all()
        await failed.get_by_role("button", name="Try again").click()
        await expect(failed).to_have_attribute("data-phase", "done")


async def test_a_photograph_is_run_again_by_the_mutation(page: Page) -> None:
    done = await done_card(page)
    await done.get_by_role("button", name="Run again").click()
    await expect(done.locator(".note")).to_contain_text("removeBackground answered in")
    sent = page.locator("#exchanges > li").filter(has_text="RemoveBackground")
    await expect(sent.locator(".answer")).to_contain_text('"status": "done"')


async def test_the_page_comes_back_when_the_engine_does(
    visitor: BrowserContext, page_url: str, stack: Stack
) -> None:
    async with opened(visitor, page_url, outages=True) as page:
        stack.engine.stop()
        try:
            await expect(page.locator("#connection")).to_have_text("Reconnecting")
        finally:
            stack.engine.start()
            stack.wait_until_ready()
        await expect(page.locator("#connection")).to_have_text("Live")
        await done_card(page)


async def test_a_run_that_fails_takes_no_cutout_away(
    visitor: BrowserContext, page_url: str, stack: Stack
) -> None:
    async with opened(visitor, page_url, outages=True) as page:
        done = await done_card(page)
        await page.route(stack.graphql_url, lambda route: route.abort())
        await done.get_by_role("button", name="Run again").click()
        await expect(done.locator(".error")).to_contain_text("no-answer")
        await expect(done).to_have_attribute("data-phase", "done")
        await page.unroute_all()
        await done.get_by_role("button", name="Run again").click()
        await expect(done.locator(".note")).to_be_visible()
        await expect(done.locator(".error")).to_be_hidden()
