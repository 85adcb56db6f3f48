"""Deterministic weights and test images for the parity kit.

Everything here is a pure function of (salt, tensor name, shape): no files, no random
generators whose streams may change between library versions, only 64-bit integer
arithmetic and single IEEE-754 float32 operations. Two machines therefore build
bit-identical weights, and a native implementation can be compared with recorded
upstream outputs without the gated checkpoint.

    from tests.support.parity.weights import fill_state_dict, normalise, picture
    state = fill_state_dict(spec)           # spec: {name: {"shape": [...], "dtype": "F32"}}
    model.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()}, strict=True)
    x = torch.from_numpy(normalise(picture(256, 256)))   # float32 [1, 3, 256, 256]
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

DEFAULT_SALT = "birefnet-parity/4"

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)

_CHUNK = 1 << 20
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_STEP = np.uint64(0x9E3779B97F4A7C15)


def _seed(salt: str, name: str) -> np.uint64:
    digest = hashlib.sha256(f"{salt}\0{name}".encode()).digest()
    return np.uint64(int.from_bytes(digest[:8], "little"))


def uniform(salt: str, name: str, count: int) -> Array:
    """`count` float32 values in [-1, 1), each a multiple of 2**-23."""
    out = np.empty(count, dtype=np.float32)
    seed = _seed(salt, name)
    with np.errstate(over="ignore"):
        for start in range(0, count, _CHUNK):
            stop = min(count, start + _CHUNK)
            z = (np.arange(start + 1, stop + 1, dtype=np.uint64) * _STEP) + seed
            z = (z ^ (z >> np.uint64(30))) * _MIX1
            z = (z ^ (z >> np.uint64(27))) * _MIX2
            z = z ^ (z >> np.uint64(31))
            # top 24 bits -> integer in [-2**23, 2**23), exactly representable in float32
            k = (z >> np.uint64(40)).astype(np.int64) - (1 << 23)
            out[start:stop] = k.astype(np.float32) * np.float32(2.0**-23)
    return out


def relative_position_index(window: int) -> Array:
    """Swin's pairwise lookup index for a window of `window` x `window` tokens, int64 [N, N]."""
    rows, cols = np.divmod(np.arange(window * window, dtype=np.int64), window)
    dy = rows[:, None] - rows[None, :] + window - 1
    dx = cols[:, None] - cols[None, :] + window - 1
    index: Array = dy * (2 * window - 1) + dx
    return index


def _fan_in(shape: Sequence[int]) -> int:
    return int(np.prod(shape[1:])) if len(shape) > 1 else int(shape[0])


# Gains of weight matrices and kernels (standard deviation = gain / sqrt(fan_in)), first match wins.
_GAINS: tuple[tuple[str, float], ...] = (
    (".offset_conv.weight", 1.2),
    (".modulator_conv.weight", 1.0),
    (".regular_conv.weight", 1.4),
    (".global_avg_pool.1.weight", 1.4),
    (".dec_att.conv1.weight", 1.4),
    (".attn.qkv.weight", 1.3),
    (".attn.proj.weight", 0.7),
    (".mlp.fc1.weight", 1.2),
    (".mlp.fc2.weight", 0.7),
    ("gdt_convs_attn_", 2.5),
    ("decoder.conv_out1.", 3.2),
    ("decoder.ipt_blk", 0.9),
    (".conv_out.weight", 1.5),
    ("bb.patch_embed.proj.weight", 1.0),
)


# These read mostly non-negative features. Odd input channels get the negated weights of their
# even neighbours, so the rows sum to zero and the common offset cancels instead of piling up.
_ANTISYMMETRIC = (
    ".dec_att.conv1.weight",
    ".conv_out.weight",
    "gdt_convs_attn_",
    "decoder.conv_out1.",
)


def _gain(name: str) -> float:
    for part, gain in _GAINS:
        if part in name:
            return gain
    return 1.0


def fill(name: str, shape: Iterable[int], dtype: str = "F32", salt: str = DEFAULT_SALT) -> Array:
    """The value of one state-dict entry."""
    shape = tuple(int(n) for n in shape)
    count = int(np.prod(shape)) if shape else 1

    if name.endswith("relative_position_index"):
        window = math.isqrt(shape[0])
        assert window * window == shape[0] == shape[1], shape
        return relative_position_index(window)
    if name.endswith("num_batches_tracked"):
        return np.array(1, dtype=np.int64)
    if dtype != "F32":
        raise ValueError(f"{name}: no rule for dtype {dtype}")

    u = uniform(salt, name, count).reshape(shape)
    f = np.float32
    if name.endswith("running_var"):
        return f(1.0) + f(0.5) * u  # 0.5 .. 1.5, always positive
    if name.endswith("running_mean"):
        return f(0.25) * u
    if name.endswith("relative_position_bias_table"):
        return f(0.8) * u
    if name.endswith(".bias"):
        if ".offset_conv." in name:
            return f(1.5) * u  # whole-pixel scale shifts: samples leave the regular grid
        if ".modulator_conv." in name:
            return f(0.8) * u
        if len(shape) == 1 and _is_norm(name):
            return f(0.2) * u
        return f(0.1) * u
    if len(shape) == 1:
        return f(1.0) + f(0.25) * u  # LayerNorm / BatchNorm scale
    if any(part in name for part in _ANTISYMMETRIC) and shape[1] % 2 == 0:
        u[:, 1::2] = -u[:, 0::2]
    # uniform on [-1, 1) has variance 1/3
    bound = _gain(name) * math.sqrt(3.0 / _fan_in(shape))
    return f(bound) * u


def _is_norm(name: str) -> bool:
    parent = name.rsplit(".", 2)[-2]
    return parent.startswith(("norm", "bn")) or (
        parent in ("1", "2") and any(p in name for p in ("gdt_convs_", "global_avg_pool."))
    )


def fill_state_dict(
    spec: Mapping[str, Mapping[str, Any]], salt: str = DEFAULT_SALT
) -> dict[str, Array]:
    return {name: fill(name, entry["shape"], entry["dtype"], salt) for name, entry in spec.items()}


def picture(width: int, height: int, variant: int = 0) -> Array:
    """A synthetic photo-like picture, uint8 [height, width, 3], integer arithmetic only.

    Gradients, a large ellipse ("subject"), thin spokes around it, a checkered band and
    hashed speckle: smooth areas, hard edges and thin structures in every channel.
    """
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    v = int(variant)
    # coordinates on a 1024-grid so that every size shows the same scene
    gx = (x * 1024 + 512) // width
    gy = (y * 1024 + 512) // height
    red = (gx * 3 + gy + 97 * v) // 16 % 256
    green = (gy * 2 + (gx * gx) // 4096 + 53 * v) // 8 % 256
    blue = (1023 - gx + gy * 2 + 29 * v) // 12 % 256
    img = np.stack([red, green, blue], axis=-1)

    cx, cy = 470 + 90 * (v % 3), 560 - 70 * (v % 2)
    dx, dy = gx - cx, gy - cy
    inside = dx * dx * 9 + dy * dy * 4 < 9 * 250 * 250
    body = np.stack(
        [220 - (gy // 9) % 120, 60 + (gx // 5) % 150, 90 + ((gx + gy) // 7) % 130], axis=-1
    )
    img = np.where(inside[..., None], body, img)

    ring = dx * dx + dy * dy
    spokes = ((dx * 5 + dy * 3) % 61 < 4) & (ring > 260 * 260) & (ring < 400 * 400)
    img = np.where(spokes[..., None], np.array([30, 20, 245]), img)

    band = (gy > 860) & (gy < 960)
    check = ((gx // 24) + (gy // 24)) % 2 == 0
    img = np.where((band & check)[..., None], np.array([250, 240, 40]), img)

    h = (x * 73856093) ^ (y * 19349663) ^ (v * 83492791)
    h = (h ^ (h >> 13)) * 1274126177 & 0xFFFFFFFF
    noise = ((h >> 16) & 15) - 7
    img = img + noise[..., None] * np.array([1, -1, 1])
    pixels: Array = np.clip(img, 0, 255).astype(np.uint8)
    return pixels


def normalise(image: Array) -> Array:
    """uint8 [H, W, 3] -> float32 [1, 3, H, W]: /255, minus mean, over std, each in float32."""
    chw = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)
    chw = (chw - IMAGENET_MEAN[:, None, None]) / IMAGENET_STD[:, None, None]
    return np.ascontiguousarray(chw[None])


def image_digest(image: Array) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()
