"""Published weights on this machine: fetched at their pinned revision, and verified."""

import hashlib
import os
import shutil
from pathlib import Path

import httpx2
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import logging as hub_logging

from webhook.errors import ConfigurationError, WeightsInvalid
from webhook.models import WEIGHTS_FILE, Checkpoint


def fetch(checkpoint: Checkpoint) -> Path:
    """Return the folder with the verified weights; they come from the hub if they aren't here yet.

    Raises:
        ConfigurationError: they can't be had; the message says what to do.
        WeightsInvalid: the file here isn't the published one.
    """
    name = checkpoint.repository
    hub_logging.set_verbosity_error()  # each of its tries would say again what our error says
    try:
        weights = Path(hf_hub_download(name, WEIGHTS_FILE, revision=checkpoint.revision))
    except GatedRepoError as exc:
        raise ConfigurationError(
            f"{name} is gated: accept its licence ({checkpoint.licence}) on its page of the model "
            f"hub, set HF_TOKEN to a token of that account, and run: python -m webhook pull {name}"
        ) from exc
    except (LocalEntryNotFoundError, HfHubHTTPError, httpx2.HTTPError, OSError) as exc:
        raise ConfigurationError(
            f"The weights of {name} are not here, and the model hub can't be reached. Where it can "
            f"be, download {WEIGHTS_FILE} of revision {checkpoint.revision}; then run here: "
            f"python -m webhook pull {name} --from FOLDER"
        ) from exc
    verify(weights, checkpoint)
    return weights.parent


def downloaded(checkpoint: Checkpoint) -> Path | None:
    """Return the file of weights if it is on this machine; it isn't verified."""
    found = try_to_load_from_cache(
        checkpoint.repository, WEIGHTS_FILE, revision=checkpoint.revision
    )
    return Path(found) if isinstance(found, str) else None


def adopt(checkpoint: Checkpoint, folder: Path) -> Path:
    """Take verified weights from a folder to where `fetch` looks; return that folder.

    Raises:
        ConfigurationError: the folder holds none.
        WeightsInvalid: they aren't the published ones.
    """
    source = weights_in(folder)
    verify(source, checkpoint)
    repository = repo_folder_name(repo_id=checkpoint.repository, repo_type="model")
    snapshot = Path(constants.HF_HUB_CACHE) / repository / "snapshots" / checkpoint.revision
    snapshot.mkdir(parents=True, exist_ok=True)
    unfinished = snapshot / f"{WEIGHTS_FILE}.{os.getpid()}"
    shutil.copyfile(source, unfinished)
    unfinished.replace(snapshot / WEIGHTS_FILE)
    return snapshot


def verify(weights: Path, checkpoint: Checkpoint) -> None:
    """Compare a file with the digest of the published one.

    Raises:
        WeightsInvalid: they differ.
    """
    actual = sha256_of(weights)
    if actual != checkpoint.sha256:
        raise WeightsInvalid(
            f"{weights} is not the published file of {checkpoint.repository} at "
            f"{checkpoint.revision}: its SHA-256 is {actual}, not {checkpoint.sha256}. "
            "Delete it, and pull it again."
        )


def sha256_of(path: Path) -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def weights_in(folder: Path) -> Path:
    """Return the file of weights in a folder.

    Raises:
        ConfigurationError: there is none.
    """
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise ConfigurationError(f"{folder} holds no {WEIGHTS_FILE}; pickles are never loaded.")
    return weights
