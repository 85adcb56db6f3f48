"""The side panel: the very GraphQL that was sent and answered."""

import json
import shlex
from pathlib import Path

import httpx2
from playwright.async_api import BrowserContext, Page, Request, Response, expect

from devstack.stack import Stack
from tests.support.browser import done_card, text_file

DOCUMENTS = Path(__file__).parents[2] / "graphql"


async def test_it_shows_what_was_sent_and_answered(page: Page) -> None:
    requests: list[Request] = []
    page.on("request", lambda request: requests.append(request))
    await done_card(page)

    entry = page.locator("#exchanges > li").filter(has_text="InsertImage")
    (sent,) = [json.loads(it.post_data or "") for it in requests if "InsertImage" in _body(it)]
    document = (DOCUMENTS / "insert_image.graphql").read_text()
    assert sent["query"] == document
    assert await entry.locator(".query").text_content() == document.strip()
    assert json.loads(await entry.locator(".variables").inner_text()) == sent["variables"]
    answer = json.loads(await entry.locator(".answer").inner_text())
    assert answer["data"]["insert_images_one"]["status"] == "pending"

    live = page.locator("#exchanges > li").filter(has_text="WatchImages")
    await live.locator("summary").click()
    rows = json.loads(await live.locator(".answer").inner_text())["data"]["images"]
    assert [row["status"] for row in rows] == ["done"]


async def test_what_is_copied_runs_as_the_visitor(
    page: Page, visitor: BrowserContext, stack: Stack
) -> None:
    await visitor.grant_permissions(["clipboard-read", "clipboard-write"])
    done = await done_card(page)
    await done.get_by_role("button", name="Run again").click()
    entry = page.locator("#exchanges > li").filter(has_text="RemoveBackground")
    await entry.locator("summary").click()
    await entry.get_by_role("button", name="Copy as curl").click()
    await expect(entry.get_by_role("button", name="Copied")).to_be_visible()
    copied = await page.evaluate("navigator.clipboard.readText()")
    command = shlex.split(copied.replace("\\\n", " "))  # as a shell joins lines

    assert command[:3] == ["curl", "-s", stack.graphql_url]
    options = list(zip(command[3::2], command[4::2], strict=True))
    headers = dict(value.split(": ", 1) for option, value in options if option == "-H")
    body = dict(options)["-d"]
    answer = httpx2.post(command[2], content=body, headers=headers, timeout=60).json()
    assert answer["data"]["removeBackground"]["image"]["status"] == "done"


async def test_no_secret_of_the_operator_reaches_the_browser(
    visitor: BrowserContext, page_url: str, stack: Stack, tmp_path: Path
) -> None:
    seen: list[str] = []
    page = await visitor.new_page()
    page.on("request", lambda request: seen.append(str(request.headers) + _body(request)))
    answers: list[Response] = []
    page.on("response", lambda response: answers.append(response))
    await page.goto(page_url)
    await text_file(page, tmp_path)
    seen.append(await page.content())
    for answer in answers:
        if "/api/" in answer.url:
            seen.append(await answer.text())

    everything = "\n".join(seen)
    assert "visitor" not in await page.evaluate("document.cookie")
    for secret in (stack.admin_secret, stack.webhook_secret, stack.jwt_key, stack.s3.secret_key):
        assert secret not in everything


def _body(request: Request) -> str:
    return (request.post_data_buffer or b"").decode(errors="replace")
