"""Compiles the native kernel, once for each instruction set, with whatever C++ compiler is there.

    python native/build.py             into hyena/ops/native/lib/, where the package looks for it
    python native/build.py --missing   only what is not there yet, or is older than its source
    python native/build.py --out DIR   elsewhere

Needs the standard library and a C++17 compiler ($CXX, else c++, g++ or clang++), neither torch nor the package. A library
takes its place by renaming, when it is complete. What could not be built is told by `not-built.json` beside the libraries, for
`hyena info`.
"""

import argparse
import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
IN_PLACE = HERE.parent / "hyena/ops/native/lib"
NOTE = "not-built.json"
SUFFIX = ".dylib" if sys.platform == "darwin" else ".so"

AVX2 = ["-mavx2", "-mfma"]
AVX512 = ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", *AVX2, "-mprefer-vector-width=512"]
# No -ffast-math: NaN must stay NaN. No -march=native: the libraries are chosen where they run, not where they are built.
COMMON = ["-O3", "-std=c++17", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared"]
COMMON += ["-fvisibility=hidden", "-Wno-psabi", "-pthread"]

LINES_SHOWN, LINE_LENGTH = 12, 200


class BuildError(RuntimeError):
    """No library could be built. The first line says why, the compiler's last lines follow."""


def instruction_sets() -> dict[str, list[str]]:
    """Name -> compiler options of every instruction set that is built for this kind of processor, the best first."""
    if platform.machine().lower() in ("x86_64", "amd64") and sys.maxsize > 2**32:
        return {"avx512": AVX512, "avx2": AVX2, "portable": []}
    return {"portable": []}


def compiler() -> list[str]:
    """The command of the C++ compiler: $CXX alone where it is set, else the first of c++, g++, clang++ that is there."""
    named = shlex.split(os.environ.get("CXX", ""))
    for command in [named] if named else [["c++"], ["g++"], ["clang++"]]:
        if shutil.which(command[0]):
            return command
    if named:
        raise BuildError(f"the compiler that CXX names, {named[0]}, was not found")
    raise BuildError("no compiler was found")


def digest(source: Path = HERE) -> str:
    """SHA-256 of what the libraries are made from: headers, sources and this file. Line ends do not count."""
    found = hashlib.sha256()
    for path in sources(source):
        content = path.read_bytes().replace(b"\r\n", b"\n")
        found.update(f"{path.name} {len(content)}\n".encode() + content)
    return found.hexdigest()


def sources(source: Path = HERE) -> list[Path]:
    """What the libraries are made from, by name."""
    paths = [path for path in source.iterdir() if path.suffix in (".h", ".cpp") or path.name == "build.py"]
    return sorted((path for path in paths if not path.name.startswith(".")), key=lambda path: path.name)


def library_name(isa: str) -> str:
    """The file name of an instruction set's library."""
    return f"libhyena-{isa}{SUFFIX}"


def is_current(path: Path, expected: str) -> bool:
    """Whether a library is there and bears this digest, which stands in it as text; it is not loaded."""
    return path.is_file() and expected.encode() in path.read_bytes()


def build(out: Path, source: Path = HERE, missing: bool = False) -> list[Path]:
    """Compile `source` into `out`, one library for each instruction set; returns those that are there afterwards.

    missing: leave current libraries alone. An instruction set that the compiler does not know is dropped with a warning.
    `BuildError` where nothing could be built; libraries from before are then still there, and the package refuses them where
    they are older than their source.
    """
    out.mkdir(parents=True, exist_ok=True)
    try:
        command = _command()
        # A copy: what is compiled has this digest even where somebody edits the source meanwhile.
        with tempfile.TemporaryDirectory(prefix=".build-", dir=out) as scratch:
            work = Path(scratch)
            for path in sources(source):
                shutil.copy(path, work)
            failures = _build_all(command, work, out, missing)
    except BuildError as error:
        _write_note(out, dict.fromkeys(instruction_sets(), str(error)))
        raise
    built = [isa for isa in instruction_sets() if isa not in failures]
    _write_note(out, {isa: _one_line(command, output) for isa, output in failures.items()})
    if not built:
        last = list(failures.values())[-1].splitlines()[-LINES_SHOWN:]
        raise BuildError("\n".join([_one_line(command, "\n".join(last)), *last]))
    for isa in failures:
        (out / library_name(isa)).unlink(missing_ok=True)
        warnings.warn(f"the native kernel is built without {isa}: {_one_line(command, failures[isa])}", stacklevel=2)
    return [out / library_name(isa) for isa in built]


def _command() -> list[str]:
    """The compiler's command, where there is anything that it could do."""
    if sys.platform == "win32":
        raise BuildError("the native kernel is for Linux and macOS")
    return compiler()


def _build_all(command: list[str], work: Path, out: Path, missing: bool) -> dict[str, str]:
    """Compile side by side, then rename; returns what the compiler printed for every instruction set that failed."""
    if not (work / "kernel.cpp").is_file():
        raise BuildError("there is no native/kernel.cpp")
    expected = digest(work)
    todo = [isa for isa in instruction_sets() if not (missing and is_current(out / library_name(isa), expected))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outputs = dict(zip(todo, pool.map(lambda isa: _compile(command, work, isa, expected), todo), strict=True))
    for isa, output in outputs.items():
        if output is None:
            os.replace(work / library_name(isa), out / library_name(isa))
    return {isa: output for isa, output in outputs.items() if output is not None}


def _compile(command: list[str], work: Path, isa: str, expected: str) -> str | None:
    """One library, in the scratch directory; what the compiler printed where it failed, None where it did not."""
    flags = [*COMMON, *instruction_sets()[isa], f'-DHYENA_ISA="{isa}"', f'-DHYENA_DIGEST="{expected}"']
    line = [*command, *flags, "-o", library_name(isa), "kernel.cpp", "-ldl"]
    environment = os.environ | {"TMPDIR": str(work), "LC_ALL": "C"}
    try:
        done = subprocess.run(line, cwd=work, capture_output=True, text=True, errors="replace", check=False, env=environment)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    if done.returncode == 0 and (work / library_name(isa)).is_file():
        return None
    return (done.stderr + done.stdout).strip() or f"it ended with status {done.returncode} and wrote nothing"


def _one_line(command: list[str], output: str) -> str:
    """Why the compiler failed: its first error."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower()] or lines[-1:]
    return f"{' '.join(command)} failed ({telling[0][:LINE_LENGTH]})"


def _write_note(out: Path, reasons: dict[str, str]) -> None:
    """Instruction set -> why it has no library; no file where there is nothing to tell."""
    note = out / NOTE
    if not reasons:
        note.unlink(missing_ok=True)
        return
    part = out / f".{NOTE}.{os.getpid()}"
    part.write_text(json.dumps(reasons, indent=1) + "\n", encoding="utf-8")
    os.replace(part, note)


def main(arguments: list[str] | None = None) -> int:
    """The command line; exit status 1 and one line, then the compiler's, where nothing could be built."""
    parser = argparse.ArgumentParser(description="Compile the native kernel.")
    parser.add_argument("--out", type=Path, default=IN_PLACE, help="where the libraries go (default: where the package looks)")
    parser.add_argument("--missing", action="store_true", help="leave libraries alone that are not older than their source")
    a = parser.parse_args(arguments)
    warnings.formatwarning = lambda message, *_: f"{message}\n"
    try:
        paths = build(a.out.resolve(), missing=a.missing)
    except BuildError as error:
        print(f"the native kernel was not built: {error}", file=sys.stderr)
        return 1
    print(f"the native kernel: {', '.join(path.name for path in paths)} in {a.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
