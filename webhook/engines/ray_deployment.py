"""Ray Serve's way in: a deployment whose replicas are each the whole app, device and batcher.

How many, on which GPUs and behind which queue is in deploy/ray-serve.yaml. Needs
requirements/ray.txt.
"""

from functools import partial
from typing import TYPE_CHECKING

from ray import serve

from webhook.tuning import tune_process

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from webhook.bootstrap import Loader


def make_deployment(load: "Loader | None" = None) -> serve.Deployment:
    """Make the deployment, with the defaults of Ray.

    Args:
        load: Loads the models, if not as the settings say.
    """

    def build() -> "Starlette":  # called in the replica: nothing but this is pickled
        return _build_app(load)

    return serve.deployment(name="BackgroundRemoval")(serve.ingress(build)())


def _build_app(load: "Loader | None") -> "Starlette":
    tune_process()

    from webhook.bootstrap import load_models, open_service, patience_of
    from webhook.hasura.binding import binding_of
    from webhook.http.app import create_app
    from webhook.settings import load_settings
    from webhook.telemetry import configure_logging

    settings = load_settings()
    configure_logging(settings.log_level)
    return create_app(
        settings.webhook_secrets,
        partial(open_service, settings, load or load_models),
        binding=binding_of(settings),
        patience=patience_of(settings),
    )


app = make_deployment().bind()
"""What deploy/ray-serve.yaml imports."""
