"""The embedded network on photographs, against recordings of the published one."""

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from webhook.segmentation.segmenter import IMAGE_MEAN, IMAGE_STD
from webhook.segmentation.u2netp import INPUT_SIZE, U2NetP, load_u2netp

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "u2netp_golden.json").read_text())


@pytest.fixture(scope="module")
def network() -> U2NetP:
    return load_u2netp()


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


def test_a_batch_of_photographs_gives_what_single_ones_give(network: U2NetP) -> None:
    photos = [read_photo(file) for file in GOLDEN["mean_alpha"]]
    batch = predict_alpha(network, torch.cat(photos))
    singles = torch.cat([predict_alpha(network, photo) for photo in photos])
    torch.testing.assert_close(batch, singles, rtol=0, atol=1e-4)
