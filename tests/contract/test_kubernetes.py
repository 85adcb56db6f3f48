"""The manifests are valid for Kubernetes, fit each other, and fit the code and the image."""

import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from starlette.routing import Route

from webhook import __version__, telemetry
from webhook.commands.serve import GRACE_S
from webhook.http.app import create_app
from webhook.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
PAGE = (ROOT / "docs" / "deployment.md").read_text("utf-8")
PORT = Settings.model_fields["port"].default
OLDEST = "1.30"
NEWEST = kubernetes_validate.latest_version().removesuffix(".0")
# What others than our settings read: boto3 and the model hub's client.
NOT_OURS = {"AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"}


def read(name: str) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text("utf-8"))
    return manifest


KUSTOMIZATION = read("kustomization.yaml")
MANIFESTS = {read(name)["kind"]: read(name) for name in KUSTOMIZATION["resources"]}
DEPLOYMENT = MANIFESTS["Deployment"]["spec"]
POD = DEPLOYMENT["template"]["spec"]
(CONTAINER,) = POD["containers"]
LABELS = DEPLOYMENT["template"]["metadata"]["labels"]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("kind", MANIFESTS)
def test_each_manifest_is_valid(kind: str, version: str) -> None:
    assert kubernetes_validate.validate(MANIFESTS[kind], version, strict=True) == version


@pytest.fixture(scope="module", params=[".", "ray"])
def rendered(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """What kustomize itself makes of a folder."""
    kubectl = Path(sys.executable).with_name("kubectl")
    told = subprocess.run(
        [kubectl, "kustomize", FOLDER / request.param], capture_output=True, text=True, check=True
    )
    return list(yaml.safe_load_all(told.stdout))


def names_asked_for(node: Any) -> Iterator[tuple[str, str]]:
    """Give the kind and name of everything that an object names, wherever it does."""
    if isinstance(node, list):
        for member in node:
            yield from names_asked_for(member)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in ("configMapRef", "secretRef"):
                yield key.removesuffix("Ref").title().replace("map", "Map"), value["name"]
            elif key == "serviceAccountName":
                yield "ServiceAccount", value
            elif key == "scaleTargetRef":
                yield value["kind"], value["name"]
            yield from names_asked_for(value)


def test_every_name_that_one_object_expects_of_another_is_there(
    rendered: list[dict[str, Any]],
) -> None:
    there = {(it["kind"], it["metadata"]["name"]) for it in rendered}
    there.add(("Secret", "webhook"))  # made by hand, as the page says
    asked_for = {name for it in rendered for name in names_asked_for(it)}
    assert {kind for kind, _ in asked_for} >= {"ConfigMap", "Secret"}
    assert asked_for <= there
    assert not {name for kind, name in asked_for if kind == "ConfigMap"} & {"webhook"}  # hashed


def test_what_is_rendered_names_images_with_their_versions(rendered: list[dict[str, Any]]) -> None:
    images = re.findall(r"image: (\S+)", yaml.safe_dump_all(rendered))
    assert images
    assert all(image.endswith(f":{__version__}") for image in images)


def test_both_ways_begin_with_the_same_settings() -> None:
    assert (
        read("ray/kustomization.yaml")["configMapGenerator"] == KUSTOMIZATION["configMapGenerator"]
    )


def test_a_first_start_is_not_given_up_while_it_fetches_weights() -> None:
    probe = CONTAINER["startupProbe"]
    assert (
        DEPLOYMENT["progressDeadlineSeconds"] > probe["periodSeconds"] * probe["failureThreshold"]
    )


def test_prometheus_scrapes_the_port_and_path_that_are_served() -> None:
    monitor = read("podmonitor.yaml")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= LABELS.items()
    (endpoint,) = monitor["podMetricsEndpoints"]
    annotations = DEPLOYMENT["template"]["metadata"]["annotations"]
    assert endpoint == {
        "port": CONTAINER["ports"][0]["name"],
        "path": annotations["prometheus.io/path"],
    }


def test_a_misspelt_key_would_be_noticed() -> None:
    misspelt = {**MANIFESTS["Service"], "spec": {"selectors": {}}}
    with pytest.raises(kubernetes_validate.ValidationError, match="selectors"):
        kubernetes_validate.validate(misspelt, NEWEST, strict=True)


def test_the_image_is_the_one_that_is_built() -> None:
    (image,) = KUSTOMIZATION["images"]
    assert image["name"] == CONTAINER["image"] == "hasura-background-removal"
    assert image["newTag"] == __version__


def test_the_settings_of_the_config_map_and_the_secret_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (config,) = KUSTOMIZATION["configMapGenerator"]
    secret = re.findall(r"^ +(?:# )?([A-Z_]+)=…$", PAGE.partition("webhook.env")[2], re.MULTILINE)
    named = [source["name"] for entry in CONTAINER["envFrom"] for source in entry.values()]
    assert named == [config["name"], "webhook"]
    assert "create secret generic webhook --from-env-file=webhook.env" in PAGE
    values = dict(entry.split("=") for entry in config["literals"])
    assert not values.keys() & set(secret)
    known = {name.upper() for name in Settings.model_fields} | NOT_OURS
    assert {*values, *secret} <= known
    for name, value in (values | dict.fromkeys(secret, "0123456789abcdef")).items():
        monkeypatch.setenv(name, value)
    load_settings()


def test_probes_ask_for_routes_at_the_port_that_is_served() -> None:
    routes = create_app([], lambda: pytest.fail("not opened")).routes
    paths = {route.path for route in routes if isinstance(route, Route)}
    (port,) = CONTAINER["ports"]
    assert port["containerPort"] == PORT
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert CONTAINER[probe]["httpGet"]["path"] in paths
        assert CONTAINER[probe]["httpGet"]["port"] == port["name"]
    annotations = DEPLOYMENT["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] in paths
    assert annotations["prometheus.io/port"] == str(PORT)
    (served,) = MANIFESTS["Service"]["spec"]["ports"]
    assert (served["port"], served["targetPort"]) == (PORT, port["name"])
    (allowed,) = MANIFESTS["NetworkPolicy"]["spec"]["ingress"]
    assert [entry["port"] for entry in allowed["ports"]] == [port["name"]]


def test_the_manifests_are_about_the_same_pods() -> None:
    selectors = (
        DEPLOYMENT["selector"]["matchLabels"],
        MANIFESTS["Service"]["spec"]["selector"],
        MANIFESTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    )
    for selector in selectors:
        assert selector
        assert selector.items() <= LABELS.items()
    target = MANIFESTS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert target["kind"] == "Deployment"
    assert target["name"] == MANIFESTS["Deployment"]["metadata"]["name"]
    assert "replicas" not in DEPLOYMENT  # or each apply would undo the autoscaler's work


def test_the_autoscaler_asks_for_a_gauge_that_the_service_serves() -> None:
    (metric,) = MANIFESTS["HorizontalPodAutoscaler"]["spec"]["metrics"]
    (gauge,) = telemetry.QUEUE_DEPTH.collect()
    assert gauge.type == "gauge"
    assert metric["pods"]["metric"]["name"] == gauge.name
    batch = Settings.model_fields["max_batch_size"].default
    assert metric["pods"]["target"]["averageValue"] == str(batch)


def test_a_pod_that_ends_is_given_the_time_of_its_jobs() -> None:
    name, pause_s = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    assert name == "sleep"
    drain_s = math.ceil(Settings.model_fields["job_timeout_s"].default) + GRACE_S
    assert POD["terminationGracePeriodSeconds"] > int(pause_s) + drain_s


def test_it_runs_as_the_user_of_the_image_without_privileges() -> None:
    (user,) = re.findall(r"^USER (\d+):\1$", DOCKERFILE, re.MULTILINE)
    security = POD["securityContext"]
    assert security["runAsNonRoot"]
    assert {security[key] for key in ("runAsUser", "runAsGroup", "fsGroup")} == {int(user)}
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not POD["automountServiceAccountToken"]
    assert not POD["enableServiceLinks"]  # variables of services have names like ours


def test_what_is_written_has_a_volume() -> None:
    mounted = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert mounted.keys() == {volume["name"] for volume in POD["volumes"]}
    (cache,) = re.findall(r"HF_HOME=(/\w+)/", DOCKERFILE)
    assert set(mounted.values()) == {cache, "/tmp"}


def test_a_device_is_asked_for_where_the_settings_insist_on_it() -> None:
    (config,) = KUSTOMIZATION["configMapGenerator"]
    assert "DEVICE=cuda" in config["literals"]
    assert CONTAINER["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert [taint["key"] for taint in POD["tolerations"]] == ["nvidia.com/gpu"]
