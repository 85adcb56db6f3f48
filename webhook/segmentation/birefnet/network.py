"""BiRefNet: encode the image at two scales, squeeze the context, decode.

Zheng et al. 2024, "Bilateral Reference for High-Resolution Dichotomous Image Segmentation",
arXiv:2401.03407. RMBG-2.0 is this network with other weights.
"""

from typing import get_args

import torch
from torch import Tensor, nn

from .config import BiRefNetConfig, PatchOrder
from .decoder import Decoder, DecoderBlock, resize
from .swin import SwinTransformer

SIDE_MULTIPLE_PX = 32  # the image is cut into tiles of the coarsest map's size


class BiRefNet(nn.Module):
    """The network; its state dict has the published files' names, shapes and dtypes.

    Args:
        config: one of `CONFIGS`, or other numbers.
        patch_order: how the decoder's image tiles are stacked. The weights' shapes do not tell:
            it is part of a checkpoint's identity, and the wrong one gives plausible, worse mattes.
    """

    def __init__(self, config: BiRefNetConfig, patch_order: PatchOrder) -> None:
        super().__init__()
        if patch_order not in get_args(PatchOrder):
            raise ValueError(f"patch_order is 'columns' or 'rows', not {patch_order!r}")
        channels = config.scale_channels
        self.bb = SwinTransformer(config)  # the backbone
        self.squeeze_module = nn.Sequential(DecoderBlock(sum(channels), channels[3]))
        self.decoder = Decoder(channels, patch_order)
        self.eval()

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Predict logits; alpha is their sigmoid.

        Args:
            pixel_values: (B, 3, H, W), normalised; H and W multiples of 32.

        Returns:
            (B, 1, H, W). No image of the batch depends on another.

        Raises:
            ValueError: a side is no multiple of 32.
        """
        height, width = pixel_values.shape[2:]
        if height % SIDE_MULTIPLE_PX or width % SIDE_MULTIPLE_PX or not height * width:
            raise ValueError(
                f"height and width must be multiples of {SIDE_MULTIPLE_PX}, got {height} x {width}"
            )
        image = pixel_values.contiguous(memory_format=torch.channels_last)
        scales = self.encode(image)
        logits: Tensor = self.decoder(image, scales, self.squeeze(scales))
        return logits

    def encode(self, image: Tensor) -> list[Tensor]:
        """Run the backbone on the image and on its half, and join their maps scale by scale.

        Returns:
            maps at 1/4, 1/8, 1/16 and 1/32 with c1, c2, c3, c4 channels.
        """
        height, width = image.shape[2:]
        full: list[Tensor] = self.bb(image)
        half: list[Tensor] = self.bb(resize(image, torch.Size((height // 2, width // 2))))
        return [
            torch.cat((fine, resize(coarse, fine.shape[2:])), dim=1)
            for fine, coarse in zip(full, half, strict=True)
        ]

    def squeeze(self, scales: list[Tensor]) -> Tensor:
        """Reduce all scales to one map of c4 channels at the size of the coarsest."""
        size = scales[-1].shape[2:]
        context = torch.cat([resize(x, size) for x in scales], dim=1)
        squeezed: Tensor = self.squeeze_module(context)
        return squeezed  # B, c4, H/32, W/32
