import asyncio

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from tests.support.fakes import FakeNetwork
from webhook.domain import ModelIdentity
from webhook.errors import ConfigurationError, InferenceFailed, ModelNotAllowed
from webhook.segmentation.device import Device
from webhook.segmentation.segmenter import IMAGE_MEAN, IMAGE_STD, TorchSegmenter, shrink
from webhook.segmentation.weights import LoadedModel, load_model

CPU = Device(torch.device("cpu"), torch.float32)


class FakeGpu(Device):
    """A processor that gains from batches."""

    gains_from_batches = True


class Broken(nn.Module):
    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes do not fit")


def segmenter(**networks: nn.Module) -> TorchSegmenter:
    return TorchSegmenter(
        {
            name: LoadedModel(ModelIdentity(name, "r1", "float32"), network, 16, CPU)
            for name, network in networks.items()
        }
    )


async def test_a_matte_has_the_networks_size_and_the_sigmoids_values() -> None:
    service = segmenter(bright=FakeNetwork())
    rgb = np.full((5, 9, 3), 255, np.uint8)
    model = service.identify(None)
    alpha = await service.segment(service.prepare(rgb, model), model)
    expected = torch.tensor(
        [(1 - mean) / std for mean, std in zip(IMAGE_MEAN, IMAGE_STD, strict=True)]
    ).mean()
    assert alpha.shape == (16, 16)
    assert alpha.dtype == np.float32
    assert np.allclose(alpha, expected.sigmoid())


def test_the_first_model_is_the_default_and_others_must_be_named() -> None:
    service = segmenter(first=FakeNetwork(), second=FakeNetwork())
    assert service.identify(None).name == "first"
    assert service.identify("second").name == "second"


@pytest.mark.parametrize("name", ["third", "", "FIRST", "../first"])
def test_a_model_outside_the_allow_list_is_refused(name: str) -> None:
    with pytest.raises(ModelNotAllowed, match="first"):
        segmenter(first=FakeNetwork()).identify(name)


async def test_a_failing_network_is_an_error_of_ours() -> None:
    service = segmenter(broken=Broken())
    model = service.identify(None)
    prepared = service.prepare(np.zeros((4, 4, 3), np.uint8), model)
    with pytest.raises(InferenceFailed):
        await service.segment(prepared, model)


async def segment_together(service: TorchSegmenter, count: int) -> None:
    model = service.identify(None)
    prepared = service.prepare(np.zeros((4, 4, 3), np.uint8), model)
    await asyncio.gather(*(service.segment(prepared, model) for _ in range(count)))


async def test_the_size_of_batch_that_fits_is_remembered() -> None:
    network = FakeNetwork(room=2)
    gpu = FakeGpu(torch.device("cpu"), torch.float32)
    loaded = LoadedModel(ModelIdentity("small", "r1", "float32"), network, 16, gpu)
    service = TorchSegmenter({"small": loaded}, max_batch_size=4)
    await segment_together(service, 9)
    assert network.batches == [4, 2, 2, 2, 2, 1]
    await service.aclose()


async def test_the_processor_takes_one_image_at_a_time() -> None:
    network = FakeNetwork(room=1)
    loaded = LoadedModel(ModelIdentity("cpu", "r1", "float32"), network, 16, CPU)
    service = TorchSegmenter({"cpu": loaded}, max_batch_size=8)
    await service.warm_up()
    await segment_together(service, 3)
    assert network.batches == [1, 1, 1, 1]
    await service.aclose()


def test_shrinking_is_the_model_cards() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)
    card = Image.fromarray(rgb).resize((16, 16), Image.Resampling.BILINEAR)
    loaded = LoadedModel(ModelIdentity("m", "r1", "float32"), FakeNetwork(), 16, CPU)
    shrunk = shrink(rgb, loaded)[0].permute(1, 2, 0).numpy()
    difference = np.abs(shrunk.astype(int) - np.asarray(card).astype(int))
    assert difference.max() <= 1
    assert difference.mean() < 0.05


def means(levels: NDArray[np.uint8], count: int) -> NDArray[np.float64]:
    """Shrink n levels exactly: means weighted by a triangle that reaches to the next two."""
    scale = levels.size / count
    middles = (np.arange(count)[:, None] + 0.5) * scale
    weights = (1 - np.abs(np.arange(levels.size) + 0.5 - middles) / scale).clip(0)
    means: NDArray[np.float64] = weights @ levels / weights.sum(axis=1)
    return means


@pytest.mark.parametrize("length", [300, 20_000, 300_000])
def test_a_row_and_a_column_are_shrunk_alike(length: int) -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (1, length, 3), np.uint8)
    rgb[:, : length // 3] //= 8  # an edge, too
    loaded = LoadedModel(ModelIdentity("m", "r1", "float32"), FakeNetwork(), 16, CPU)
    lying = shrink(rgb, loaded)[0]
    standing = shrink(np.ascontiguousarray(rgb.transpose(1, 0, 2)), loaded)[0]
    assert torch.equal(lying, standing.transpose(1, 2))
    assert (lying == lying[:, :1]).all()
    for channel in range(3):
        expected = means(rgb[0, :, channel], 16)
        assert np.abs(lying[channel, 0].numpy() - expected).max() < 1


@pytest.mark.parametrize("size", [(300, 200), (3, 200), (200, 3)], ids=str)
def test_alpha_plays_no_part_in_shrinking(size: tuple[int, int]) -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (*size, 4), np.uint8)
    loaded = LoadedModel(ModelIdentity("m", "r1", "float32"), FakeNetwork(), 16, CPU)
    rgb = np.ascontiguousarray(rgba[:, :, :3])
    assert torch.equal(shrink(rgba, loaded), shrink(rgb, loaded))


def test_an_unknown_model_of_the_settings_is_refused_at_start() -> None:
    with pytest.raises(ConfigurationError, match="embedded"):
        load_model("no-such-model", CPU)
