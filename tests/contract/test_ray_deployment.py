"""What deploy/ says of Ray: valid, the same twice, and fitting the code and the metadata."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from webhook.commands.serve import GRACE_S
from webhook.settings import JobSettings

ROOT = Path(__file__).parents[2]
PINNED = re.search(
    r"^ray\[serve\]==(\S+)", (ROOT / "requirements/ray.in").read_text(), re.MULTILINE
)


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "deploy" / "ray-serve.yaml").read_text("utf-8"))
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture(scope="module")
def rayservice() -> dict[str, Any]:
    text = (ROOT / "deploy" / "kubernetes" / "ray" / "rayservice.yaml").read_text("utf-8")
    loaded, _ = yaml.safe_load_all(text)
    assert isinstance(loaded, dict)
    return loaded


rays_own_warnings = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@rays_own_warnings
def test_ray_takes_the_configuration(config: dict[str, Any]) -> None:
    from ray.serve.schema import ServeDeploySchema

    ServeDeploySchema.model_validate(config)


@rays_own_warnings
def test_the_configuration_deploys_what_the_code_makes(config: dict[str, Any]) -> None:
    from webhook.engines import ray_deployment

    (application,) = config["applications"]
    (deployment,) = application["deployments"]
    module, _, name = application["import_path"].partition(":")
    assert module == ray_deployment.__name__
    assert deployment["name"] == ray_deployment.make_deployment().name
    assert hasattr(ray_deployment, name)


def test_waits_fit_into_one_another(config: dict[str, Any]) -> None:
    (deployment,) = config["applications"][0]["deployments"]
    job_timeout_s = JobSettings.model_fields["job_timeout_s"].default
    assert deployment["graceful_shutdown_timeout_s"] >= job_timeout_s + GRACE_S
    assert job_timeout_s + 5 + 8 + 8 < config["http_options"]["request_timeout_s"] < 120
    assert config["http_options"]["keep_alive_timeout_s"] > 30  # of Hasura's HTTP client


def test_a_replica_has_a_batch_that_runs_and_one_that_fills(config: dict[str, Any]) -> None:
    (deployment,) = config["applications"][0]["deployments"]
    ongoing = deployment["max_ongoing_requests"]
    assert ongoing == 2 * JobSettings.model_fields["max_batch_size"].default
    assert ongoing <= JobSettings.model_fields["max_jobs"].default  # so it refuses nothing
    assert deployment["autoscaling_config"]["target_ongoing_requests"] < ongoing


def test_kuberay_deploys_the_same(config: dict[str, Any], rayservice: dict[str, Any]) -> None:
    assert yaml.safe_load(rayservice["spec"]["serveConfigV2"]) == config
    assert PINNED is not None
    assert rayservice["spec"]["rayClusterConfig"]["rayVersion"] == PINNED[1]


def test_a_node_holds_one_replica_and_there_are_enough(
    config: dict[str, Any], rayservice: dict[str, Any]
) -> None:
    (deployment,) = config["applications"][0]["deployments"]
    (group,) = rayservice["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    limits, wanted = container["resources"]["limits"], deployment["ray_actor_options"]
    assert (int(limits["cpu"]), limits["nvidia.com/gpu"]) == (
        wanted["num_cpus"],
        wanted["num_gpus"],
    )
    assert group["maxReplicas"] == deployment["autoscaling_config"]["max_replicas"]
    assert (
        group["template"]["spec"]["terminationGracePeriodSeconds"]
        > deployment["graceful_shutdown_timeout_s"]
    )


def test_rays_own_ports_ask_for_a_token(rayservice: dict[str, Any]) -> None:
    assert rayservice["spec"]["rayClusterConfig"]["authOptions"] == {"mode": "token"}


def test_usage_statistics_are_off(rayservice: dict[str, Any]) -> None:
    head = rayservice["spec"]["rayClusterConfig"]["headGroupSpec"]["rayStartParams"]
    assert head["disable-usage-stats"] == "true"
    assert "RAY_USAGE_STATS_ENABLED=0" in (ROOT / "deploy" / "ray.Dockerfile").read_text()
