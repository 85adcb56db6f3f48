"""The weights of U²-Net-P that come with this package: verified, then loaded. See NOTICE."""

import hashlib
from importlib import resources
from typing import Final

import safetensors.torch
import torch

from webhook.errors import WeightsInvalid
from webhook.segmentation.u2netp.network import U2NetP

WEIGHTS_FILE: Final = "u2netp.safetensors"
# Written by tools/convert_u2netp.py, which prints this digest.
WEIGHTS_SHA256: Final = "7c78e8bd99550825773ffc48c294d9feda09a6860572ade9a8e3e958863ae097"
REVISION: Final = WEIGHTS_SHA256[:12]  # What a cutout's certificate names.


def load_u2netp() -> U2NetP:
    """Load the network with the weights of this package, ready for inference on the CPU.

    Returns:
        The network in eval mode, without gradients, float32, channels last.

    Raises:
        WeightsInvalid: the file isn't the one this version was released with.
    """
    # Read as a resource, not by path: it works from a zip archive too.
    data = resources.files(__package__).joinpath(WEIGHTS_FILE).read_bytes()
    return build_u2netp(data)


def build_u2netp(data: bytes, sha256: str = WEIGHTS_SHA256) -> U2NetP:
    """Build the network from the bytes of a safetensors file.

    Args:
        data: the whole file.
        sha256: hex digest that `data` must have.

    Raises:
        WeightsInvalid: another digest, or tensors that don't fit the network.
    """
    actual = hashlib.sha256(data).hexdigest()
    if actual != sha256:
        raise WeightsInvalid(f"{WEIGHTS_FILE} has SHA-256 {actual}, expected {sha256}.")
    with torch.device("meta"):  # No random initialisation of what is replaced at once.
        network = U2NetP()
    try:
        network.load_state_dict(safetensors.torch.load(data), strict=True, assign=True)
    except RuntimeError as exc:
        raise WeightsInvalid(f"{WEIGHTS_FILE} doesn't fit the network.") from exc
    # Channels last is a third faster than the default layout on CPUs.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's typing
    return network.eval().requires_grad_(False)
