import numpy as np
import pytest
import torch
from torch import nn

from tests.support.fakes import FakeNetwork
from webhook.domain import ModelIdentity
from webhook.errors import ConfigurationError, DeviceOutOfMemory, InferenceFailed
from webhook.segmentation.device import Device, choose_device
from webhook.segmentation.segmenter import predict
from webhook.segmentation.weights import LoadedModel

CPU = Device(torch.device("cpu"), torch.float32)


class NoNumbers(nn.Module):
    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return pixel_values[:, :1] * torch.nan


def loaded(network: nn.Module) -> LoadedModel:
    return LoadedModel(ModelIdentity("m", "r1", "float32"), network, 8, CPU)


def shades(*levels: int) -> torch.Tensor:
    return torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)


def test_a_batch_that_does_not_fit_is_run_in_halves_and_keeps_its_order() -> None:
    network = FakeNetwork(room=2)
    alphas = predict(shades(0, 50, 100, 150, 200), loaded(network))
    assert network.batches == [5, 2, 3, 1, 2]
    means = [alpha.mean() for alpha in alphas]
    assert means == sorted(means)
    singles = [predict(shades(level), loaded(FakeNetwork(room=1)))[0] for level in (0, 200)]
    assert np.array_equal(alphas[0], singles[0])
    assert np.array_equal(alphas[-1], singles[1])


def test_a_single_image_that_does_not_fit_asks_for_a_retry() -> None:
    with pytest.raises(DeviceOutOfMemory):
        predict(shades(0), loaded(FakeNetwork(room=0)))


def test_an_overflow_in_half_precision_is_no_matte() -> None:
    with pytest.raises(InferenceFailed, match="no numbers"):
        predict(shades(10), loaded(NoNumbers()))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="DEVICE=cuda"):
        choose_device("cuda")
    assert choose_device("auto") == CPU


def test_on_the_cpu_everything_is_float32() -> None:
    assert choose_device("cpu") == CPU
    assert CPU.precision == "float32"
