"""What lies on this machine: secrets, weights, device, clock."""

import math

from pydantic import SecretStr

from webhook.commands.doctor.examination import Examination, Trouble, Untold
from webhook.models import EMBEDDED, LOCAL
from webhook.settings import Settings

_ENOUGH_BITS = 64
_LARGEST_SKEW_S = 60  # S3 refuses a quarter of an hour


def examine_secrets(examination: Examination, settings: Settings) -> None:
    """Tell secrets that somebody thought up from random ones."""
    admin = settings.hasura_graphql_admin_secret

    def strength(name: str, secret: SecretStr) -> str:
        if _bits(secret) < _ENOUGH_BITS:
            raise Trouble(f"{name} can be guessed: make another one, openssl rand -hex 32")
        return "long and varied enough"

    def strength_of_ours() -> str:
        for secret in settings.webhook_secrets:
            if secret == admin:
                raise Trouble("It is Hasura's admin secret, which callers must not hold: make one.")
            strength("It", secret)
        return "long and varied enough"

    examination.check("webhook secret", strength_of_ours)
    examination.check("admin secret", lambda: strength("It", admin))


def _bits(secret: SecretStr) -> float:
    """Return a generous guess: as if each character were drawn from those that occur."""
    text = secret.get_secret_value()
    return len(text) * math.log2(len(set(text)) or 1)


def examine_machine(examination: Examination, settings: Settings) -> None:
    """Look for the weights of every model, without fetching any, and for the device."""
    for name in settings.models:
        examination.check(f"model {name}", lambda name=name: _weights(name, settings))  # type: ignore[misc]  # bound early
    examination.check("device", lambda: _device(settings.device))


def _weights(name: str, settings: Settings) -> str:
    # Imported here, as below: torch takes seconds, for which a mistake elsewhere need not wait.
    from webhook.segmentation.hub import downloaded, verify, weights_in
    from webhook.segmentation.weights import known_checkpoint

    if name == EMBEDDED:
        return "comes with the code; for a look at the service, not for RMBG-2.0's quality"
    if name == LOCAL:
        assert settings.local_model is not None  # the settings see to it
        return f"{weights_in(settings.local_model)}"
    checkpoint = known_checkpoint(name)
    weights = downloaded(checkpoint)
    if weights is None:
        raise Trouble(f"Its weights are not here: python -m webhook pull {name}")
    verify(weights, checkpoint)
    return f"the published file of {checkpoint.revision[:12]}; licence: {checkpoint.licence}"


def _device(wanted: str) -> str:
    import torch

    from webhook.segmentation.device import choose_device

    device = choose_device(wanted)
    if device.is_cuda:
        return f"{torch.cuda.get_device_name()}, {device.precision}"
    return f"CPU, {device.precision}: BiRefNet takes seconds for each image here"


def examine_clock(examination: Examination) -> None:
    """Compare our clock with those of the neighbours that answered."""

    def compare() -> str:
        if not examination.clocks:
            raise Untold("no neighbour told its time")
        neighbour, skew_s = max(examination.clocks.items(), key=lambda item: abs(item[1]))
        if abs(skew_s) > _LARGEST_SKEW_S:
            direction = "behind" if skew_s > 0 else "ahead of"
            raise Trouble(
                f"This machine's clock is {abs(skew_s):.0f} s {direction} that of {neighbour}: "
                "signatures for S3 and the age of events depend on it. Set both by NTP."
            )
        return f"within {max(abs(skew_s), 1):.0f} s of {' and '.join(examination.clocks)}"

    examination.check("clock", compare)
