"""Follows the Dockerfile as a builder would, as far as that goes without an engine or a network.

COPY is done, from what .dockerignore lets through, and so are the RUN lines of our own code. Users
and packages are not made: this machine's Python stands for the image's.
"""

import os
import shlex
import shutil
import signal
import string
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath

from e2b_dockerfile_utils import DockerfileInstruction, PatternMatcher, parse_dockerfile_ast

ROOT = Path(__file__).parents[2]
_PACKAGES_PATH = "/opt/venv/bin"
_NEEDS_ROOT_OR_PACKAGES = ("useradd ", "python -m venv ", f"{_PACKAGES_PATH}/pip ")


@dataclass
class Image:
    """What the instructions of one stage have come to.

    `root` is the folder that stands for the stage's `/`; `runs` are all its RUN lines.
    """

    base: str
    root: Path
    folder: PurePosixPath = field(default_factory=lambda: PurePosixPath("/"))
    user: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def here(self) -> Path:
        """Where its working directory lies on this machine."""
        return self.at(self.folder)

    def at(self, path: PurePosixPath | str) -> Path:
        """Return where a path of the image lies on this machine."""
        return self.root / (self.folder / path).relative_to("/")

    def environment(self, **more: str) -> dict[str, str]:
        """Return its variables, with `more`, for a process on this machine."""
        mapped = {
            name: str(self.at(value)) if value.startswith("/") else value
            for name, value in self.variables.items()
        }
        path = self.variables["PATH"].replace(_PACKAGES_PATH, str(Path(sys.executable).parent))
        return {**mapped, "PATH": path, **more}

    def files(self) -> set[str]:
        """Return every file in it."""
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}


def instructions() -> list[DockerfileInstruction]:
    """Parse the Dockerfile; a doubtful one is refused."""
    parsed = parse_dockerfile_ast((ROOT / "Dockerfile").read_text("utf-8"))
    assert parsed.warnings == []
    return parsed.instructions


def ignored() -> PatternMatcher:
    """Return what .dockerignore keeps from a builder."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    return PatternMatcher([line for line in lines if line and not line.startswith("#")])


def context() -> Iterator[str]:
    """Yield the files that a builder is sent."""
    matcher = ignored()
    for folder, folders, files in os.walk(ROOT):
        here = Path(folder).relative_to(ROOT)
        if here == Path():  # the rest is all ignored, and large
            folders[:] = [
                name for name in folders if name in ("graphql", "requirements", "webhook")
            ]
        for name in files:
            path = (here / name).as_posix()
            if not matcher.matches(path):
                yield path


def follow(folder: Path) -> dict[str, Image]:
    """Do what the Dockerfile says in `folder`; return its stages, the last as `""`."""
    stages: dict[str, Image] = {}
    image = Image("", folder)
    for number, instruction in enumerate(instructions()):
        if instruction.name == "FROM":
            base, *name = instruction.args
            image = stages[name[1] if name else ""] = Image(base, folder / str(number))
            image.variables["PATH"] = os.environ["PATH"]
            image.root.mkdir()
        else:
            _do(instruction, image, stages)
    return stages


def _do(instruction: DockerfileInstruction, image: Image, stages: dict[str, Image]) -> None:
    arguments = instruction.args
    match instruction.name:
        case "WORKDIR":
            image.folder /= arguments[0]
            image.here.mkdir(parents=True)
        case "ENV" | "LABEL":
            known = image.variables | image.arguments
            triples = zip(arguments[::3], arguments[1::3], strict=True)
            values = {k: string.Template(v.strip('"')).safe_substitute(known) for k, v in triples}
            (image.variables if instruction.name == "ENV" else image.labels).update(values)
        case "ARG":
            name, _, default = arguments[0].partition("=")
            image.arguments[name] = default.strip('"')
        case "COPY":
            _copy(instruction, image, stages)
        case "RUN":
            image.secrets += [flag for flag in instruction.flags if "type=secret" in flag]
            image.runs.append(arguments[0])
            _run(arguments[0], image)
        case "USER":
            image.user = arguments[0]
        case "ENTRYPOINT":
            image.entrypoint = arguments
        case "CMD":
            image.command = arguments
        case "HEALTHCHECK":
            image.healthcheck = arguments[1:]
        case "STOPSIGNAL":
            image.stop_signal = signal.Signals[arguments[0]]
        case "EXPOSE":
            pass
        case unknown:
            raise NotImplementedError(unknown)


def _copy(instruction: DockerfileInstruction, image: Image, stages: dict[str, Image]) -> None:
    *sources, target = instruction.args
    origin = [flag.removeprefix("--from=") for flag in instruction.flags]
    if origin:  # packages: what is copied must be what the other stage has made
        assert sources == [target]
        assert any(target in run for run in stages[origin[0]].runs)
        return
    sent = list(context())
    for source in sources:
        taken = [path for path in sent if path == source or path.startswith(f"{source}/")]
        assert taken, f"COPY finds no {source}"
        for path in taken:
            inside = PurePosixPath(path).relative_to(source)  # empty for a file itself
            destination = image.at(target) / (inside if inside.parts else PurePosixPath(path).name)
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, destination)


def _run(line: str, image: Image) -> None:
    if any(words in line for words in _NEEDS_ROOT_OR_PACKAGES):
        return
    # Arguments are variables here; a name of no weights to fetch goes through the whole line.
    environment = image.environment(**image.arguments)
    if "WEIGHTS" in image.arguments:
        environment["WEIGHTS"] = "embedded"
    subprocess.run(["sh", "-c", line], cwd=image.here, env=environment, check=True)


def flags(line: str, flag: str) -> list[str]:
    """Return the values of a repeated flag of a command line."""
    words = shlex.split(line)
    return [value for name, value in pairwise(words) if name == flag]
