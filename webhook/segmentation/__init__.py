"""Images to alpha mattes: the networks, their weights, and how they are run."""

from webhook.segmentation.segmenter import TorchSegmenter
from webhook.segmentation.weights import LoadedModel, load_model

__all__ = ["LoadedModel", "TorchSegmenter", "load_model"]
