"""The steps of README and docs/deployment.md, in their order, up to a row that is done."""

import json
import re
import secrets
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from PIL import Image

from devstack.processes import free_port, free_ports, wait_until_ready
from devstack.stack import Stack, python_server, says_ok
from tests.docs.fake_kubernetes_api import KubernetesApi
from tests.docs.terminal import Terminal
from tests.support.people import Database, User
from tests.support.photos import COFFEE
from tests.support.serving import serving

ADMIN_SECRET = secrets.token_hex(32)  # the doctor finds others wanting
UPLOAD = (
    "aws --endpoint-url http://localhost:8333"
    " s3 cp cup.jpg s3://images/ogs/7f1f9e0a-5f0e-4a53-9d43-0b0f3a1c7a11"
)


@pytest.fixture
def made_secret(terminal: Terminal) -> str:
    secret = terminal.type("openssl rand -hex 32").strip()
    assert re.fullmatch("[0-9a-f]{64}", secret)
    return secret


class Hasura:
    """A reader's own Hasura: the stand-in, on a database of its own, with what `hasura` applied."""

    def __init__(self, terminal: Terminal, database_url: str, variables: Mapping[str, str]) -> None:
        self.port, self.webhook_port = free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}"
        self.webhook_url = f"http://127.0.0.1:{self.webhook_port}"
        applied = Path(terminal.environment["FAKES"]) / "hasura-server"
        arguments = [
            *("-m", "devstack.standin", "--port", str(self.port)),
            *("--metadata", str(applied / "metadata"), "--migrations", str(applied / "migrations")),
        ]
        settings = {
            "HASURA_GRAPHQL_DATABASE_URL": database_url,
            "HASURA_GRAPHQL_ADMIN_SECRET": ADMIN_SECRET,
            "WEBHOOK_BASE_URL": self.webhook_url,
            **variables,
        }
        self.process = python_server(
            "The reader's Hasura", arguments, terminal.folder.parent / "hasura.log", settings
        )


def assert_a_row_is_done(stack: Stack, database_url: str, hasura_url: str) -> None:
    readers = replace(
        stack, database_url=database_url, engine_url=hasura_url, admin_secret=ADMIN_SECRET
    )
    user, image_id = User(readers), str(uuid.uuid4())
    user.upload(image_id, COFFEE)
    user.insert(image_id)
    row = Database(readers).finished_row(image_id)
    assert row["status"] == "done", row
    with Image.open(COFFEE) as original:
        assert user.cutout(row["transparent_key"]).shape == (*original.size[::-1], 4)


def test_migrations_have_no_source_before_the_metadata(terminal: Terminal) -> None:
    terminal.environment |= {
        "HASURA_GRAPHQL_ENDPOINT": "http://127.0.0.1:9",
        "HASURA_GRAPHQL_ADMIN_SECRET": ADMIN_SECRET,
    }
    said = terminal.type("hasura migrate apply --database-name default", status=1)
    assert "does not exist" in said


def test_a_new_project_is_made_of_our_folder(
    terminal: Terminal, stack: Stack, own_database: str, made_secret: str
) -> None:
    hasura = Hasura(terminal, own_database, {"WEBHOOK_SECRET": made_secret})
    terminal.environment |= {
        **stack.s3.environment(),
        "HASURA_GRAPHQL_ENDPOINT": hasura.url,
        "HASURA_GRAPHQL_ADMIN_SECRET": ADMIN_SECRET,
    }
    assert "inconsistent" in terminal.type("hasura metadata apply")
    terminal.type("hasura migrate apply --database-name default")
    terminal.type("hasura metadata reload")
    with hasura.process.running():
        wait_until_ready(says_ok(f"{hasura.url}/healthz"), hasura.process)
        terminal.filled_in = {
            "HF_TOKEN=…": "HF_TOKEN=not-needed-for-the-embedded-model",
        }
        terminal.type("hasura metadata inconsistency status")
        terminal.type("pip install --require-hashes -r requirements.txt")
        terminal.type("pip install -r requirements/torch.txt")
        terminal.type("export AWS_DEFAULT_REGION=eu-central-1 HF_TOKEN=…")
        terminal.environment |= {
            "WEBHOOK_SECRET": made_secret,
            "S3_BUCKET": stack.bucket,
            "MODELS": "embedded",
            "PORT": str(hasura.webhook_port),
        }
        with terminal.typing("python -m webhook serve") as service:
            service.wait_for("Uvicorn running on")
            said = terminal.type("python -m webhook doctor")
            assert "FAIL" not in said
            assert_a_row_is_done(stack, own_database, hasura.url)
            assert service.press_ctrl_c() == 0


def test_hasura_is_told_where_it_is_by_flags(terminal: Terminal) -> None:
    terminal.environment |= {"HASURA_GRAPHQL_ADMIN_SECRET": ADMIN_SECRET}
    terminal.type("hasura metadata apply")
    terminal.filled_in = {"https://…": "https://hasura.example", "secret …": "secret s3cr3t"}
    said = terminal.type(
        "hasura migrate apply --database-name default --endpoint https://… --admin-secret …"
    )
    assert "https://hasura.example" in said


def test_the_image_serves(terminal: Terminal, stack: Stack, made_secret: str) -> None:
    terminal.filled_in = {"HF_TOKEN=…": "HF_TOKEN=hf_token", "8000": str(free_port())}
    terminal.type("make image")
    settings = {**stack.settings, "WEBHOOK_SECRET": made_secret, "PORT": terminal.filled_in["8000"]}
    lines = [f"{name}={text}" for name, text in settings.items()]
    (terminal.folder / "webhook.env").write_text("\n".join(lines))
    with terminal.typing(
        "docker run --gpus all --read-only --tmpfs /tmp --volume weights:/cache"
        " --env-file webhook.env --cap-drop ALL --security-opt no-new-privileges"
        " --stop-timeout 110 --publish 8000:8000 hasura-background-removal:0.1.0"
    ) as container:
        container.wait_for("Uvicorn running on")
        url = f"http://127.0.0.1:{terminal.filled_in['8000']}"
        assert httpx2.get(f"{url}/readyz").status_code == 200
        assert container.press_ctrl_c() == 0


@pytest.mark.parametrize(
    ("command", "weights", "secrets_of_the_build"),
    [
        ("HF_TOKEN=… make image WEIGHTS=briaai/RMBG-2.0", "briaai/RMBG-2.0", ["HF_TOKEN"]),
        ("make image WEIGHTS=…", "embedded", []),
    ],
)
def test_weights_are_baked_in_by_a_secret_of_the_build(
    terminal: Terminal, command: str, weights: str, secrets_of_the_build: list[str]
) -> None:
    terminal.filled_in = {"HF_TOKEN=…": "HF_TOKEN=hf_token", "WEIGHTS=…": "WEIGHTS=embedded"}
    said = terminal.type(command)
    assert "hf_token" not in said
    built = json.loads(said.splitlines()[-1])
    assert built["WEIGHTS"] == weights
    assert built["secrets"] == secrets_of_the_build


def test_one_machine_runs_all_by_compose(terminal: Terminal) -> None:
    terminal.type("cp .env.example .env")
    settings = terminal.folder / ".env"
    filled_in = re.sub(
        r"^(\w+)=$", lambda name: name[0] + secrets.token_hex(32), settings.read_text(), flags=re.M
    )
    settings.write_text(filled_in)
    said = terminal.type("docker compose --profile gpu up --build --detach")
    for service in ("postgres", "hasura", "s3", "webhook-gpu"):
        assert re.search(rf"-{service}-1 Started", said), said
    for service in ("postgres", "hasura", "s3"):  # these are waited for
        assert re.search(rf"-{service}-1 Healthy", said), said
    terminal.type("docker compose --profile gpu ps")
    terminal.type("docker compose --profile gpu down")


def test_a_photograph_is_uploaded_and_fetched_by_the_aws_cli(
    terminal: Terminal, stack: Stack, user: User, database: Database
) -> None:
    image_id = UPLOAD.rpartition("/")[2]
    access = stack.s3.environment()
    assert stack.bucket == "images"
    terminal.filled_in = {
        "http://localhost:8333": stack.s3.endpoint_url,
        "KEY_ID=…": f"KEY_ID={access['AWS_ACCESS_KEY_ID']}",
        "ACCESS_KEY=…": f"ACCESS_KEY={access['AWS_SECRET_ACCESS_KEY']}",
    }
    shutil.copy(COFFEE, terminal.folder / "cup.jpg")
    terminal.type("export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… AWS_DEFAULT_REGION=us-east-1")
    terminal.type(UPLOAD)
    user.insert(image_id)
    assert database.finished_row(image_id)["status"] == "done"
    fetch = (
        f"aws --endpoint-url {stack.s3.endpoint_url} s3 cp s3://images/img/{image_id}/trans.png ."
    )
    terminal.type(UPLOAD, "&&", fetch)  # the same, the other way round
    with Image.open(terminal.folder / "trans.png") as cutout:
        assert cutout.mode == "RGBA"


def test_a_cluster_takes_the_manifests(terminal: Terminal) -> None:
    names = ["WEBHOOK_SECRET", "HASURA_GRAPHQL_ADMIN_SECRET", "AWS_ACCESS_KEY_ID", "HF_TOKEN"]
    (terminal.folder / "webhook.env").write_text("".join(f"{name}=value\n" for name in names))
    cluster = KubernetesApi()
    with serving(cluster) as url:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": url}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "nobody"}}],
            "users": [{"name": "nobody", "user": {}}],
            "current-context": "fake",
        }
        (terminal.folder / "kubeconfig").write_text(json.dumps(config))
        terminal.environment["KUBECONFIG"] = str(terminal.folder / "kubeconfig")
        terminal.environment["KUBECACHEDIR"] = str(terminal.folder / "cache")
        terminal.type("kubectl create secret generic webhook --from-env-file=webhook.env")
        terminal.type("kubectl apply --kustomize deploy/kubernetes")
        said = terminal.type("kubectl rollout status deployment/webhook --timeout=15m")
    assert "successfully rolled out" in said
    made = {path.rpartition("/default/")[2]: content for path, content in cluster.objects.items()}
    assert made["secrets/webhook"]["variables"] == sorted(names)
    container = made["deployments/webhook"]["spec"]["template"]["spec"]["containers"][0]
    for source in container["envFrom"]:
        ((kind, reference),) = source.items()
        assert f"{kind.removesuffix('Ref').lower()}s/{reference['name']}" in made
    assert {path.partition("/")[0] for path in made} == {
        *("configmaps", "deployments", "horizontalpodautoscalers", "networkpolicies"),
        *("poddisruptionbudgets", "secrets", "serviceaccounts", "services"),
    }
