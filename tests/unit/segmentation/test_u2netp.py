import hashlib
from collections.abc import Callable
from importlib import resources

import pytest
import safetensors.torch
import torch
from torch import Tensor

from webhook.errors import WeightsInvalid
from webhook.segmentation.u2netp import (
    U2NetP,
    build_u2netp,
    load_u2netp,
)


@pytest.fixture(scope="module")
def network() -> U2NetP:
    return load_u2netp()


@pytest.fixture(scope="module")
def weights() -> bytes:
    return (resources.files("webhook.segmentation.u2netp") / "u2netp.safetensors").read_bytes()


def test_logits_have_one_channel_at_the_size_of_the_input(network: U2NetP) -> None:
    with torch.inference_mode():
        logits = network(torch.randn(2, 3, 96, 64))
    assert logits.shape == (2, 1, 96, 64)
    assert logits.dtype == torch.float32
    assert logits.min() < 0  # not yet through the sigmoid


def test_odd_sizes_run_though_the_weights_are_for_one_size(network: U2NetP) -> None:
    with torch.inference_mode():
        logits = network(torch.randn(1, 3, 75, 101))
    assert logits.shape == (1, 1, 75, 101)


def test_a_batch_gives_what_single_images_give(network: U2NetP) -> None:
    images = torch.randn(3, 3, 96, 96)
    with torch.inference_mode():
        batch = network(images)
        singles = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(batch, singles, rtol=0, atol=1e-4)


def test_the_network_is_ready_for_inference(network: U2NetP) -> None:
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert network.fuse.weight.is_contiguous(memory_format=torch.channels_last)


def test_every_parameter_takes_part_in_the_answer() -> None:
    network = U2NetP()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()  # so that no ReLU hides what lies before it
    network(torch.rand(1, 3, 64, 64)).sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_the_network_has_the_published_number_of_weights() -> None:
    convolutions = [m for m in U2NetP().modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 119
    assert sum(p.numel() for c in convolutions for p in c.parameters()) == 1_125_485


def test_loading_leaves_the_random_generator_alone() -> None:
    state = torch.get_rng_state()
    load_u2netp()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[:-1], id="truncated"),
        pytest.param(lambda data: data[:-1] + bytes([data[-1] ^ 1]), id="one bit flipped"),
        pytest.param(lambda data: b"", id="empty"),
    ],
)
def test_damaged_weights_are_refused(weights: bytes, damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(WeightsInvalid, match="SHA-256"):
        build_u2netp(damage(weights))


def test_a_missing_tensor_is_refused(weights: bytes) -> None:
    tensors = safetensors.torch.load(weights)
    del tensors["fuse.bias"]
    assert_refused(tensors)


def test_an_extra_tensor_is_refused(weights: bytes) -> None:
    assert_refused(safetensors.torch.load(weights) | {"side_heads.6.bias": torch.zeros(1)})


def test_a_tensor_of_another_shape_is_refused(weights: bytes) -> None:
    assert_refused(safetensors.torch.load(weights) | {"fuse.bias": torch.zeros(2)})


def assert_refused(tensors: dict[str, Tensor]) -> None:
    data = safetensors.torch.save(tensors)
    with pytest.raises(WeightsInvalid, match="doesn't fit"):
        build_u2netp(data, sha256=hashlib.sha256(data).hexdigest())
