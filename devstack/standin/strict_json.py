"""JSON as the standard has it: Python would also read, and write, NaN and Infinity."""

import json
import math
from typing import Any


def loads(content: bytes | str) -> Any:
    """Read a JSON text.

    Raises:
        ValueError: it is none, or has a number that no float can hold.
    """
    text = content.decode() if isinstance(content, bytes) else content  # no other encoding
    try:
        return json.loads(text, parse_constant=_refused, parse_float=_finite)
    except RecursionError:
        raise ValueError("too deep") from None


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refused(text)


def _refused(text: str) -> float:
    raise ValueError(f"{text} is no number")
