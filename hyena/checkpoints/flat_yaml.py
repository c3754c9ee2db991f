"""The published configurations of StripedHyena and Evo are flat YAML: `key: value` a line, comments, lists in brackets.

That much is read here, without a YAML package, and anything else is an error that names the line.
"""

import re
from pathlib import Path
from typing import Any

from hyena.configs.files import read_text
from hyena.errors import HyenaError

_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


def read_yaml(path: Path) -> dict[str, Any]:
    """The content of a flat YAML file."""
    values: dict[str, Any] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        text = re.sub(r"(^|\s)#.*", "", line).rstrip()
        if not text.strip() or text == "---":
            continue
        match = re.fullmatch(r"([A-Za-z_][\w-]*)\s*:(?:\s+(.*))?", text)
        if match is None:
            raise HyenaError(f"{path}, line {number}: {line.strip()!r} is no `key: value`: save the configuration as JSON")
        key, value = match[1], (match[2] or "").strip()
        if key in values:
            raise HyenaError(f"{path}, line {number}: {key} is there twice")
        values[key] = _value(value, f"{path}, line {number}")
    return values


def _value(text: str, where: str) -> Any:
    """A scalar or a list of scalars."""
    if text.startswith("["):
        if not text.endswith("]"):
            raise HyenaError(f"{where}: a list must end in the line where it begins: save the configuration as JSON")
        return [_value(item.strip(), where) for item in text[1:-1].split(",") if item.strip()]
    if text[:1] in ("{", "|", ">", "&", "*", "!"):
        raise HyenaError(f"{where}: {text!r} is more than flat YAML: save the configuration as JSON")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if re.fullmatch(r"[-+]?\d+", text):
        return int(text)
    if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text):
        return float(text)
    return text
