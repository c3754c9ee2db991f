"""Which compiled kernel this process uses, and in words why that one or why none.

`native/build.py` makes one shared library for each instruction set. The best one that the processor runs is loaded with ctypes;
one that is older than its source, or fails in any other way, is refused and the next one is taken. No tensors are known here.
"""

import ctypes
import functools
import hashlib
import json
import platform
import sys
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from hyena.errors import HyenaError

ABI = 5
"""The kernel's functions and their arguments as this package calls them; `hyena_abi()` of a library must say the same."""

LEVELS = {"avx512": 2, "avx2": 1, "portable": 0}
"""Instruction set -> what `hyena_cpu_level()` must reach, the best first."""

REBUILD = "run python native/build.py"
_HERE = Path(__file__).resolve().parent
_X86_64 = platform.machine().lower() in ("x86_64", "amd64") and sys.maxsize > 2**32
_SUFFIX = ".dylib" if sys.platform == "darwin" else ".so"


class Status(NamedTuple):
    """What `library` comes to."""

    isa: str | None
    """The instruction set of the library in use; None where there is none."""
    reason: str
    """Why that one, or why none, in words."""
    path: Path | None
    """The library's file."""
    refused: Mapping[str, str]
    """Why each of the other instruction sets is not used."""


class Kernels:
    """The libraries of one directory. The functions of this module ask the package's own; tests make others.

    libraries: where the files are. source: the directory of native/, whose digest the libraries must bear where it is there,
    as it is in a checkout and an editable installation.
    """

    def __init__(self, libraries: Path, source: Path):
        """Nothing is loaded yet."""
        self.libraries, self.source = libraries, source
        self._lock = threading.RLock()
        self._loaded: dict[str, ctypes.CDLL] = {}
        self._status: Status | None = None

    def status(self) -> Status:
        """Choose at the first call and remember: the best library that is not refused."""
        with self._lock:
            if self._status is None:
                self._status = self._choose()
            return self._status

    def library(self) -> ctypes.CDLL | None:
        """The library in use."""
        with self._lock:
            isa = self.status().isa
            return None if isa is None else self._loaded[isa]

    def load(self, isa: str) -> ctypes.CDLL:
        """The library of one instruction set, also after `disable`. HyenaError with the reason where it is refused."""
        if isa not in LEVELS:
            raise HyenaError(f"unknown instruction set {isa!r}: use {', '.join(LEVELS)}")
        with self._lock:
            if isa not in self._loaded:
                self._loaded[isa] = self._open(isa)
            return self._loaded[isa]

    def disable(self, reason: str) -> None:
        """No kernel any more in this process; says so once, as a RuntimeWarning."""
        with self._lock:
            before = self.status()
            if before.isa is None:
                return
            self._status = Status(None, f"disabled: {reason}", None, {**before.refused, before.isa: f"disabled: {reason}"})
        warning = f"the native kernel ({before.isa}) is disabled in this process, torch computes alone: {reason}"
        warnings.warn(warning, RuntimeWarning, stacklevel=3)

    def _choose(self) -> Status:
        """Try all: `hyena info` tells of each what became of it."""
        refused: dict[str, str] = {}
        used = None
        for isa in LEVELS if _X86_64 else ["portable"]:
            try:
                self.load(isa)
            except HyenaError as error:
                refused[isa] = str(error)
                continue
            if used is None:
                used = isa
            else:
                refused[isa] = f"{used} is better"
        if used is None:
            # A refusal of all has one cause; the last one is of the library that every processor runs.
            return Status(None, refused["portable"], None, refused)
        better = [isa for isa in refused if LEVELS[isa] > LEVELS[used]]
        why = "; ".join(f"{isa}: {refused[isa]}" for isa in better) or "the best there is"
        return Status(used, why, self._path(used), refused)

    def _path(self, isa: str) -> Path:
        """As native/build.py names it."""
        return self.libraries / f"libhyena-{isa}{_SUFFIX}"

    def _open(self, isa: str) -> ctypes.CDLL:
        """Load one library, or say why not. What the processor does not run is not even loaded."""
        path = self._path(isa)
        if not path.is_file():
            raise HyenaError(self._why_not_built(isa))
        if LEVELS[isa] and self._level() < LEVELS[isa]:
            raise HyenaError("this processor does not have it")
        try:
            library = ctypes.CDLL(str(path))
            library.hyena_cpu_level.restype = ctypes.c_int
            library.hyena_isa.restype = library.hyena_digest.restype = ctypes.c_char_p
            abi, built_for, digest = library.hyena_abi(), library.hyena_isa().decode(), library.hyena_digest().decode()
        except (OSError, AttributeError) as error:
            raise HyenaError(f"cannot be loaded ({' '.join(str(error).split())}): {self._cure()}") from None
        if abi != ABI:
            raise HyenaError(f"made for version {abi} of the interface, this package has {ABI}: {self._cure()}")
        if built_for != isa:
            raise HyenaError(f"{path.name} was built for {built_for}: {self._cure()}")
        if self._expected is not None and digest != self._expected:
            raise HyenaError(f"older than its source: {REBUILD}")
        return library

    def _level(self) -> int:
        """What the processor and the operating system run, as the portable library finds."""
        try:
            return int(self.load("portable").hyena_cpu_level())
        except HyenaError as error:
            raise HyenaError(f"the portable library, which knows the processor, is refused: {error}") from None

    @functools.cached_property
    def _expected(self) -> str | None:
        """The digest that the libraries must bear; None where the source is not beside the package."""
        return source_digest(self.source) if (self.source / "build.py").is_file() else None

    def _cure(self) -> str:
        """What makes new libraries here."""
        return "reinstall hyena" if self._expected is None else REBUILD

    def _why_not_built(self, isa: str) -> str:
        """What the build noted, and the cure."""
        try:
            noted = json.loads((self.libraries / "not-built.json").read_text(encoding="utf-8")).get(isa)
        except (OSError, ValueError):
            noted = None
        cure = "reinstall" if self._expected is None else REBUILD
        if noted is not None:
            tool = "a newer g++" if " failed (" in noted else "g++"
            return f"{noted} when hyena was installed: install {tool} and {cure}"
        return "not built: install g++ and reinstall" if self._expected is None else f"not built: {REBUILD}"


def source_digest(source: Path) -> str:
    """The digest that libraries built from this source bear, as native/build.py computes it."""
    found = hashlib.sha256()
    names = [path.name for path in source.iterdir() if path.suffix in (".h", ".cpp") or path.name == "build.py"]
    for name in sorted(name for name in names if not name.startswith(".")):
        content = (source / name).read_bytes().replace(b"\r\n", b"\n")
        found.update(f"{name} {len(content)}\n".encode() + content)
    return found.hexdigest()


_PACKAGE = Kernels(_HERE / "lib", _HERE.parents[2] / "native")


def status() -> Status:
    """Which library is used and why, or why none; decided once a process."""
    return _PACKAGE.status()


def library() -> ctypes.CDLL | None:
    """The library in use; None where there is none, which `status` explains. Safe to call from any thread."""
    return _PACKAGE.library()


def load(isa: str) -> ctypes.CDLL:
    """The library of one instruction set ("avx512", "avx2", "portable"), for tests and measurements.

    HyenaError with the reason where it is not built, refused, or not for this processor. `disable` does not hinder it.
    """
    return _PACKAGE.load(isa)


def disable(reason: str) -> None:
    """Use no kernel in this process any more: what a failed self-check calls. Warns (RuntimeWarning) at the first call."""
    _PACKAGE.disable(reason)
