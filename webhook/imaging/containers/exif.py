"""The orientation in an EXIF block. Nothing else of EXIF is read."""

import struct

_ORIENTATION, _SHORT = 0x0112, 3


def orientation(tiff: bytes) -> int:
    """Return the orientation, 1 to 8; 1 if there is none or the block is broken.

    Like browsers it takes a single SHORT, in the first directory, for the orientation.

    Args:
        tiff: What follows the six bytes `Exif`, 0, 0: it begins with `II` or `MM`.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    entries = tiff[start + 2 : start + 2 + 12 * count]
    entries = entries[: len(entries) // 12 * 12]
    for tag, kind, values, value in struct.iter_unpack(f"{order}HHIHxx", entries):
        if tag == _ORIENTATION and kind == _SHORT and values == 1:
            return value if value in range(1, 9) else 1
    return 1
