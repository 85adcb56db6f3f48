"""Our PNGs in the hands of programs that others wrote."""

import base64
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from webhook.imaging.png import assemble_png, encode_strip

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser"))),
    None,
)
SIZES = [(1, 1), (7, 1), (1, 7), (33, 21), (300, 200)]
# The decoder itself, in its own byte order: the canvas, and any conversion, multiplies colours with
# alpha and loses some.
PAGE = """<!doctype html><pre></pre><script>
const pixelsOf = async png => {
  const data = Uint8Array.from(atob(png), c => c.charCodeAt(0));
  const decoder = new ImageDecoder({data, type: "image/png", premultiplyAlpha: "none"});
  const frame = (await decoder.decode()).image;
  const pixels = new Uint8Array(frame.codedWidth * frame.codedHeight * 4);
  await frame.copyTo(pixels);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", pixels));
  const hex = Array.from(digest, byte => byte.toString(16).padStart(2, "0")).join("");
  return `${frame.format.slice(0, 3)} ${frame.codedWidth}x${frame.codedHeight} ${hex}`;
};
Promise.all(%s.map(pixelsOf)).then(lines => lines.join("\\n"), String)
  .then(text => document.querySelector("pre").textContent = text);
</script>"""


def encoded_in_strips(rgba: NDArray[np.uint8]) -> bytes:
    strips = [encode_strip(rgba[top : top + 16]) for top in range(0, len(rgba), 16)]
    return assemble_png(rgba.shape[1], rgba.shape[0], strips)


def pictures(width: int, height: int) -> list[NDArray[np.uint8]]:
    noise = np.random.default_rng(5).integers(0, 256, (height, width, 4), np.uint8)
    return [noise, np.zeros_like(noise), np.full_like(noise, 255)]


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_chromium_sees_the_same_pixels(tmp_path: Path) -> None:
    expected, pngs = [], []
    for width, height in SIZES:
        for rgba in pictures(width, height):
            pngs.append(base64.b64encode(encoded_in_strips(rgba)).decode())
            bgra = rgba[:, :, [2, 1, 0, 3]].tobytes()
            expected.append(f"BGR {width}x{height} {hashlib.sha256(bgra).hexdigest()}")
    page = tmp_path / "page.html"
    page.write_text(PAGE % pngs)
    finished = subprocess.run(
        [
            *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *("--virtual-time-budget=60000", f"--user-data-dir={tmp_path}", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = re.search(r"<pre>(.*?)</pre>", finished.stdout, re.DOTALL)
    assert found is not None
    assert found[1].splitlines() == expected


@pytest.mark.skipif(shutil.which("pngcheck") is None, reason="pngcheck is not installed")
@pytest.mark.parametrize(("width", "height"), SIZES, ids=str)
def test_pngcheck_finds_no_error(width: int, height: int) -> None:
    for rgba in pictures(width, height):
        report = subprocess.run(
            ["pngcheck", "-v"], input=encoded_in_strips(rgba), capture_output=True, check=False
        )
        assert report.returncode == 0, report.stdout
        assert b"No errors detected" in report.stdout
