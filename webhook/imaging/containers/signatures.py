"""What a file is that is none of the formats: so many words save the question what is wrong."""

import re

from webhook.domain import list_formats

_PREFIXES = (
    (b"II*\0", "a TIFF image or a camera's raw file"),
    (b"MM\0*", "a TIFF image or a camera's raw file"),
    (b"II+\0", "a TIFF image"),
    (b"MM\0+", "a TIFF image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"8BPS", "a Photoshop document"),
    (b"\0\0\1\0", "an icon (ICO)"),
    (b"%PDF-", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"FUJIFILMCCD-RAW", "a camera's raw file"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x1a\x45\xdf\xa3", "a WebM or Matroska video"),
    (b"RIFF", "an AVI video or a WAV sound"),
    (b"OggS", "an Ogg file"),
    (b"ID3", "an MP3 sound"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)
# ISO 14496-12, 4.3: after the size and `ftyp` the major brand, its version, then compatible ones.
_BRANDS = (
    (re.compile(rb"avi[fs]"), "an AVIF image"),
    (re.compile(rb"hei[cxms]|hev[cxms]|mi[fa]1|msf1"), "a HEIC image"),
    (re.compile(rb"crx "), "a camera's raw file"),
    (re.compile(rb"qt  "), "a QuickTime video"),
)
_BITMAP = re.compile(rb"BM.{4}\0\0\0\0.{2}\0\0", re.DOTALL)
_NETPBM = re.compile(rb"P[1-7F][ \t\r\n]")
_MARKUP = (
    (re.compile(rb"<svg[\s/>]", re.IGNORECASE), "an SVG drawing"),
    (re.compile(rb"<(!doctype\s+html|html[\s>])", re.IGNORECASE), "an HTML page"),
    (re.compile(rb"\A<[?!a-z]", re.IGNORECASE), "an XML document"),
    (re.compile(rb"\A[{\[]"), "JSON or other text"),
)
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_LOOKED_AT_BYTES = 1024


def refusal(data: bytes) -> str:
    """Return the words that refuse a file which is none of the IMAGE_FORMATS."""
    named = _kind(data[:_LOOKED_AT_BYTES])
    formats = f"no {list_formats('or')} image"
    return f"The file is {formats}." if named is None else f"The file is {named}, {formats}."


def _kind(head: bytes) -> str | None:
    if not head:
        return "empty"
    if head[4:8] == b"ftyp":
        return _kind_by_brand(head)
    for prefix, kind in _PREFIXES:
        if head.startswith(prefix):
            return kind
    if _BITMAP.match(head):
        return "a BMP image"
    if _NETPBM.match(head):
        return "a Netpbm image"
    return _kind_of_text(head)


def _kind_by_brand(head: bytes) -> str:
    box = head[8 : min(int.from_bytes(head[:4], "big"), 256)]
    brands = [box[:4], *(box[start : start + 4] for start in range(8, len(box), 4))]
    # The major brand says most, but `mif1` stands for both HEIC and AVIF.
    if b"avif" in brands[1:] and brands[0] in (b"mif1", b"msf1"):
        return "an AVIF image"
    for pattern, kind in _BRANDS:
        if pattern.fullmatch(brands[0]):
            return kind
    return "a video (MP4)"


def _kind_of_text(head: bytes) -> str | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text or _NO_TEXT.search(text):
        return None
    for pattern, kind in _MARKUP:
        if pattern.search(text):
            return kind
    return "text"
