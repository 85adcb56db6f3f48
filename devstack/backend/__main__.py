"""Serves the page and its backend: `python -m devstack.backend --port N`."""

import argparse
import asyncio
import os
from collections.abc import Mapping

import boto3
import httpx2
import uvicorn
from botocore.config import Config

from devstack.backend.app import create_app
from devstack.backend.identity import Identity
from devstack.backend.photos import Photos


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m devstack.backend", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(_serve(parser.parse_args().port, os.environ))


async def _serve(port: int, environment: Mapping[str, str]) -> None:
    # The default signature of presigned URLs covers neither length nor region.
    config = Config(signature_version="s3v4", s3={"addressing_style": "path"})
    photos = Photos(boto3.client("s3", config=config), environment["S3_BUCKET"])
    endpoint = environment["HASURA_GRAPHQL_ENDPOINT"]
    async with httpx2.AsyncClient(base_url=endpoint, trust_env=False, timeout=10) as hasura:
        app = create_app(
            Identity(environment["JWT_KEY"]), photos, hasura, environment["AWS_ENDPOINT_URL_S3"]
        )
        server = uvicorn.Config(app, host="127.0.0.1", port=port, lifespan="off", access_log=False)
        await uvicorn.Server(server).serve()


if __name__ == "__main__":
    main()
