"""torch's compiler takes half a minute to trace the network."""

import pytest
import torch

from tests.support.networks import TINY, alpha, tiny_birefnet
from webhook.segmentation.birefnet import BiRefNet
from webhook.segmentation.device import compile_network


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_the_network_can_be_compiled() -> None:
    network = tiny_birefnet()
    pixel_values = torch.randn(1, 3, 64, 96)
    expected = alpha(network, pixel_values)
    compiled = BiRefNet(TINY, patch_order="columns")
    compiled.load_state_dict(network.state_dict())

    compile_network(compiled.requires_grad_(False), backend="eager")  # traces, builds nothing

    assert torch.allclose(alpha(compiled, pixel_values), expected, atol=1e-6)
