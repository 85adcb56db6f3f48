"""Compare a model's outputs with the recorded ones.

    from tests.support.parity.compare import Case, check_activation, check_logits
    case = Case("swin_t_256x256_columns")
    x = case.network_input()                     # float32 [1, 3, H, W] numpy array
    report = check_logits(case, logits)          # logits: array-like [.., H, W], before the sigmoid
    assert report.ok, report

Only numpy is needed.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from webhook.segmentation.birefnet import PatchOrder

from . import weights
from .weights import Array

DATA = Path(__file__).resolve().parents[2] / "parity" / "data"
MAX_LOGIT = 2e-4  # cases up to 512 x 512
MAX_ALPHA = 4e-5
MEAN_ALPHA = 1.3e-6  # any size
LARGE_FACTOR = 3.0  # on the two maxima above 512 x 512: more pixels, larger extremes
MAX_ACTIVATION = 2e-4


@dataclass(frozen=True)
class Report:
    name: str
    max_logit: float
    max_alpha: float
    mean_alpha: float
    ok: bool


class Case:
    """One recording: `<config>_<width>x<height>_<patch order>`."""

    def __init__(self, name: str) -> None:
        self.name = name
        with np.load(DATA / "expected" / f"{name}.npz") as data:
            self.data: dict[str, Array] = {k: data[k] for k in data.files}
        self.meta: dict[str, Any] = json.loads(str(self.data["meta"]))
        self.config: str = self.meta["config"]
        self.patch_order: PatchOrder = self.meta["patch_order"]

    def image(self) -> Array:
        img = weights.picture(self.meta["width"], self.meta["height"], self.meta["variant"])
        if weights.image_digest(img) != self.meta["image_sha256"]:
            raise AssertionError("the generated test image differs from the recorded one")
        return img

    def network_input(self) -> Array:
        return weights.normalise(self.image())

    def state_dict(self) -> dict[str, Array]:
        return weights.fill_state_dict(published_tensors(self.config), self.meta["salt"])

    def activations(self) -> list[str]:
        return sorted({k.split("/")[1] for k in self.data if k.startswith("act/")})


def published_tensors(config: str) -> dict[str, dict[str, Any]]:
    """Name, shape and dtype of each tensor of a published file."""
    tensors: dict[str, dict[str, Any]]
    tensors = json.loads((DATA / "state_dict.json").read_text())[config]["tensors"]
    return tensors


def _alpha(logits: Array) -> Array:
    alpha: Array = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
    return alpha


def check_logits(
    case: Case,
    logits: Array,
    max_logit: float = MAX_LOGIT,
    max_alpha: float = MAX_ALPHA,
    mean_alpha: float = MEAN_ALPHA,
) -> Report:
    got = np.asarray(logits, dtype=np.float32).reshape(case.meta["height"], case.meta["width"])
    if "logits" in case.data:
        pairs = [(got, case.data["logits"])]
    else:
        h, w = got.shape
        mean8 = got.astype(np.float64).reshape(h // 8, 8, w // 8, 8).mean((1, 3)).astype(np.float32)
        pairs = [(got[::2, ::2], case.data["logits_every2"]), (mean8, case.data["logits_mean8"])]
    dl = max(float(np.abs(a - b).max()) for a, b in pairs)
    da = max(float(np.abs(_alpha(a) - _alpha(b)).max()) for a, b in pairs)
    ma = float(np.abs(_alpha(pairs[0][0]) - _alpha(pairs[0][1])).mean())
    scale = LARGE_FACTOR if got.size > 512 * 512 else 1.0
    finite = bool(np.isfinite(got).all())
    ok = finite and dl <= scale * max_logit and da <= scale * max_alpha and ma <= mean_alpha
    return Report(case.name, dl, da, ma, ok)


def check_activation(case: Case, name: str, value: Array, tol: float = MAX_ACTIVATION) -> Report:
    """`value`: the activation as a contiguous array in the recorded (upstream) layout."""
    got = np.ascontiguousarray(np.asarray(value, dtype=np.float32))
    shape = tuple(case.data[f"act/{name}/shape"])
    if got.shape != shape:
        raise AssertionError(f"{name}: shape {got.shape}, recorded {shape}")
    want = case.data[f"act/{name}/samples"]
    count = len(want)
    index = (np.arange(count, dtype=np.int64) * got.size) // count
    diff = float(np.abs(got.reshape(-1)[index] - want).max())
    return Report(name, diff, diff, diff, diff <= tol)
