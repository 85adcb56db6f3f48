"""A helper process: files in, upright pixels out. It knows the codecs and no secret."""

import codecs
import io
import mmap
import os
import socket
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from webhook.decoders.confinement import Confinement
from webhook.decoders.messages import receive, send
from webhook.domain import IMAGE_FORMATS
from webhook.errors import ImageRejected
from webhook.imaging.decode import decode, probe

_ENCODINGS = ("ascii", "latin-1", "utf-8", "utf-16", "utf-16-be", "utf-16-le")  # of metadata
_LONGEST_WORDS = 500


def prepare_codecs() -> None:
    """Load all that decoding loads late: a helper has no file system to load it from."""
    for encoding in _ENCODINGS:
        codecs.lookup(encoding)
    Image.init()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for image_format in IMAGE_FORMATS:
        for mode in ("RGB", "L", "P"):
            file = io.BytesIO()
            try:
                Image.new(mode, (8, 8)).save(file, image_format.name, icc_profile=profile)
            except OSError:  # not every format has every mode
                continue
            decode(file.getvalue(), max_pixels=64)


def serve(connection: socket.socket, max_address_space: int) -> None:
    """Do what comes in through the connection, until its other end is closed."""
    try:
        confinement = Confinement(max_address_space)
    except OSError as exc:
        send(connection, {"bug": f"it can't be confined: {exc}"})
        return
    helper = _Helper(confinement)
    while True:
        order, descriptors = receive(connection)
        if order is None:
            return
        if "forget" in order:
            helper.buffers.pop(order["forget"], None)
            continue
        try:
            answer = helper.do(order, descriptors)
        except ImageRejected as error:
            answer = {"rejected": error.code, "message": str(error)[:_LONGEST_WORDS]}
        except MemoryError:
            answer = {"outgrew": True}
        except Exception as exc:
            answer = {"bug": repr(exc)[:_LONGEST_WORDS]}
        confinement.rest()
        send(connection, answer)


@dataclass
class _Helper:
    confinement: Confinement
    buffers: dict[int, mmap.mmap] = field(default_factory=dict)

    def do(self, order: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        file, *memory = descriptors
        number = order.get("buffer")
        try:
            data = os.pread(file, order["file_bytes"], 0)
            buffer = mmap.mmap(memory[0], order["buffer_bytes"]) if memory else None
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self.confinement.allow(order["memory_bytes"], order["cpu_s"])
        if number is None:
            return {"pixels": probe(data, order["max_pixels"])}
        pixels = buffer or self.buffers[number]
        if order["keep"]:
            self.buffers[number] = pixels

        def allocate(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
            return np.ndarray(shape, np.uint8, buffer=pixels)

        image = decode(data, order["max_pixels"], allocate)
        height, width = image.rgba.shape[:2]
        answer = {"height": height, "width": width, "has_alpha": image.has_alpha}
        if image.ignored_profile is not None:
            answer["ignored_profile"] = {
                "reason": image.ignored_profile.reason[:_LONGEST_WORDS],
                "profile_bytes": image.ignored_profile.profile_bytes,
            }
        return answer
