"""The rule for all pictures: a cut-out looks as Chromium shows its source.

Some hundred files of all kinds, sound and damaged, are drawn on a canvas there and decoded here.
"""

import base64
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.async_api import Browser

from tests.support.pictures import Outcome, Specimen, all_specimens
from webhook.errors import ImageRejected
from webhook.imaging import decode

Pixels = NDArray[np.uint8]
SPECIMENS = all_specimens()
MAX_PIXELS = 1_000_000
AT_ONCE = 50

DRAW = """
async (files) => {
  const drawn = [];
  for (const file of files) {
    const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
    const image = new Image();
    const url = URL.createObjectURL(new Blob([bytes]));
    const loaded = new Promise((resolve) => {
      image.onload = () => resolve(true);
      image.onerror = () => resolve(false);
    });
    image.src = url;
    if (await loaded) {
      const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
      let letters = "";
      for (let start = 0; start < pixels.length; start += 8192) {
        letters += String.fromCharCode(...pixels.subarray(start, start + 8192));
      }
      drawn.push([canvas.height, canvas.width, btoa(letters)]);
    } else {
      drawn.push(null);
    }
    URL.revokeObjectURL(url);
  }
  return drawn;
}
"""


@pytest.fixture(scope="session")
async def in_chromium(browser: Browser) -> Mapping[str, Pixels | None]:
    """Return what Chromium draws of each specimen, RGBA; None where it shows nothing."""
    page = await browser.new_page()
    drawn: dict[str, Pixels | None] = {}
    for start in range(0, len(SPECIMENS), AT_ONCE):
        some = SPECIMENS[start : start + AT_ONCE]
        files = [base64.b64encode(specimen.data).decode() for specimen in some]
        for specimen, answer in zip(some, await page.evaluate(DRAW, files), strict=True):
            drawn[specimen.name] = _pixels(answer)
    await page.close()
    return drawn


def _pixels(answer: tuple[int, int, str] | None) -> Pixels | None:
    if answer is None:
        return None
    height, width, letters = answer
    return np.frombuffer(base64.b64decode(letters), np.uint8).reshape(height, width, 4)


@pytest.mark.parametrize("specimen", SPECIMENS, ids=lambda specimen: specimen.name)
def test_a_picture_looks_as_in_the_browser(
    specimen: Specimen, in_chromium: Mapping[str, Pixels | None]
) -> None:
    shown = in_chromium[specimen.name]
    try:
        decoded = decode(specimen.data, MAX_PIXELS).rgba
    except ImageRejected:
        decoded = None
    if decoded is None:
        # A canvas without a single visible pixel is what is left of a picture that is broken.
        is_visible = shown is not None and shown[:, :, 3].any()
        outcome = Outcome.REFUSED if is_visible else Outcome.NEITHER
    elif shown is None:
        outcome = Outcome.SERVED
    else:
        assert decoded.shape == shown.shape
        difference = np.abs(_visible(decoded) - _visible(shown)).max()
        outcome = Outcome.SAME if difference <= specimen.tolerance else Outcome.OTHERWISE
        if specimen.outcome is Outcome.SAME:
            assert difference <= specimen.tolerance
    assert outcome == specimen.outcome


def _visible(rgba: Pixels) -> NDArray[np.float64]:
    """Return alpha and the colours times alpha: a canvas keeps no others."""
    alpha = rgba[:, :, 3:].astype(float)
    return np.dstack((rgba[:, :, :3] * alpha / 255, alpha))
