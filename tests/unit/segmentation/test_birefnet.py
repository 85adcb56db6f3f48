from collections.abc import Callable

import pytest
import torch

from tests.support.networks import TINY, alpha, tiny_birefnet
from webhook.segmentation.birefnet import CONFIGS, BiRefNet, deformable, windows


@pytest.fixture(scope="module")
def network() -> BiRefNet:
    return tiny_birefnet()


@pytest.mark.parametrize("size", [(32, 32), (32, 96), (160, 64)], ids=str)
def test_any_size_in_multiples_of_32_works(network: BiRefNet, size: tuple[int, int]) -> None:
    result = alpha(network, torch.randn(1, 3, *size))

    assert result.shape == (1, 1, *size)
    assert result.isfinite().all()


@pytest.mark.parametrize("size", [(31, 32), (64, 80), (0, 32)], ids=str)
def test_other_sizes_are_refused(network: BiRefNet, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        network(torch.zeros(1, 3, *size))


def test_unknown_patch_order_is_refused() -> None:
    with pytest.raises(ValueError, match="'columns' or 'rows'"):
        BiRefNet(TINY, patch_order="diagonals")  # type: ignore[arg-type]


def test_images_of_a_batch_do_not_depend_on_one_another(network: BiRefNet) -> None:
    batch = torch.randn(3, 3, 64, 96)

    together = alpha(network, batch)

    singly = torch.cat([alpha(network, image[None]) for image in batch])
    torch.testing.assert_close(together, singly, rtol=0, atol=1e-6)


def test_the_parts_of_a_map_do_not_depend_on_where_it_is_cut(
    network: BiRefNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = torch.randn(2, 3, 96, 64)
    cut_for_a_cpu = alpha(network, batch)

    monkeypatch.setattr(windows, "_CPU_BAND_TOKENS", 10**9)
    monkeypatch.setattr(deformable, "_CPU_CHUNK_PIXELS", 10**9)
    windows.window_bands.cache_clear()
    in_one_piece = alpha(network, batch)

    windows.window_bands.cache_clear()
    torch.testing.assert_close(cut_for_a_cpu, in_one_piece, rtol=0, atol=1e-6)


def test_loading_other_weights_takes_effect() -> None:
    first, second = (BiRefNet(TINY, patch_order="rows") for _ in range(2))
    image = torch.randn(1, 3, 64, 64)
    before, expected = alpha(first, image), alpha(second, image)

    first.load_state_dict(second.state_dict())

    assert not torch.equal(before, expected)
    assert torch.equal(alpha(first, image), expected)


@pytest.mark.parametrize(
    ("convert", "dtype", "tolerance"),
    [
        (BiRefNet.double, torch.float64, 1e-5),
        (BiRefNet.bfloat16, torch.bfloat16, 5e-2),
        (BiRefNet.half, torch.float16, 1e-2),
    ],
    ids=["float64", "bfloat16", "float16"],
)
def test_the_result_follows_the_dtype(
    convert: Callable[[BiRefNet], BiRefNet], dtype: torch.dtype, tolerance: float
) -> None:
    network = BiRefNet(TINY, patch_order="columns")
    image = torch.randn(1, 3, 64, 64)
    expected = alpha(network, image)

    result = alpha(convert(network), image.to(dtype))

    assert result.dtype == dtype
    torch.testing.assert_close(result.float(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("shift", [0, 2])
def test_each_token_stands_in_one_window(shift: int) -> None:
    batch, height, width = 2, 7, 10
    seen = torch.zeros(batch * height * width, dtype=torch.int64)

    for band in windows.window_bands(batch, height, width, 4, shift, torch.device("cpu")):
        assert torch.equal(band.gather[band.scatter], torch.arange(len(band.scatter)))
        seen[band.tokens] += 1

    assert torch.equal(seen, torch.ones_like(seen))


def test_configurations_are_those_of_the_published_checkpoints() -> None:
    assert CONFIGS["swin_l"].scale_channels == (384, 768, 1536, 3072)
    assert CONFIGS["swin_t"].scale_channels == (192, 384, 768, 1536)
