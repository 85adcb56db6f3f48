"""The numbers that tell one BiRefNet from another; the layers take plain arguments."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

PatchOrder = Literal["columns", "rows"]
FourSizes = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class BiRefNetConfig:
    """One configuration of the network.

    Attributes:
        embed_dim: channels of the backbone's first stage; each stage doubles them.
        depths: blocks per stage.
        num_heads: attention heads per stage; a head always has 32 channels.
        window: side of an attention window, in tokens.
    """

    embed_dim: int
    depths: FourSizes
    num_heads: FourSizes
    window: int

    @property
    def stage_channels(self) -> FourSizes:
        """Channels of the backbone's four outputs, finest first."""
        d = self.embed_dim
        return d, 2 * d, 4 * d, 8 * d

    @property
    def scale_channels(self) -> FourSizes:
        """Channels of the encoder's four outputs: two passes of the backbone side by side."""
        d = self.embed_dim
        return 2 * d, 4 * d, 8 * d, 16 * d


CONFIGS = MappingProxyType(
    {
        # RMBG-2.0 and every full-size BiRefNet
        "swin_l": BiRefNetConfig(192, (2, 2, 18, 2), (6, 12, 24, 48), window=12),
        # BiRefNet_lite and its relatives
        "swin_t": BiRefNetConfig(96, (2, 2, 6, 2), (3, 6, 12, 24), window=7),
    }
)
