"""What a build of the package adds to hatchling's: the native kernel, where a compiler is found.

A wheel gets the libraries and the tag of its platform. Without a compiler it is a pure Python wheel, and the package computes
with torch alone. An editable installation gets the libraries in `hyena/ops/native/lib/`.
"""

import importlib.util
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import sys_tags

LIBRARIES = "hyena/ops/native/lib"


class KernelBuildHook(BuildHookInterface):
    """Runs native/build.py for wheels."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before the files of the wheel are gathered."""
        self.scratch = tempfile.TemporaryDirectory(prefix="hyena-kernel-")
        build = load_build(Path(self.root))
        out = Path(self.root, LIBRARIES) if version == "editable" else Path(self.scratch.name)
        try:
            built = build.build(out)
        except (build.BuildError, OSError) as error:
            reason, *details = str(error).splitlines()
            print(f"hyena is installed without its native kernel ({reason}) and computes with torch alone", file=sys.stderr)
            print("\n".join(details), end="", file=sys.stderr)
            built = []
        if version == "editable":
            return
        if built:
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform_tag()}"
        for path in [*built, *out.glob(build.NOTE)]:
            build_data["force_include"][str(path)] = f"{LIBRARIES}/{path.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """After the wheel was written."""
        self.scratch.cleanup()


def load_build(root: Path) -> ModuleType:
    """native/build.py as a module; it is no part of a package."""
    spec = importlib.util.spec_from_file_location("hyena_native_build", root / "native/build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def platform_tag() -> str:
    """This machine's platform, as it is: a library that was built here is not promised to run on older systems."""
    return next(tag.platform for tag in sys_tags() if "manylinux" not in tag.platform and "musllinux" not in tag.platform)
