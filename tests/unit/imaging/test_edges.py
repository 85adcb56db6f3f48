import numpy as np
import pytest
from numpy.typing import NDArray

from webhook.imaging.edges import EdgeColours

SIDE = 512
Y, X = np.mgrid[:SIDE, :SIDE] / SIDE
WANDERING = 0.5 + 0.3 * np.sin(9 * X + 2) * np.sin(11 * Y)  # 0.2 to 0.8
FADING = (1.25 - 1.5 * np.hypot(X - 0.5, Y)).clip(0, 1)  # over 340 px
SOFT_AREAS = {
    "a veil that fades": FADING,
    "a pane beside a body": np.where(X < 0.2, 1, np.where(X < 0.9, WANDERING, 0)),
    "nothing opaque": np.where(np.hypot(X - 0.5, Y - 0.5) < 0.45, WANDERING, 0),
}
SUBJECT = np.stack((200 + 20 * Y, 90 + 30 * X, 60 + 0 * X), axis=-1)
BACKGROUND = np.stack((30 + 40 * X, 110 + 20 * np.sin(30 * Y), 190 - 60 * Y), axis=-1)


def cleaned(image: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rgba = np.dstack((image, np.full(alpha.shape, 255, np.uint8)))
    EdgeColours.estimate(rgba, alpha).clean(rgba.view(np.uint32)[:, :, 0], alpha, 0, 0)
    return rgba[:, :, :3]


@pytest.mark.parametrize("share", SOFT_AREAS.values(), ids=SOFT_AREAS.keys())
def test_a_soft_area_loses_the_old_background(share: NDArray[np.float64]) -> None:
    alpha = (share * 255).round().astype(np.uint8)
    weights = (alpha / 255)[:, :, None]
    image = (weights * SUBJECT + (1 - weights) * BACKGROUND).round().astype(np.uint8)
    weights = weights * ((alpha > 0) & (alpha < 255))[:, :, None]

    def error(colours: NDArray[np.uint8]) -> float:
        return float((weights * np.abs(colours - SUBJECT)).sum() / (3 * weights.sum()))

    assert error(cleaned(image, alpha)) < 0.25 * error(image)
