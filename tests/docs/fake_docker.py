"""A fake of Docker, for want of an engine; its flags are Docker's own.

An image is made by following the Dockerfile, and runs as a process of this machine. Compose is the
real one: it plans what it would do with an engine that answers, and runs nothing yet.
"""

import argparse
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NoReturn

from tests.support.dockerfile import follow
from tests.support.serving import serving

_VERSION = "1.50"


def main() -> None:
    """Do one of Docker's commands."""
    parser = argparse.ArgumentParser(prog="docker")
    commands = parser.add_subparsers(required=True)
    building = commands.add_parser("build")
    for flag in ("--platform", "--tag"):
        building.add_argument(flag, required=True)
    for flag in ("--build-arg", "--secret"):
        building.add_argument(flag, action="append", default=[])
    building.add_argument("context", type=Path)
    building.set_defaults(do=build)
    running = commands.add_parser("run")
    for flag in ("--gpus", "--tmpfs", "--volume", "--publish", "--cap-drop", "--security-opt"):
        running.add_argument(flag)
    running.add_argument("--read-only", action="store_true")
    running.add_argument("--env-file", type=Path, required=True)
    running.add_argument("--stop-timeout", type=int)
    running.add_argument("image")
    running.add_argument("command", nargs="*")
    running.set_defaults(do=run)
    if sys.argv[1:2] == ["compose"]:  # its flags are for itself to read
        compose(sys.argv[2:])
    options = parser.parse_args()
    options.do(options)


def state() -> Path:
    """Return where images and containers are."""
    return Path(os.environ["FAKES"])


def build(options: argparse.Namespace) -> None:
    """Make an image, as far as `follow` does."""
    folder = state() / "images" / options.tag
    folder.mkdir(parents=True)
    image = follow(folder)[""]
    given = dict(argument.split("=", 1) for argument in options.build_arg)
    assert given.keys() <= image.arguments.keys(), "the Dockerfile has no such ARG"
    secrets = [dict(part.split("=") for part in secret.split(",")) for secret in options.secret]
    for secret in secrets:
        assert os.environ[secret["env"]], f"{secret['env']} is empty"
    print(f"naming to {options.tag}")
    print(json.dumps({**given, "secrets": [secret["id"] for secret in secrets]}))


def run(options: argparse.Namespace) -> None:
    """Become the image's process."""
    assert (state() / "images" / options.image).is_dir(), "no such image"
    folder = state() / "containers"
    folder.mkdir()
    image = follow(folder)[""]
    lines = options.env_file.read_text("utf-8").splitlines()
    environment = image.environment(**dict(line.split("=", 1) for line in lines))
    command: list[str] = image.entrypoint + (options.command or image.command)
    os.chdir(image.here)
    os.execvpe(command[0], command, environment)


class _EmptyEngine(BaseHTTPRequestHandler):
    """An engine that has every image, and no container, network or volume."""

    def do_GET(self) -> None:
        kind = self.path.partition("?")[0].removeprefix(f"/v{_VERSION}/")
        answers: dict[str, object] = {
            "containers/json": [],
            "networks": [],
            "volumes": {"Volumes": []},
            "info": {"OSType": "linux", "Architecture": "x86_64"},
        }
        if kind.startswith("images/"):
            answers[kind] = {"Id": "sha256:0", "Config": {}, "Os": "linux", "Architecture": "amd64"}
        body = json.dumps(answers.get(kind, {})).encode()
        self.send_response(200 if kind in answers or kind == "/_ping" else 404)
        self.send_header("Api-Version", _VERSION)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


def compose(arguments: list[str]) -> NoReturn:
    """Have Compose plan."""
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), _EmptyEngine)) as url:
        environment = {**os.environ, "DOCKER_HOST": url.replace("http:", "tcp:")}
        command = ["docker-compose", "--dry-run", "--ansi", "never", *arguments]
        sys.exit(subprocess.run(command, env=environment).returncode)


if __name__ == "__main__":
    main()
