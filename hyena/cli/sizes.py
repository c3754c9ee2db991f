"""Numbers of bytes as people write them."""

import re

from hyena.errors import HyenaError

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_bytes(text: str, option: str) -> int:
    """Bytes of 500M, 2G, 1.5GiB or a plain number; units are powers of 1024."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?\s*", text, re.IGNORECASE)
    if found is None or not float(found[1]):
        raise HyenaError(f"{option} is {text!r}: use a number of bytes such as 500M, 2G or 1.5GiB")
    return int(float(found[1]) * _UNITS[found[2].upper()])
