"""Dataclasses from and to plain dictionaries, TOML and JSON: strict, and every error names file, key and cure.

Only what the configurations use is understood: nested dataclasses, `Literal`, optional values, numbers, strings, booleans
and tuples of one type. Nothing is converted silently except a whole number where a fraction is wanted.
"""

import difflib
import json
import re
import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tomli_w

from hyena.errors import HyenaError
from hyena.version import __version__

T = TypeVar("T")


def read_toml(path: str | Path) -> dict[str, Any]:
    """The content of a TOML file; `HyenaError` naming the file, and the line where TOML names one."""
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise HyenaError(f"{path} is not valid TOML: {error}") from None


def read_json(path: str | Path) -> dict[str, Any]:
    """The content of a JSON file that holds an object; `HyenaError` naming the file, and the line where it breaks."""
    try:
        values = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise HyenaError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise HyenaError(f"{path} holds a {type(values).__name__}: a JSON object {{...}} is needed")
    return values


def read_text(path: str | Path) -> str:
    """The text of a file, or one line that says why not."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise HyenaError(f"{path} does not exist: check the path") from None
    except IsADirectoryError:
        raise HyenaError(f"{path} is a directory: name a file in it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise HyenaError(f"{path} cannot be read: {error}") from None


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass as plain values, nested dataclasses as dictionaries."""
    return asdict(config)


def from_dict(cls: type[T], values: Mapping[str, Any], where: str, base: T | None = None) -> T:
    """Build a dataclass from plain values; what they do not say is as in `base`, or where that is not given as by default.

    Raises `HyenaError` for a key that the dataclass has not (with the nearest one), a missing key, or a value of another
    type; `where` names the place in the message.
    """
    if not isinstance(values, Mapping):
        raise HyenaError(f"{where} holds {values!r}: a table of keys is needed")
    hints = get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise HyenaError(f"{where} has no key {key!r}{nearest(key, known)}; its keys: {', '.join(known)}")
    for name, f in known.items():
        if name not in values and base is None and f.default is MISSING and f.default_factory is MISSING:
            raise HyenaError(f"{where} lacks the key {name!r}: add it")
    # What a table leaves out is as where it stands: the letter M's own taps, not those of the class that M shares with S.
    bases = {name: _default(f) if base is None else getattr(base, name) for name, f in known.items()}
    arguments = bases if base is not None else {}
    arguments |= {key: _value(hints[key], value, f"{where}: {key}", bases[key]) for key, value in values.items()}
    try:
        return cls(**arguments)
    except HyenaError as error:
        raise HyenaError(f"{where}: {error}") from None


def _default(f: Field) -> Any:
    """The value that a field has where none is given; None where one must be."""
    if f.default_factory is not MISSING:
        return f.default_factory()
    return None if f.default is MISSING else f.default


def validate(config: Any) -> None:
    """Check the fields of a frozen dataclass against their types, as `__post_init__` does first: Python gets the same
    errors as a file. A whole number where a fraction is wanted becomes one.
    """
    hints = get_type_hints(type(config))
    for f in fields(config):
        value = getattr(config, f.name)
        object.__setattr__(config, f.name, _value(hints[f.name], value, f"{type(config).__name__}.{f.name}"))


def newer(written: Any) -> str:
    """What an error about a file adds where a newer hyena wrote the file (its version as the file has it), else nothing."""
    if not isinstance(written, str) or _numbers(written) <= _numbers(__version__):
        return ""
    return f"; the file was written by hyena {written} and this is {__version__}: update hyena"


def _numbers(text: str) -> list[int]:
    """A version's numbers, for comparison."""
    return [int(number) for number in re.findall(r"\d+", text)]


def write_toml(path: Path, values: dict[str, Any]) -> None:
    """Write tables as TOML."""
    path.write_text(tomli_w.dumps(values), encoding="utf-8")


def nearest(word: str, known: Any) -> str:
    """`; did you mean 'x'?` where a known word is near, else nothing."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _value(hint: Any, value: Any, where: str, base: Any = None) -> Any:
    """One value, checked against its type; a table is read onto `base` where that is of its class."""
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        return value if isinstance(value, hint) else from_dict(hint, value, where, base if isinstance(base, hint) else None)
    if origin is Literal:
        if value not in arguments:
            raise HyenaError(f"{where} is {value!r}{nearest(str(value), map(str, arguments))}; use one of {arguments}")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _value(next(a for a in arguments if a is not type(None)), value, where, base)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise HyenaError(f"{where} is {value!r}: a list is needed")
        return tuple(_value(arguments[0], item, where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise HyenaError(f"{where} is a whole number of {len(str(value))} digits: a number is needed") from None
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise HyenaError(f"{where} is {value!r}: {_NAMES.get(hint, hint)} is needed")
    return value


_NAMES = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}
