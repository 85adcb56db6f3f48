"""The files for RunPod's Hub: its required fields, our settings, and what its image copies."""

import json
import re
from pathlib import Path
from typing import Any

from webhook.settings import JobSettings

ROOT = Path(__file__).parents[2]
HUB = ROOT / ".runpod"
OF_LIBRARIES = {"HF_TOKEN"}  # and boto3's AWS_*


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def assert_known(names: list[str]) -> None:
    ours = {name.upper() for name in JobSettings.model_fields}
    assert {name for name in names if not name.startswith("AWS_")} <= ours | OF_LIBRARIES
    assert len(names) == len(set(names))


def test_the_listing_has_what_the_hub_requires() -> None:
    listing = read(HUB / "hub.json")
    assert {"title", "description", "type", "category", "config"} <= listing.keys()
    assert (listing["type"], listing["category"]) == ("serverless", "image")
    config = listing["config"]
    assert (config["runsOn"], config["gpuCount"]) == ("GPU", 1)
    kinds = {"static", "string", "huggingface", "option", "number", "boolean"}
    for variable in config["env"]:
        assert variable["input"]["type"] in kinds
        assert {"name", "description"} <= variable["input"].keys()


def test_every_variable_of_the_listing_is_one_that_the_worker_reads() -> None:
    listing = read(HUB / "hub.json")
    assert_known([variable["key"] for variable in listing["config"]["env"]])
    required = {
        variable["key"]
        for variable in listing["config"]["env"]
        if variable["input"].get("required")
    }
    needed = {
        name.upper() for name, field in JobSettings.model_fields.items() if field.is_required()
    }
    assert needed <= required


def test_the_hubs_test_is_a_job_and_holds_no_secret() -> None:
    tests = read(HUB / "tests.json")
    (test,) = tests["tests"]
    assert {"input": test["input"]} == read(ROOT / "test_input.json")
    names = [variable["key"] for variable in tests["config"]["env"]]
    assert_known(names)
    assert not [name for name in names if re.search("SECRET|TOKEN|ACCESS_KEY", name)]


def test_the_image_copies_what_is_there_and_is_let_through() -> None:
    dockerfile = (HUB / "Dockerfile").read_text("utf-8")
    let_through = (HUB / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    copied = [
        source
        for line in re.findall(r"^COPY (.+)$", dockerfile, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists()
        assert any(line.startswith(f"!{source}") for line in let_through), source
