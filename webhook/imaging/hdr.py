"""High dynamic range to sRGB: the light that a PNG tells of, mapped as Chromium maps it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from webhook.imaging.profiles import xyz_columns

_PQ, _HLG = 16, 18  # ITU-T H.273, table 3
TRANSFERS = (_PQ, _HLG)
"""Those of `cICP` that are converted here."""

_WHITE_NITS = 203.0  # ITU-R BT.2408: what is white on paper
_USUAL_PEAK_NITS = 1_000.0
_SRGB, _BT2020 = 1, 9  # ITU-T H.273, table 2
_LUMA = np.array((0.2627, 0.6780, 0.0593), np.float32)
_SYSTEM_GAMMA = 1.2
_BEND = 0.65

_Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class HdrColours:
    """What a PNG tells of its light.

    Attributes:
        primaries: Of its RGB, as ITU-T H.273 numbers them.
        transfer: One of TRANSFERS.
        peak_nits: The brightest light in it; 0 if it doesn't tell.
    """

    primaries: int
    transfer: int
    peak_nits: float


class HdrConversion:
    """From HDR to sRGB.

    The light is mapped by its brightest channel in BT.2020: up to paper white linearly, to half of
    the range, and above along a curve to the peak.

    Source:
        Decoding: ITU-R BT.2100, tables 4 and 5. Mapping: SMPTE ST 2094-50, annex C, for a
        screen without headroom.
    """

    def __init__(self, colours: HdrColours) -> None:
        self._is_hlg = colours.transfer == _HLG
        self._light = (_hlg_light() if self._is_hlg else _pq_light()).astype(np.float32)
        to_wide = np.linalg.solve(xyz_columns(_BT2020), xyz_columns(colours.primaries))
        to_srgb = np.linalg.solve(xyz_columns(_SRGB), xyz_columns(_BT2020))
        self._to_wide, self._to_srgb = to_wide.T.astype(np.float32), to_srgb.T.astype(np.float32)
        self._peak = (colours.peak_nits or _USUAL_PEAK_NITS) / _WHITE_NITS

    def apply(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return uint8 (H, W, 3) in sRGB; the image's own alpha plays no part."""
        light = self._light[np.asarray(image.convert("RGB"))] @ self._to_wide
        if self._is_hlg:
            luminance = np.maximum(light @ _LUMA, 0)
            light *= (luminance ** (_SYSTEM_GAMMA - 1))[..., None] * np.float32(
                _USUAL_PEAK_NITS / _WHITE_NITS
            )
        light *= self._gain(light.max(axis=-1))[..., None]
        return _srgb_encoded(light @ self._to_srgb)

    def _gain(self, brightest: _Floats) -> _Floats:
        """Return what a colour is multiplied by: a Bézier curve from paper white to the peak."""
        if self._peak <= 1:
            return np.ones_like(brightest)
        stops = min(np.log2(self._peak) / np.log2(_USUAL_PEAK_NITS / _WHITE_NITS), 1)
        white = np.float32(1 - 0.5 * stops)
        middle_x, middle_y = 1 - _BEND + _BEND / white, (1 - _BEND) * white + _BEND
        a, b = np.float32(1 - 2 * middle_x + self._peak), np.float32(2 * (middle_x - 1))
        above = np.maximum(brightest - 1, 0)
        t = np.minimum((np.sqrt(b * b + 4 * a * above) - b) / (2 * a), 1)
        mapped = white + t * (2 * (middle_y - white) + t * (white - 2 * middle_y + 1))
        gain: _Floats = np.where(above > 0, mapped / np.maximum(brightest, 1), white)
        return gain


def _pq_light() -> NDArray[np.float64]:
    """Return the light of each level, in units of paper white (BT.2100, table 4)."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    root = np.linspace(0, 1, 256) ** (1 / m2)
    light: NDArray[np.float64] = (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return light * 10_000 / _WHITE_NITS


def _hlg_light() -> NDArray[np.float64]:
    """Return the scene's light of each level, 0 to 1 (BT.2100, table 5)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    level = np.linspace(0, 1, 256)
    return np.where(level <= 0.5, level**2 / 3, (np.exp((level - c) / a) + b) / 12)


def _srgb_encoded(light: _Floats) -> NDArray[np.uint8]:
    clipped = light.clip(0, 1)
    curve = np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)
    return (255 * curve + 0.5).astype(np.uint8)
