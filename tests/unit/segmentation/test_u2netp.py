import hashlib
import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from webhook.errors import WeightsInvalid
from webhook.segmentation.segmenter import IMAGE_MEAN, IMAGE_STD
from webhook.segmentation.u2netp import (
    INPUT_SIZE,
    U2NetP,
    build_u2netp,
    load_u2netp,
)

GOLDEN = json.loads((Path(__file__).parents[2] / "data" / "u2netp_golden.json").read_text())


@pytest.fixture(scope="module")
def network() -> U2NetP:
    return load_u2netp()


@pytest.fixture(scope="module")
def weights() -> bytes:
    return (resources.files("webhook.segmentation.u2netp") / "u2netp.safetensors").read_bytes()


def read_photo(file: str) -> Tensor:
    package, path = file.split("/", maxsplit=1)
    with (resources.files(package) / path).open("rb") as stream, Image.open(stream) as photo:
        image = photo.convert("RGB").resize((INPUT_SIZE, INPUT_SIZE), Image.Resampling.BILINEAR)
    normalised = (np.asarray(image) / 255 - IMAGE_MEAN) / IMAGE_STD
    return torch.from_numpy(normalised.transpose(2, 0, 1)[None].astype(np.float32))


@torch.inference_mode()
def predict_alpha(network: U2NetP, pixel_values: Tensor) -> Tensor:
    alpha: Tensor = network(pixel_values).sigmoid()
    return alpha


@pytest.mark.parametrize("file", GOLDEN["mean_alpha"])
def test_photographs_get_the_alphas_of_the_published_model(network: U2NetP, file: str) -> None:
    expected = torch.tensor(GOLDEN["mean_alpha"][file])
    alpha = predict_alpha(network, read_photo(file))
    cells = torch.nn.functional.avg_pool2d(alpha, INPUT_SIZE // len(expected))[0, 0]
    assert (cells - expected).abs().max() < 1e-3


def test_a_subject_is_opaque_and_its_background_transparent(network: U2NetP) -> None:
    alpha = predict_alpha(network, read_photo("skimage/data/coffee.png"))[0, 0]
    assert alpha[160, 160] > 0.99
    assert alpha[5, 315] < 0.01


def test_an_empty_picture_stays_empty(network: U2NetP) -> None:
    grey = torch.zeros(1, 3, INPUT_SIZE, INPUT_SIZE)
    assert predict_alpha(network, grey).max() < 0.1


def test_logits_have_one_channel_at_the_size_of_the_input(network: U2NetP) -> None:
    with torch.inference_mode():
        logits = network(torch.randn(2, 3, INPUT_SIZE, INPUT_SIZE))
    assert logits.shape == (2, 1, INPUT_SIZE, INPUT_SIZE)
    assert logits.dtype == torch.float32
    assert logits.min() < 0  # not yet through the sigmoid


def test_odd_sizes_run_though_the_weights_are_for_one_size(network: U2NetP) -> None:
    with torch.inference_mode():
        logits = network(torch.randn(1, 3, 75, 101))
    assert logits.shape == (1, 1, 75, 101)


def test_a_batch_gives_what_single_images_give(network: U2NetP) -> None:
    photos = [read_photo(file) for file in GOLDEN["mean_alpha"]]
    batch = predict_alpha(network, torch.cat(photos))
    singles = torch.cat([predict_alpha(network, photo) for photo in photos])
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
