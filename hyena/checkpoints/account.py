"""`Account`: every key of a published file or configuration is used exactly once, or an error names it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from hyena.configs.files import nearest
from hyena.errors import HyenaError

T = TypeVar("T")
_REQUIRED: Any = object()


class _Renamed(Mapping[str, T]):
    """A mapping under other keys."""

    def __init__(self, items: Mapping[str, T], keys: Mapping[str, str]):
        """keys: new -> old."""
        self.items_, self.keys_ = items, keys

    def __getitem__(self, key: str) -> T:
        """Of the old key."""
        return self.items_[self.keys_[key]]

    def __iter__(self) -> Iterator[str]:
        """The new keys."""
        return iter(self.keys_)

    def __len__(self) -> int:
        """As many."""
        return len(self.keys_)


def renamed(items: Mapping[str, T], name: Callable[[str], str], source: str) -> Mapping[str, T]:
    """The same items under other keys, none read; two that become one are an error."""
    keys: dict[str, str] = {}
    for key in items:
        if name(key) in keys:
            raise HyenaError(f"{source}: {key} stands for {name(key)}, which is there already")
        keys[name(key)] = key
    return _Renamed(items, keys)


class Account(Generic[T]):
    """Keys to take. `close` raises for what nobody took, so nothing of a checkpoint or an option is silently ignored."""

    def __init__(self, items: Mapping[str, T], source: str):
        """source: what the messages call it."""
        if not isinstance(items, Mapping):
            raise HyenaError(f"{source} is {items!r}: a table of keys is needed")
        self.items, self.source = items, source  # not copied: a checkpoint's tensors are read when they are taken
        self.open = dict.fromkeys(items)

    def __contains__(self, key: str) -> bool:
        """Whether the key is there and not taken yet."""
        return key in self.open

    def take(self, key: str, default: T = _REQUIRED) -> T:
        """The value of a key, once; the default where it is absent, or `HyenaError` where there is none."""
        if key in self.open:
            del self.open[key]
            return self.items[key]
        if key in self.items:
            raise HyenaError(f"{self.source}: {key} is used twice")
        if default is _REQUIRED:
            raise HyenaError(f"{self.source} lacks {key}: is it whole, and is the format right?{nearest(key, self.open)}")
        return default

    def whole(self, key: str, default: int | None = None) -> int:
        """`take` for an option that must be a whole number."""
        value: Any = self.take(key, _REQUIRED if default is None else default)  # type: ignore[arg-type]
        if not isinstance(value, int) or isinstance(value, bool):
            raise HyenaError(f"{self.source}: {key} is {value!r}: a whole number is needed")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """`take` for an option that must be a number."""
        value: Any = self.take(key, _REQUIRED if default is None else default)  # type: ignore[arg-type]
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise HyenaError(f"{self.source}: {key} is {value!r}: a number is needed")
        return float(value)

    def expect(self, key: str, value: T, why: str) -> None:
        """Take an option for which one value alone can be reproduced (and is the default)."""
        given = self.take(key, value)
        if given != value:
            raise HyenaError(f"{self.source}: {key} is {given!r}, which cannot be loaded: {why}")

    def get(self, key: str) -> T | None:
        """`take`, with None where the key is absent."""
        return self.take(key) if key in self.items else None

    def ignore(self, *keys: str) -> None:
        """Take keys that change nothing here; the caller's comment says why."""
        for key in keys:
            self.open.pop(key, None)

    def close(self) -> None:
        """Raise `HyenaError` naming the keys that nobody took."""
        if self.open:
            names = list(self.open)
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise HyenaError(f"{self.source} has keys with no meaning in this format: {', '.join(names[:5])}{more}")
