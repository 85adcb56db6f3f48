"""The embedded model: U²-Net-P, small enough to come with the code (see NOTICE for its origin).

For the demo and for machines without a GPU; good on one clear subject, weak on thin structures.
"""

from webhook.segmentation.u2netp.network import INPUT_SIZE, U2NetP
from webhook.segmentation.u2netp.weights import REVISION, build_u2netp, load_u2netp

__all__ = [
    "INPUT_SIZE",
    "REVISION",
    "U2NetP",
    "build_u2netp",
    "load_u2netp",
]
