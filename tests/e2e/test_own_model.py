"""BiRefNet in the whole service: a folder of generated weights, served as the model `local`."""

import uuid
from pathlib import Path

import torch
from safetensors.torch import save_file

from devstack.stack import demo_stack
from tests.support.parity import weights
from tests.support.parity.compare import published_tensors
from tests.support.people import Database, User
from tests.support.photos import ROCKET
from webhook.segmentation.hub import sha256_of


def test_an_event_runs_birefnet_and_an_action_may_name_another_model(tmp_path: Path) -> None:
    filled = weights.fill_state_dict(published_tensors("swin_t"))
    folder = tmp_path / "model"
    folder.mkdir()
    tensors = {name: torch.from_numpy(value) for name, value in filled.items()}
    save_file(tensors, folder / "model.safetensors")
    settings = {"LOCAL_MODEL": str(folder), "LOCAL_MODEL_PATCH_ORDER": "columns", "DEVICE": "cpu"}
    with demo_stack(tmp_path, models="local,embedded", service_settings=settings) as stack:
        user, database = User(stack), Database(stack)
        image_id = str(uuid.uuid4())
        user.upload(image_id, ROCKET)
        user.insert(image_id)
        row = database.finished_row(image_id)
        assert (row["status"], row["model"]) == ("done", "local")
        assert_certified(user, row["transparent_key"], folder)
        answer = user.remove_background(image_id, model="embedded")
        assert answer["data"]["removeBackground"]["key"] == row["transparent_key"]
        assert database.row(image_id)["model"] == "embedded"


def assert_certified(user: User, key: str, folder: Path) -> None:
    head = user.stack.s3.client().head_object(Bucket=user.stack.bucket, Key=key)
    certificate = head["Metadata"]
    assert certificate["model"] == "local"
    assert certificate["revision"] == sha256_of(folder / "model.safetensors")[:12]
    assert certificate["precision"] == "float32"
    assert user.cutout(key).shape == (427, 640, 4)
