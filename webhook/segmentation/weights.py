"""Which models there are, and how each is found, verified and loaded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from webhook.domain import ModelIdentity
from webhook.errors import ConfigurationError
from webhook.segmentation.u2netp import INPUT_SIZE, REVISION, load_u2netp


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A network ready to run.

    Attributes:
        identity: what the certificate names.
        network: float32 (B, 3, S, S), normalised by ImageNet's mean and std, to logits
            (B, 1, S, S).
        input_size: S, in pixels.
    """

    identity: ModelIdentity
    network: nn.Module
    input_size: int


def load_model(name: str) -> LoadedModel:
    """Load the model `name` of the setting MODELS.

    Raises:
        ConfigurationError: there is no such model.
        WeightsInvalid: its weights aren't the expected ones.
    """
    try:
        loader = _LOADERS[name]
    except KeyError:
        known = ", ".join(sorted(_LOADERS))
        raise ConfigurationError(f'MODELS: there is no model "{name}"; known: {known}.') from None
    return loader()


def _load_embedded() -> LoadedModel:
    identity = ModelIdentity(name="embedded", revision=REVISION, precision="float32")
    return LoadedModel(identity, load_u2netp(), INPUT_SIZE)


_LOADERS: Mapping[str, Callable[[], LoadedModel]] = {"embedded": _load_embedded}
