"""Weights that follow from other weights: computed once, kept until the parameters change."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor, nn

FoldedT = TypeVar("FoldedT")


class Folding(nn.Module, Generic[FoldedT]):
    """A part that computes with tensors derived from its parameters.

    The parameters keep the names and shapes of the published files, so that a state dict loads and
    saves as it is. `folded()` derives at first use and keeps the result; loading a state dict or
    moving the module (device, dtype, memory format) discards it. Changing a parameter in place
    afterwards is not noticed: these modules are for inference.
    """

    # Methods that torch.compile must call, not trace: what they return was made before.
    untraced: ClassVar = ("folded",)

    _folded: FoldedT | None = None

    def fold(self) -> FoldedT:
        """Derive the tensors from the parameters."""
        raise NotImplementedError

    def folded(self) -> FoldedT:
        """Return what `fold` derives, from the second call on without computing it."""
        if self._folded is None:
            # Plain tensors without history serve every later call, in any grad or inference mode.
            with torch.inference_mode(mode=False), torch.no_grad():
                self._folded = self.fold()
        return self._folded

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._folded = None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], *args: Any) -> None:
        self._folded = None
        super()._load_from_state_dict(state_dict, *args)


def fold_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Fold a batch norm's running statistics into the convolution before it.

    Returns:
        weight and bias of the one convolution that equals both: computed in float64, in the dtype
        of `conv`.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    dtype = conv.weight.dtype
    scale = norm.weight.double() * torch.rsqrt(norm.running_var.double() + norm.eps)
    shift = norm.bias.double() - norm.running_mean.double() * scale
    if conv.bias is not None:
        shift = shift + conv.bias.double() * scale
    weight = conv.weight.double() * scale[:, None, None, None]
    return weight.to(dtype), shift.to(dtype)
