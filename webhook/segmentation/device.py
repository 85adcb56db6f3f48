"""The device that runs the networks: which one, in which precision, and its out-of-memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from webhook.errors import ConfigurationError, DeviceOutOfMemory

_FIRST_FAST_HALF = (7, 0)  # compute capability of Volta, the first with half-precision matrices


@dataclass(frozen=True, slots=True)
class Device:
    """Where networks run, and the floating-point type that they run in."""

    torch_device: torch.device
    dtype: torch.dtype

    @property
    def is_cuda(self) -> bool:
        """Whether it is a GPU."""
        return self.torch_device.type == "cuda"

    @property
    def gains_from_batches(self) -> bool:
        """Whether several images at once are faster than one by one; a CPU's cores are busy."""
        return self.torch_device.type != "cpu"

    @property
    def precision(self) -> str:
        """The type's name, for certificates."""
        return str(self.dtype).removeprefix("torch.")

    def place(self, network: torch.nn.Module) -> torch.nn.Module:
        """Move a network here, ready for inference."""
        network = network.eval().requires_grad_(False)
        return network.to(self.torch_device, self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]  # torch's typing

    def stage(self, pixels: torch.Tensor) -> torch.Tensor:
        """Put uint8 pixels where a copy to the device can start without waiting."""
        return pixels.pin_memory() if self.is_cuda else pixels

    def receive(self, pixels: torch.Tensor) -> torch.Tensor:
        """Copy pixels to the device, without waiting for it if they were staged."""
        return pixels.to(self.torch_device, non_blocking=True)


def choose_device(wanted: str) -> Device:
    """Return the device of the setting DEVICE.

    Half precision on CUDA only: on CPUs it is many times slower than float32. Published BiRefNet
    weights are float16 themselves.

    Raises:
        ConfigurationError: CUDA was asked for and there is none.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise ConfigurationError("DEVICE=cuda, but torch sees no CUDA device here.")
    if wanted == "cpu" or not available:
        return Device(torch.device("cpu"), torch.float32)
    torch.set_float32_matmul_precision("high")  # TF32 for what stays in float32
    half = torch.cuda.get_device_capability() >= _FIRST_FAST_HALF
    return Device(torch.device("cuda"), torch.float16 if half else torch.float32)


def compile_network(network: torch.nn.Module, backend: str = "inductor") -> None:
    """Have torch compile a network at its first pass; what its parts look up is not traced."""
    for part in network.modules():
        for method in getattr(part, "untraced", ()):
            setattr(part, method, torch.compiler.disable(getattr(part, method)))
    network.compile(backend=backend)


@contextmanager
def out_of_memory_as_ours() -> Iterator[None]:
    """Turn torch's out-of-memory into ours, with the cache emptied for a smaller try.

    Raises:
        DeviceOutOfMemory: the batch did not fit.
    """
    try:
        yield
    except torch.OutOfMemoryError as exc:
        torch.cuda.empty_cache()
        raise DeviceOutOfMemory("The device has not enough memory for this image now.") from exc
