"""Every wait is bounded, and each bound is shorter than the one around it, up to Hasura's own."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from webhook import s3, storage
from webhook.commands.serve import GRACE_S
from webhook.hasura import client
from webhook.http.app import BODY_TIMEOUT_S
from webhook.settings import Settings

METADATA = Path(__file__).parents[2] / "hasura_metadata"
LONGEST_BACKOFFS_S = 1 + 2  # of botocore, before its second try and its third


def read(path: str) -> Any:
    return yaml.safe_load((METADATA / path).read_text("utf-8"))


def longest_job_s() -> float:
    """Return the largest deadline of a job that the settings take."""
    (bound,) = [limit.le for limit in Settings.model_fields["job_timeout_s"].metadata[1:]]
    assert isinstance(bound, int)
    return bound


def test_one_call_of_s3_with_all_its_tries_fits_into_its_own_bound() -> None:
    one_try_s = s3.CONNECT_TIMEOUT_S + s3.READ_TIMEOUT_S
    assert s3.TRIES * one_try_s + LONGEST_BACKOFFS_S < storage.CALL_TIMEOUT_S


@pytest.mark.parametrize("call_s", [storage.CALL_TIMEOUT_S, client.TIMEOUT_S])
def test_one_call_fits_into_a_job(call_s: float) -> None:
    assert call_s < Settings.model_fields["job_timeout_s"].default


def test_an_action_is_answered_before_hasura_gives_it_up() -> None:
    (action,) = read("actions.yaml")["actions"]
    look_up_s = write_failure_s = client.TIMEOUT_S
    longest_s = BODY_TIMEOUT_S + look_up_s + longest_job_s() + write_failure_s
    assert longest_s < action["definition"]["timeout"]


def test_an_event_is_answered_before_hasura_delivers_it_again() -> None:
    (trigger,) = read("databases/default/tables/public_images.yaml")["event_triggers"]
    # A failure that could not be written is tried once more when its delivery is given up.
    longest_s = BODY_TIMEOUT_S + longest_job_s() + 2 * client.TIMEOUT_S
    assert longest_s < trigger["retry_conf"]["timeout_sec"]


def test_a_shutdown_lets_every_job_reach_its_own_deadline() -> None:
    assert GRACE_S > 0
