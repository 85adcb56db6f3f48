import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from webhook.domain import ModelIdentity
from webhook.errors import ConfigurationError, InferenceFailed, ModelNotAllowed
from webhook.segmentation.device import Device
from webhook.segmentation.segmenter import IMAGE_MEAN, IMAGE_STD, TorchSegmenter, shrink
from webhook.segmentation.weights import LoadedModel, load_model

CPU = Device(torch.device("cpu"), torch.float32)


class Brightness(nn.Module):
    """Logits that follow the brightness of the input: a network one can see through."""

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return pixel_values.mean(dim=1, keepdim=True)


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
    service = segmenter(bright=Brightness())
    rgb = np.full((5, 9, 3), 255, np.uint8)
    alpha = await service.segment(rgb, service.identify(None))
    expected = torch.tensor(
        [(1 - mean) / std for mean, std in zip(IMAGE_MEAN, IMAGE_STD, strict=True)]
    ).mean()
    assert alpha.shape == (16, 16)
    assert alpha.dtype == np.float32
    assert np.allclose(alpha, expected.sigmoid())


def test_the_first_model_is_the_default_and_others_must_be_named() -> None:
    service = segmenter(first=Brightness(), second=Brightness())
    assert service.identify(None).name == "first"
    assert service.identify("second").name == "second"


@pytest.mark.parametrize("name", ["third", "", "FIRST", "../first"])
def test_a_model_outside_the_allow_list_is_refused(name: str) -> None:
    with pytest.raises(ModelNotAllowed, match="first"):
        segmenter(first=Brightness()).identify(name)


async def test_a_failing_network_is_an_error_of_ours() -> None:
    service = segmenter(broken=Broken())
    with pytest.raises(InferenceFailed):
        await service.segment(np.zeros((4, 4, 3), np.uint8), service.identify(None))


def test_shrinking_is_the_model_cards() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)
    card = Image.fromarray(rgb).resize((16, 16), Image.Resampling.BILINEAR)
    loaded = LoadedModel(ModelIdentity("m", "r1", "float32"), Brightness(), 16, CPU)
    shrunk = shrink(rgb, loaded)[0].permute(1, 2, 0).numpy()
    difference = np.abs(shrunk.astype(int) - np.asarray(card).astype(int))
    assert difference.max() <= 1
    assert difference.mean() < 0.05


def test_alpha_plays_no_part_in_shrinking() -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (300, 200, 4), np.uint8)
    loaded = LoadedModel(ModelIdentity("m", "r1", "float32"), Brightness(), 16, CPU)
    rgb = np.ascontiguousarray(rgba[:, :, :3])
    assert torch.equal(shrink(rgba, loaded), shrink(rgb, loaded))


def test_an_unknown_model_of_the_settings_is_refused_at_start() -> None:
    with pytest.raises(ConfigurationError, match="embedded"):
        load_model("no-such-model", CPU)
