"""Weights in folders laid out like the published ones: what is loaded, and what is refused."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForImageSegmentation

from tests.support.parity import weights
from tests.support.parity.compare import published_tensors
from webhook.errors import ConfigurationError, WeightsInvalid
from webhook.models import CHECKPOINTS, WEIGHTS_FILE
from webhook.segmentation.device import Device
from webhook.segmentation.hub import adopt, fetch, sha256_of
from webhook.segmentation.pretrained import (
    BiRefNetForImageSegmentation,
    BiRefNetPretrainedConfig,
    load_birefnet,
    register,
)
from webhook.segmentation.segmenter import TorchSegmenter
from webhook.segmentation.weights import LocalModel, load_model

ROOT = Path(__file__).parents[2]
CPU = Device(torch.device("cpu"), torch.float32)
SMALL = BiRefNetPretrainedConfig(network_variant="swin_t")
# As the published repositories have it: code to run, but neither model type nor architecture.
HUB_CONFIG = {
    "_name_or_path": "ZhengPeng7/BiRefNet",
    "architectures": ["BiRefNet"],
    "auto_map": {
        "AutoConfig": "BiRefNet_config.BiRefNetConfig",
        "AutoModelForImageSegmentation": "birefnet.BiRefNet",
    },
    "bb_pretrained": False,
}


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    filled = weights.fill_state_dict(published_tensors("swin_t"))
    return {name: torch.from_numpy(value) for name, value in filled.items()}


@pytest.fixture
def folder(tmp_path: Path, tensors: dict[str, Tensor]) -> Path:
    return write_folder(tmp_path / "model", tensors)


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No hub, and an empty cache of its files."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


def write_folder(folder: Path, tensors: dict[str, Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / WEIGHTS_FILE)
    (folder / "config.json").write_text(json.dumps(HUB_CONFIG))
    # Would fail loudly if anyone ran it.
    (folder / "birefnet.py").write_text("raise SystemExit('remote code was run')")
    (folder / "BiRefNet_config.py").write_text("raise SystemExit('remote code was run')")
    return folder


def test_the_auto_classes_give_our_network_without_remote_code(
    folder: Path, tensors: dict[str, Tensor]
) -> None:
    register()
    network = AutoModelForImageSegmentation.from_pretrained(folder, config=SMALL)
    assert type(network) is BiRefNetForImageSegmentation
    assert network.config.network_variant == "swin_t"
    loaded = network.state_dict()
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert not [name for name in sys.modules if "transformers_modules" in name]


def test_both_patch_orders_load_and_differ(folder: Path) -> None:
    pixel_values = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        columns = load_birefnet(folder, patch_order="columns")(pixel_values)
        rows = load_birefnet(folder, patch_order="rows")(pixel_values)
    assert not torch.allclose(columns, rows)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_load_as_float32(
    tmp_path: Path, tensors: dict[str, Tensor], dtype: torch.dtype
) -> None:
    halves = {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in tensors.items()
    }
    network = load_birefnet(write_folder(tmp_path / "half", halves), patch_order="columns")
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 32, 32)).isfinite().all()


def without(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if name != "bb.norm2.weight"}


def with_extra(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**tensors, "refiner.weight": torch.zeros(1)}


def misshapen(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**tensors, "bb.norm2.weight": torch.zeros(7)}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without, r"bb\.norm2\.weight is missing"),
        (with_extra, r"refiner\.weight is not part of the network"),
        (misshapen, r"bb\.norm2\.weight has the shape \(7,\) in place of \(384,\)"),
    ],
    ids=["missing", "extra", "misshapen"],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    tmp_path: Path, tensors: dict[str, Tensor], change: object, told: str
) -> None:
    assert callable(change)
    folder = write_folder(tmp_path / "wrong", change(tensors))
    with pytest.raises(WeightsInvalid, match=told) as caught:
        load_birefnet(folder, patch_order="columns")
    assert str(folder) in str(caught.value)
    register()
    with pytest.raises(WeightsInvalid, match=told):
        AutoModelForImageSegmentation.from_pretrained(folder, config=SMALL)


@pytest.mark.parametrize("kept", [0, 7, 1000, 0.5, 0.999])
def test_a_truncated_file_is_refused(folder: Path, kept: float) -> None:
    data = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(data[: int(kept if kept > 1 else kept * len(data))])
    with pytest.raises(WeightsInvalid):
        load_birefnet(folder, patch_order="columns")


def test_a_pickle_is_never_loaded(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps(HUB_CONFIG))
    with pytest.raises(ConfigurationError, match="pickles are never loaded"):
        load_birefnet(tmp_path, patch_order="columns")
    register()
    with pytest.raises(OSError, match=WEIGHTS_FILE):
        AutoModelForImageSegmentation.from_pretrained(tmp_path, config=SMALL)


async def test_a_folder_of_ones_own_is_served_as_local(folder: Path) -> None:
    loaded = load_model("local", CPU, LocalModel(folder, "columns"))
    assert loaded.identity.name == "local"
    assert loaded.identity.revision == sha256_of(folder / WEIGHTS_FILE)[:12]
    segmenter = TorchSegmenter({"local": replace(loaded, input_size=64)})
    rgb = np.zeros((30, 50, 3), np.uint8)
    model = segmenter.identify(None)
    alpha = await segmenter.segment(segmenter.prepare(rgb, model), model)
    assert alpha.shape == (64, 64)
    assert alpha.min() >= 0
    assert alpha.max() <= 1


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_weights_that_are_not_here_are_told_with_what_to_do(name: str) -> None:
    with pytest.raises(ConfigurationError, match="--from FOLDER"):
        fetch(CHECKPOINTS[name])


def test_pulled_weights_are_verified_and_then_found_offline(folder: Path) -> None:
    published = replace(
        CHECKPOINTS["ZhengPeng7/BiRefNet_lite"], sha256=sha256_of(folder / WEIGHTS_FILE)
    )
    taken = adopt(published, folder)
    assert fetch(published) == taken
    network = load_birefnet(taken, patch_order=published.patch_order)
    assert network.config.network_variant == published.variant


def test_weights_of_another_digest_are_refused(folder: Path) -> None:
    with pytest.raises(WeightsInvalid, match="SHA-256"):
        adopt(CHECKPOINTS["ZhengPeng7/BiRefNet_lite"], folder)


def pull(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "webhook", "pull", *arguments],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_pull_says_in_one_line_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    for arguments in ([], ["no/such-model"], ["ZhengPeng7/BiRefNet", "--from", str(folder)]):
        done = pull(*arguments, home=tmp_path)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert "Traceback" not in done.stderr
