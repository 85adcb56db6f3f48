"""Files that cost far more time than their bytes and pixels tell are refused before they do.

The process that decodes would be ended for them; but until then they would take its core.
"""

import re

from webhook.errors import UnsupportedImage

# Each scan of a JPEG visits the whole picture, though it may be 75 bytes long: cameras and
# optimisers write 1 to 20. No limit of libjpeg's own is in the way.
_MAX_JPEG_SCANS = 50
_MAX_JPEG_MARKERS = 2_000
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")  # no stuffed byte, no restart
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9


def check_jpeg_scans(data: bytes) -> None:
    """Refuse a JPEG of which the decoder would visit every pixel too often.

    Raises:
        UnsupportedImage: it has more scans than any camera or optimiser writes.
    """
    if data.count(b"\xff\xda") <= _MAX_JPEG_SCANS:  # at memory speed; thumbnails and videos count
        return
    position = scans = 0
    for _ in range(_MAX_JPEG_MARKERS):
        marker = _JPEG_MARKER.search(data, position)
        kind = marker[1][0] if marker else _END_OF_IMAGE
        if marker is None or (kind == _END_OF_IMAGE and scans):
            return
        scans += kind == _START_OF_SCAN
        if scans > _MAX_JPEG_SCANS:
            break
        position = marker.end()
        if kind not in (0x01, 0xD8, _END_OF_IMAGE):  # these stand alone; others tell their length
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
    raise UnsupportedImage("The JPEG has more scans than any camera writes.")
