"""BiRefNet in torch, for inference; imports nothing else of this project."""

from .config import CONFIGS, BiRefNetConfig, PatchOrder
from .network import BiRefNet

__all__ = ["CONFIGS", "BiRefNet", "BiRefNetConfig", "PatchOrder"]
