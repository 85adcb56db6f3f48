"""What docs/scaling.md says to type: the service in Ray Serve, and as RunPod's worker."""

import json
import tempfile
import uuid

import httpx2

from devstack.processes import free_port
from devstack.stack import Stack, says_ok
from tests.docs.terminal import Terminal
from tests.support.people import Database, User
from tests.support.photos import ROCKET

# What a machine of docs/scaling.md has. Ray only counts: the service looks for a GPU itself.
RESOURCES = {"CPU": 2, "GPU": 1}


def assert_a_job_is_done(stack: Stack, url: str, secret: str | None) -> None:
    user, image_id = User(stack), str(uuid.uuid4())
    user.upload(image_id, ROCKET)
    Database(stack).insert_without_event(image_id)
    headers = {"x-webhook-secret": secret} if secret else {}
    body = {"input": {"id": image_id, "model": "embedded"}}
    answer = httpx2.post(f"{url}/runsync", json=body, headers=headers, timeout=60)
    key = f"img/{image_id}/trans.png"
    assert answer.status_code == 200, answer.text
    assert answer.json().get("output", answer.json()) == {"key": key}
    assert user.cutout(key).shape == (427, 640, 4)


def test_ray_serves_what_the_file_says(terminal: Terminal, stack: Stack) -> None:
    port = free_port()
    file = terminal.folder / "deploy" / "ray-serve.yaml"
    file.write_text(file.read_text().replace("port: 8000", f"port: {port}"))
    terminal.filled_in = {
        "SECRET=…": f"SECRET={stack.webhook_secret}",
        "ENDPOINT=…": f"ENDPOINT={stack.engine_url}",
    }
    terminal.type("pip install --require-hashes -r requirements/ray.txt")
    terminal.type("pip install -r requirements/torch.txt")
    terminal.type("export RAY_USAGE_STATS_ENABLED=0 WEBHOOK_SECRET=… HASURA_GRAPHQL_ENDPOINT=…")
    # "as in the README"
    terminal.environment = {**stack.settings, **terminal.environment}
    with tempfile.TemporaryDirectory(
        prefix="ray-", ignore_cleanup_errors=True
    ) as folder:  # paths of sockets must be short
        terminal.environment["RAY_TMPDIR"] = folder
        terminal.environment["RAY_OVERRIDE_RESOURCES"] = json.dumps(RESOURCES)
        with terminal.typing("serve run deploy/ray-serve.yaml") as serve:
            serve.wait_until(says_ok(f"http://127.0.0.1:{port}/readyz"))
            assert_a_job_is_done(stack, f"http://127.0.0.1:{port}", stack.webhook_secret)


def test_runpods_worker_answers_on_this_machine(terminal: Terminal, stack: Stack) -> None:
    terminal.type("pip install --require-hashes -r requirements/runpod.txt")
    port = free_port()
    terminal.environment |= stack.settings
    with terminal.typing(
        "python -m webhook.engines.runpod_worker --rp_serve_api", f"--rp_api_port {port}"
    ) as worker:
        worker.wait_for("Uvicorn running on")
        assert_a_job_is_done(stack, f"http://127.0.0.1:{port}", None)
