"""Files that are made to cost more than they are worth, by kind: name -> seed -> bytes.

Every seed gives another file of the kind. What is costly to make is made once. Those that
can be decoded have five megapixels at most, as a large picture may take its time.
"""

from collections.abc import Callable, Mapping

from tests.support.hostile import gif, jpeg, other, png, webp

Kind = Callable[[int], bytes]

KINDS: Mapping[str, Kind] = {
    **{f"png-{name}": kind for name, kind in png.KINDS.items()},
    **{f"jpeg-{name}": kind for name, kind in jpeg.KINDS.items()},
    **{f"gif-{name}": kind for name, kind in gif.KINDS.items()},
    **{f"webp-{name}": kind for name, kind in webp.KINDS.items()},
    **other.KINDS,
}
