"""The whole network against recordings of the published one: see README.md here."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from tests.support.parity import weights
from tests.support.parity.compare import Case, check_activation, check_logits, published_tensors
from webhook.domain import ModelIdentity
from webhook.segmentation.birefnet import CONFIGS, BiRefNet, PatchOrder
from webhook.segmentation.device import Device
from webhook.segmentation.segmenter import predict, shrink
from webhook.segmentation.weights import LoadedModel

CASES = [
    "swin_t_224x160_columns",  # odd maps, every window padded
    "swin_t_256x256_columns",
    "swin_t_256x256_rows",
    "swin_t_512x512_columns",
    "swin_l_256x256_columns",
    "swin_l_256x256_rows",
    pytest.param("swin_l_1024x1024_columns", marks=pytest.mark.slow_parity),
]


@lru_cache(maxsize=1)  # one set of swin_l is 0.9 GB
def generated_state(config: str) -> dict[str, Tensor]:
    filled = weights.fill_state_dict(published_tensors(config))
    return {name: torch.from_numpy(value) for name, value in filled.items()}


def build(config: str, patch_order: PatchOrder) -> BiRefNet:
    with torch.device("meta"):
        network = BiRefNet(CONFIGS[config], patch_order=patch_order)
    network.load_state_dict(generated_state(config), strict=True, assign=True)
    return network


@pytest.mark.parametrize("name", CASES)
def test_logits_equal_the_recorded_ones(name: str) -> None:
    case = Case(name)
    network = build(case.config, case.patch_order)

    with torch.inference_mode():
        logits = network(torch.from_numpy(case.network_input()))

    report = check_logits(case, logits.numpy())
    assert report.ok, report


@pytest.mark.parametrize("name", ["swin_t_224x160_columns", "swin_t_256x256_rows"])
def test_every_step_equals_the_recorded_one(name: str) -> None:
    case = Case(name)
    network = build(case.config, case.patch_order)
    seen = record_activations(network)

    with torch.inference_mode():
        network(torch.from_numpy(case.network_input()))

    reports = [check_activation(case, step, value.numpy()) for step, value in seen.items()]
    assert len(reports) == 36
    assert [report for report in reports if not report.ok] == []


@pytest.mark.parametrize("config", CONFIGS)
def test_state_dict_equals_the_published_files(config: str) -> None:
    with torch.device("meta"):
        state = BiRefNet(CONFIGS[config], patch_order="columns").state_dict()

    dtypes = {torch.float32: "F32", torch.int64: "I64"}
    ours = {k: {"shape": list(v.shape), "dtype": dtypes[v.dtype]} for k, v in state.items()}
    assert ours == published_tensors(config)


@pytest.mark.slow_parity
def test_a_saved_swin_l_has_the_size_of_the_published_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "model.safetensors"
    save_file(build("swin_l", "columns").state_dict(), path, metadata={"format": "pt"})
    assert path.stat().st_size == 884_878_856


def test_pipeline_of_the_model_card() -> None:
    case = Case("pipeline_swin_t_300x180_columns")
    side = case.meta["network"]
    picture = Image.fromarray(case.image())

    resized = np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR))
    network = build(case.config, case.patch_order)
    with torch.inference_mode():
        logits = network(torch.from_numpy(weights.normalise(resized)))
    mask = (logits.sigmoid()[0, 0].numpy() * 255).astype(np.uint8)
    alpha = np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.BICUBIC))

    assert np.array_equal(resized, case.data["resized_rgb"])
    assert np.abs(logits[0, 0].numpy() - case.data["logits"]).max() < 2e-4
    assert np.abs(mask.astype(int) - case.data["mask_network"]).max() <= 1
    assert np.abs(alpha.astype(int) - case.data["alpha"]).max() <= 1


def test_the_segmenter_holds_the_pipeline_of_the_model_card() -> None:
    case = Case("pipeline_swin_t_300x180_columns")
    cpu = Device(torch.device("cpu"), torch.float32)
    network = build(case.config, case.patch_order)
    identity = ModelIdentity("generated", "r1", cpu.precision)
    loaded = LoadedModel(identity, cpu.place(network), case.meta["network"], cpu)

    pixels = shrink(case.image(), loaded)
    (alpha,) = predict(pixels, loaded)

    resized = pixels[0].permute(1, 2, 0).numpy().astype(int)
    # torch rounds some of Pillow's halves the other way: one level, in few places.
    assert np.abs(resized - case.data["resized_rgb"]).max() <= 1
    mask = (alpha * 255).astype(np.uint8).astype(int)
    assert np.abs(mask - case.data["mask_network"]).max() <= 1


def record_activations(network: BiRefNet) -> dict[str, Tensor]:
    """Hook the steps that exist on both sides, under their recorded names.

    What we compute in another way (in place, folded, composed) has nothing to compare.
    """
    seen: dict[str, Tensor] = {}
    passes: list[str] = []

    def keep(name: str, value: Tensor) -> None:
        seen[name] = value.detach().clone(memory_format=torch.contiguous_format)

    def on_output(part: str, name: str) -> None:
        module = network.get_submodule(part)
        module.register_forward_hook(lambda _, args, out: keep(name, out))

    def on_input(part: str, name: str) -> None:
        module = network.get_submodule(part)
        module.register_forward_pre_hook(lambda _, args: keep(name, args[0]))

    def in_each_pass(part: str, name: str, value: Callable[[Any, Any], Tensor]) -> None:
        module = network.get_submodule(part)
        module.register_forward_hook(
            lambda _, args, out: keep(f"{passes[-1]}.{name}", value(args, out))
        )

    network.bb.register_forward_pre_hook(lambda *_: passes.append("half" if passes else "full"))
    in_each_pass("bb.patch_embed", "patch_embed", lambda _, out: out.permute(0, 3, 1, 2))
    for j in (0, 1):  # blocks work in place
        in_each_pass(
            f"bb.layers.0.blocks.{j}", f"stage1.block{j}", lambda args, _: args[0].flatten(1, 2)
        )
    in_each_pass("bb.layers.0.downsample", "stage1.downsample", lambda _, out: out.flatten(1, 2))
    for i in range(4):
        in_each_pass(f"bb.norm{i}", f"stage{i + 1}", lambda _, out: out.permute(0, 3, 1, 2))
    on_input("squeeze_module.0", "context")
    on_output("squeeze_module.0.dec_att", "squeeze.dec_att")
    on_output("squeeze_module.0", "squeeze")
    for n in (5, 4, 3, 2):
        on_input(f"decoder.ipt_blk{n}", f"decoder.patches{n}")
        on_output(f"decoder.ipt_blk{n}", f"decoder.ipt_blk{n}")
    for n in (4, 3, 2):
        on_input(f"decoder.decoder_block{n}", f"decoder.block{n}.input")
        on_output(f"decoder.decoder_block{n}", f"decoder.block{n}.output")
        on_output(f"decoder.gdt_convs_attn_{n}", f"decoder.gate{n}_logits")
    return seen
