"""BiRefNet as transformers knows models: registered with its Auto classes, loaded strictly.

transformers ships no BiRefNet, and the code in the published repositories is never run.
"""

import functools
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForImageSegmentation,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from webhook.errors import WeightsInvalid
from webhook.segmentation.birefnet import CONFIGS, BiRefNet, PatchOrder
from webhook.segmentation.hub import weights_in

Variant = Literal["swin_l", "swin_t"]

_SHOWN = 3


class BiRefNetPretrainedConfig(PreTrainedConfig):
    """Which BiRefNet it is; RMBG-2.0's unless said. The published `config.json` do not say it."""

    model_type = "birefnet"

    network_variant: Variant = "swin_l"
    patch_order: PatchOrder = "columns"


class BiRefNetForImageSegmentation(PreTrainedModel):
    """BiRefNet with transformers' loading around it; `forward` gives the logits as a tensor."""

    config_class = BiRefNetPretrainedConfig
    main_input_name = "pixel_values"

    def __init__(self, config: BiRefNetPretrainedConfig) -> None:
        super().__init__(config)
        network = BiRefNet(CONFIGS[config.network_variant], config.patch_order)
        # The parts themselves, not the network, so that the names are those of the files.
        for name, part in network.named_children():
            self.add_module(name, part)
        self._run = network.forward
        self.post_init()

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Predict logits (B, 1, H, W) from normalised (B, 3, H, W); see `BiRefNet.forward`."""
        return self._run(pixel_values)

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Leave everything as it is: whatever a file lacks is an error, not a random start."""

    @classmethod
    def from_pretrained(  # type: ignore[override]  # the rest of it is passed on
        cls, source: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Load weights, all of them and nothing else, in float32 unless `dtype` says otherwise.

        Args:
            source: a folder, or a repository on the hub, with `model.safetensors`.
            *args: passed on to transformers.
            **kwargs: passed on to transformers, such as `revision`, `config`, `dtype`.

        Raises:
            WeightsInvalid: a tensor is missing, extra or of another shape, or the file is damaged;
                the message names it, with the source and the revision.
            OSError: there is no `model.safetensors`; pickles are not looked at.
        """
        wants_info = kwargs.pop("output_loading_info", False)
        local = Path(str(source)).is_dir()
        where = str(source) if local else f"{source} at {kwargs.get('revision') or 'main'}"
        kwargs = {"dtype": torch.float32, **kwargs}
        kwargs |= {"use_safetensors": True, "ignore_mismatched_sizes": True}  # told below
        try:
            loaded: Any = super().from_pretrained(source, *args, output_loading_info=True, **kwargs)
        except SafetensorError as exc:
            raise WeightsInvalid(f"{where}: model.safetensors is damaged: {exc}.") from exc
        model, info = loaded
        problems = [
            *(f"{name} is missing" for name in sorted(info["missing_keys"])),
            *(f"{name} is not part of the network" for name in sorted(info["unexpected_keys"])),
            *(
                f"{name} has the shape {tuple(found)} in place of {tuple(expected)}"
                for name, found, expected in sorted(info["mismatched_keys"])
            ),
        ]
        if problems:
            more = f"; {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
            raise WeightsInvalid(
                f"{where}: the weights do not fit {model.config.network_variant}: "
                f"{'; '.join(problems[:_SHOWN])}{more}."
            )
        return (model, info) if wants_info else model


@functools.cache
def register() -> None:
    """Have transformers' Auto classes make our BiRefNet of our configuration.

    The published `config.json` lack the `model_type` by which AutoConfig would find it, so the
    configuration is always given: `AutoModelForImageSegmentation.from_pretrained(…, config=…)`.
    """
    AutoConfig.register(BiRefNetPretrainedConfig.model_type, BiRefNetPretrainedConfig)
    AutoModelForImageSegmentation.register(BiRefNetPretrainedConfig, BiRefNetForImageSegmentation)


def load_birefnet(folder: Path, *, patch_order: PatchOrder) -> BiRefNetForImageSegmentation:
    """Load a folder's weights, float32 on the CPU; its `config.json` is not asked.

    Raises:
        ConfigurationError: there are none.
        WeightsInvalid: they don't fit, or are damaged.
    """
    # What it would report is in our errors.
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    config = BiRefNetPretrainedConfig(
        network_variant=read_variant(weights_in(folder)), patch_order=patch_order
    )
    register()
    network = AutoModelForImageSegmentation.from_pretrained(folder, config=config)
    assert isinstance(network, BiRefNetForImageSegmentation)
    return network


def read_variant(weights: Path) -> Variant:
    """Tell which variant a file of weights is of, by the shape of its first layer.

    Raises:
        WeightsInvalid: of none that we know, or no safetensors file.
    """
    try:
        with safe_open(weights, "pt") as tensors:
            width = tensors.get_slice("bb.patch_embed.proj.weight").get_shape()[0]
    except (SafetensorError, OSError) as exc:
        raise WeightsInvalid(f"{weights} is not BiRefNet's, or damaged: {exc}.") from exc
    for variant in get_args(Variant):
        if CONFIGS[variant].embed_dim == width:
            return variant  # type: ignore[no-any-return]
    raise WeightsInvalid(f"{weights} is of no known variant: its first layer has {width} channels.")
