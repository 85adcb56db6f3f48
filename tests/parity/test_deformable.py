"""The deformable convolution alone, against recordings of torchvision's."""

import numpy as np
import pytest
import torch

from tests.support.parity.compare import DATA
from webhook.segmentation.birefnet.deformable import FramedMap, deformable_columns


@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_deformable_convolution_equals_the_recorded_one(kernel: int) -> None:
    with np.load(DATA / "expected" / "op_deform_conv.npz") as data:
        x, offset, modulation, weight, expected = (
            torch.from_numpy(data[f"k{kernel}/{name}"])
            for name in ("x", "offset", "mask", "weight", "y")
        )
    height, width = x.shape[2:]
    sampling = torch.cat((offset[:, 0::2], offset[:, 1::2], modulation), dim=1)

    for image, steering, want in zip(x, sampling, expected, strict=True):
        columns = deformable_columns(
            FramedMap.of(image), steering.permute(1, 2, 0), slice(0, height)
        )
        got = columns @ weight.permute(2, 3, 1, 0).flatten(0, 2)  # pixels, channels

        torch.testing.assert_close(got.t().view(-1, height, width), want, rtol=1e-5, atol=1e-5)
