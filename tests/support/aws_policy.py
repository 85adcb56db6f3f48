"""The policy that docs/security.md gives to the service, and a user of moto's AWS that has one."""

import json
import re
from pathlib import Path
from typing import Any

import boto3
import moto.settings
import pytest
from moto.core.authorization import ActionAuthenticatorMixin

_PAGE = Path(__file__).parents[2] / "docs" / "security.md"


def policy() -> dict[str, Any]:
    """Return the policy of the page."""
    found = re.search(r"```json\n(.*?)```", _PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    written: dict[str, Any] = json.loads(found[1])
    return written


def make_user(allowed: dict[str, Any], patch: pytest.MonkeyPatch) -> dict[str, str]:
    """Make a user that has this policy and nothing else; return its key, as the environment has it.

    From here on moto checks permissions.
    """
    iam = boto3.client("iam")
    iam.create_user(UserName="service")
    document = json.dumps(allowed)
    iam.put_user_policy(UserName="service", PolicyName="policy", PolicyDocument=document)
    key = iam.create_access_key(UserName="service")["AccessKey"]
    # moto checks no permissions until so many calls were made.
    patch.setattr(moto.settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
    patch.setattr(ActionAuthenticatorMixin, "request_count", 0)
    return {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }
