"""Which models there are, and how each is found, verified, loaded and placed on the device."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from webhook.domain import ModelIdentity
from webhook.errors import ConfigurationError
from webhook.models import CHECKPOINTS, EMBEDDED, LOCAL, MODELS, Checkpoint, PatchOrder
from webhook.segmentation.device import Device
from webhook.segmentation.u2netp import INPUT_SIZE, REVISION, load_u2netp

_LOCAL_INPUT_SIZE = 1024


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A user's own folder of weights; the patch order is part of its identity."""

    folder: Path
    patch_order: PatchOrder


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A network ready to run.

    Attributes:
        identity: what the certificate names.
        network: (B, 3, S, S), normalised by ImageNet's mean and std, to logits (B, 1, S, S).
        input_size: S, in pixels.
        device: where the network is, and the type of its input.
        activation: logits, in float32, to alpha.
    """

    identity: ModelIdentity
    network: nn.Module
    input_size: int
    device: Device
    activation: Callable[[Tensor], Tensor] = torch.sigmoid


def load_model(name: str, device: Device, local: LocalModel | None = None) -> LoadedModel:
    """Load the model `name` of the setting MODELS, from the hub if it isn't here yet.

    Raises:
        ConfigurationError: there is no such model, or its weights can't be had.
        WeightsInvalid: its weights aren't the expected ones.
    """
    if name == EMBEDDED:
        return _on_device(name, REVISION, load_u2netp(), INPUT_SIZE, device)
    if name == LOCAL and local is not None:
        return _load_local(local, device)
    return _load_published(known_checkpoint(name), device)


def known_checkpoint(name: str) -> Checkpoint:
    """Return the published checkpoint `name`.

    Raises:
        ConfigurationError: there is none.
    """
    if name not in CHECKPOINTS:
        known = ", ".join(MODELS)
        raise ConfigurationError(f'There is no published model "{name}"; known: {known}.')
    return CHECKPOINTS[name]


# transformers takes seconds to import: neither the embedded model nor a wrong name waits for it.


def _load_local(local: LocalModel, device: Device) -> LoadedModel:
    from webhook.segmentation.hub import sha256_of, weights_in
    from webhook.segmentation.pretrained import load_birefnet

    revision = sha256_of(weights_in(local.folder))[:12]
    network = load_birefnet(local.folder, patch_order=local.patch_order)
    return _on_device(LOCAL, revision, network, _LOCAL_INPUT_SIZE, device)


def _load_published(checkpoint: Checkpoint, device: Device) -> LoadedModel:
    from webhook.segmentation.hub import fetch
    from webhook.segmentation.pretrained import load_birefnet

    network = load_birefnet(fetch(checkpoint), patch_order=checkpoint.patch_order)
    name, revision = checkpoint.repository, checkpoint.revision
    return _on_device(name, revision, network, checkpoint.input_size, device)


def _on_device(
    name: str, revision: str, network: nn.Module, input_size: int, device: Device
) -> LoadedModel:
    identity = ModelIdentity(name, revision, device.precision)
    return LoadedModel(identity, device.place(network), input_size, device)
