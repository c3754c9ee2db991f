"""A kernel of a few lines in place of the real one: what the tests of building and loading compile in no time."""

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from hyena.ops import native
from tests.house.sources import ROOT

KERNEL = """\
#include "stub.h"
#define EXPORT extern "C" __attribute__((visibility("default")))
EXPORT const char* hyena_isa(void) { return HYENA_ISA; }
EXPORT const char* hyena_digest(void) { return HYENA_DIGEST; }
EXPORT int hyena_abi(void) { return ABI; }
EXPORT int hyena_cpu_level(void) { return LEVEL; }
"""
HEADER = """\
#if defined(__x86_64__)
#define LEVEL (__builtin_cpu_supports("avx512vl") ? 2 : __builtin_cpu_supports("avx2") ? 1 : 0)
#else
#define LEVEL 0
#endif
"""


def module(source: Path) -> ModuleType:
    """A build.py as a module."""
    spec = importlib.util.spec_from_file_location("native_build_of_a_test", source / "build.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


BUILD = module(ROOT / "native")


def needs_compiler() -> None:
    """Skip, and say so, where there is no C++ compiler."""
    try:
        BUILD.compiler()
    except BUILD.BuildError as error:
        pytest.skip(f"the native kernel cannot be built here: {error}")


def write_source(home: Path, change: Callable[[str], str] = str) -> Path:
    """home/native with this repository's build.py and the stub, changed."""
    source = home / "native"
    source.mkdir(parents=True)
    shutil.copy(ROOT / "native/build.py", source)
    (source / "kernel.cpp").write_text(change(KERNEL))
    (source / "stub.h").write_text(HEADER + f"#define ABI {native.ABI}\n")
    return source
