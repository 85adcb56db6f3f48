"""A BiRefNet with every part of the published ones, but small enough for a test."""

import torch
from torch import Tensor

from webhook.segmentation.birefnet import BiRefNet, BiRefNetConfig

TINY = BiRefNetConfig(embed_dim=32, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8), window=4)


def tiny_birefnet() -> BiRefNet:
    """Make one, the same each time."""
    torch.manual_seed(0)
    return BiRefNet(TINY, patch_order="columns")


def alpha(network: BiRefNet, pixel_values: Tensor) -> Tensor:
    """Run a network; return the mattes, (B, 1, H, W) in [0, 1]."""
    with torch.inference_mode():
        logits: Tensor = network(pixel_values)
    return logits.sigmoid()
