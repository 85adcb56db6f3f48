"""The models that are known by name: what they are, where they come from, what they may do.

None of this is read from a repository's code or configuration: RMBG-2.0's own `config.json` names
neither the variant nor the patch order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

PatchOrder = Literal["columns", "rows"]
"""How a network's code stacks the tiles of an image; the weights do not tell."""

WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One published set of BiRefNet's weights.

    Attributes:
        repository: on the model hub; also the name by which requests ask for it.
        revision: the commit that is loaded, never another.
        sha256: of `model.safetensors` in that commit.
        variant: key of `birefnet.CONFIGS`.
        patch_order: how its code stacked image tiles when it was trained.
        input_size: side of the square it was trained on, in pixels.
        licence: of the weights.
        gated: whether the licence must be accepted on the hub, and a token shown.
    """

    repository: str
    revision: str
    sha256: str
    variant: str
    patch_order: PatchOrder
    input_size: int
    licence: str
    gated: bool = False


CHECKPOINTS: Mapping[str, Checkpoint] = MappingProxyType(
    {
        checkpoint.repository: checkpoint
        for checkpoint in (
            Checkpoint(
                repository="briaai/RMBG-2.0",
                revision="5df4c9c76d8170882c34f6986e848ee07fd0ba43",
                sha256="566ed80c3d95f87ada6864d4cbe2290a1c5eb1c7bb0b123e984f60f76b02c3a7",
                variant="swin_l",
                patch_order="columns",
                input_size=1024,
                licence="CC BY-NC 4.0; commercial use needs an agreement with BRIA",
                gated=True,
            ),
            Checkpoint(
                repository="ZhengPeng7/BiRefNet",
                revision="e2bf8e4460fc8fa32bba5ea4d94b3233d367b0e4",
                sha256="9ab37426bf4de0567af6b5d21b16151357149139362e6e8992021b8ce356a154",
                variant="swin_l",
                patch_order="columns",
                input_size=1024,
                licence="MIT",
            ),
            Checkpoint(
                repository="ZhengPeng7/BiRefNet_lite",
                revision="7838f1c3472f827cd8ce13ab5ccc2ce48077360f",
                sha256="4417d89795250e698c3cb0ae8df15743810065f646f48a694fdfa7ca052d0815",
                variant="swin_t",
                patch_order="columns",
                input_size=1024,
                licence="MIT",
            ),
        )
    }
)

EMBEDDED = "embedded"
LOCAL = "local"
MODELS = (*CHECKPOINTS, EMBEDDED, LOCAL)
"""The names by which the settings and the requests may ask for a model."""
