"""How the native kernel is built and delivered: in place, in wheels, from the source distribution, and without a compiler."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.house.sources import ROOT
from tests.ops.native.stub import BUILD, KERNEL, needs_compiler, write_source

NO_HATCHLING = "hatchling (the extra `test`) is not installed: wheels go unchecked"
NAMES = {BUILD.library_name(isa) for isa in BUILD.instruction_sets()}
BROKEN = KERNEL + "this is not C++;\n"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler is what each test says."""
    monkeypatch.delenv("CXX", raising=False)


def names(directory: Path) -> set[str]:
    """Every file and directory of a directory."""
    return {path.name for path in directory.iterdir()}


def compiler(path: Path, script: str) -> str:
    """An executable in place of a compiler."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_library_for_each_instruction_set(tmp_path: Path):
    needs_compiler()
    source, out = write_source(tmp_path), tmp_path / "lib"
    assert {path.name for path in BUILD.build(out, source)} == names(out) == NAMES
    digest = BUILD.digest(source)
    for isa in BUILD.instruction_sets():
        assert BUILD.is_current(out / BUILD.library_name(isa), digest)
        assert not BUILD.is_current(out / BUILD.library_name(isa), BUILD.digest())


def test_missing_leaves_current_libraries_alone(tmp_path: Path):
    needs_compiler()
    source, out = write_source(tmp_path), tmp_path / "lib"
    BUILD.build(out, source)
    portable = out / BUILD.library_name("portable")
    before = portable.stat().st_ino
    BUILD.build(out, source, missing=True)
    assert portable.stat().st_ino == before
    (source / "stub.h").write_text((source / "stub.h").read_text() + "// changed\n")
    assert len(BUILD.build(out, source, missing=True)) == len(NAMES)
    assert portable.stat().st_ino != before
    assert BUILD.is_current(portable, BUILD.digest(source))


def test_the_digest_is_of_all_that_is_compiled(tmp_path: Path):
    source = write_source(tmp_path)
    digests = [BUILD.digest(source)]
    for name in ("kernel.cpp", "stub.h", "build.py", "another.h"):
        with (source / name).open("a") as file:
            file.write("\n")
        digests.append(BUILD.digest(source))
    assert len(set(digests)) == 5
    assert re.fullmatch(r"[0-9a-f]{64}", digests[0])
    (source / "notes.md").write_text("no source")
    assert BUILD.digest(source) == digests[-1]


def test_a_failing_compiler_leaves_what_was_there(tmp_path: Path):
    needs_compiler()
    source, out = write_source(tmp_path), tmp_path / "lib"
    BUILD.build(out, source)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (source / "kernel.cpp").write_text(BROKEN)
    with pytest.raises(BUILD.BuildError, match=r"failed \(kernel.cpp:7.*error") as caught:
        BUILD.build(out, source)
    assert "this is not C++" in str(caught.value), "the compiler's last lines follow"
    assert names(out) == NAMES | {BUILD.NOTE}
    assert {name: (out / name).read_bytes() for name in before} == before
    assert set(json.loads((out / BUILD.NOTE).read_text())) == set(BUILD.instruction_sets())
    (source / "kernel.cpp").write_text(KERNEL)
    BUILD.build(out, source)
    assert names(out) == NAMES, "a success takes the note away"


def test_a_compiler_that_dies_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script = 'for a; do case "$a" in libhyena-*) echo half > "$a";; esac; done; kill -9 $$'
    monkeypatch.setenv("CXX", compiler(tmp_path / "dying", script))
    with pytest.raises(BUILD.BuildError, match="status -9"):
        BUILD.build(tmp_path / "lib", write_source(tmp_path))
    assert names(tmp_path / "lib") == {BUILD.NOTE}


def test_an_instruction_set_that_the_compiler_does_not_know_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    needs_compiler()
    if "avx512" not in BUILD.instruction_sets():
        pytest.skip("one instruction set is built for this processor, there is none to drop")
    source, out = write_source(tmp_path), tmp_path / "lib"
    BUILD.build(out, source)
    real = BUILD.compiler()[0]
    script = f'case "$*" in *avx512f*) echo "error: unrecognized option -mavx512f" >&2; exit 1;; esac; exec {real} "$@"'
    monkeypatch.setenv("CXX", compiler(tmp_path / "old", script))
    with pytest.warns(UserWarning, match=r"without avx512: .*old failed \(error: unrecognized option -mavx512f\)"):
        paths = BUILD.build(out, source)
    assert {path.name for path in paths} == NAMES - {BUILD.library_name("avx512")}
    assert names(out) == {path.name for path in paths} | {BUILD.NOTE}, "the library of an earlier build is gone"


def test_a_compiler_may_be_named_with_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    needs_compiler()
    monkeypatch.setenv("CXX", f"{BUILD.compiler()[0]} -DUNUSED=1")
    assert BUILD.compiler()[1:] == ["-DUNUSED=1"]
    assert len(BUILD.build(tmp_path / "lib", write_source(tmp_path))) == len(NAMES)


def test_without_a_compiler_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = write_source(tmp_path)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BUILD.BuildError, match="that CXX names, no-such-compiler, was not found"):
        BUILD.build(tmp_path / "a", source)
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BUILD.BuildError, match="no compiler was found"):
        BUILD.build(tmp_path / "b", source)
    assert set(json.loads((tmp_path / "b" / BUILD.NOTE).read_text()).values()) == {"no compiler was found"}


def test_the_command_line(tmp_path: Path):
    needs_compiler()
    source = write_source(tmp_path)
    command = [sys.executable, str(source / "build.py"), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "libhyena-portable" in done.stdout
    (source / "kernel.cpp").write_text(BROKEN)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("the native kernel was not built: ")
    assert "Traceback" not in done.stderr


def package(home: Path) -> Path:
    """This package in a directory of the test's own, as a checkout has it, with the stub for a kernel."""
    pytest.importorskip("hatchling", reason=NO_HATCHLING)
    root = home / "package"
    write_source(root)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "CHANGELOG.md", ".gitignore"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / "hyena", root / "hyena", ignore=shutil.ignore_patterns("__pycache__", "lib"))
    (root / "hyena/ops/native/lib").mkdir()
    (root / "hyena/ops/native/lib" / BUILD.library_name("portable")).write_text("of an earlier build")
    return root


def hatch(root: Path, target: str, cxx: str | None = None) -> tuple[Path, str]:
    """Build a "wheel" or an "sdist" of a package; returns it, and what was printed."""
    out = root.parent / f"{root.name}-{target}"
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(out)]
    environment = os.environ | ({} if cxx is None else {"CXX": cxx})
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    (path,) = out.iterdir()
    return path, done.stdout + done.stderr


def contents(wheel: Path) -> dict[str, bytes]:
    """Name -> content of what a wheel has under hyena/ops/native/lib/."""
    with zipfile.ZipFile(wheel) as archive:
        found = {name: archive.read(name) for name in archive.namelist() if name.startswith("hyena/ops/native/lib/")}
        assert "hyena/ops/native/library.py" in archive.namelist()
        assert not [name for name in archive.namelist() if name.startswith("native/")]
    return {name.rpartition("/")[2]: content for name, content in found.items()}


def test_the_wheel_of_a_source_distribution_has_the_libraries_and_its_platform(tmp_path: Path):
    needs_compiler()
    sdist, _ = hatch(package(tmp_path), "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    root = tmp_path / sdist.name.removesuffix(".tar.gz")
    assert {path.name for path in (root / "native").iterdir()} == {"build.py", "kernel.cpp", "stub.h"}
    assert not (root / "hyena/ops/native/lib").exists()
    wheel, _ = hatch(root, "wheel")
    assert re.fullmatch(r"hyena-[\d.]+-py3-none-(linux|macosx)_\w+\.whl", wheel.name)
    libraries = contents(wheel)
    assert set(libraries) == NAMES
    digest = BUILD.digest(root / "native").encode()
    assert all(digest in library for library in libraries.values()), "none is of an earlier build"
    assert not (root / "hyena/ops/native/lib").exists(), "a wheel leaves the directory that it is built from alone"


def test_an_editable_installation_has_the_libraries_in_place(tmp_path: Path):
    needs_compiler()
    pytest.importorskip("editables", reason="editables (the extra `test`) is not installed")
    root = package(tmp_path)
    script = f"from hatchling.build import build_editable; print(build_editable({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert names(root / "hyena/ops/native/lib") == NAMES
    assert all(BUILD.is_current(root / "hyena/ops/native/lib" / name, BUILD.digest(root / "native")) for name in NAMES)


USE = """
import sys
from pathlib import Path
import torch
import hyena
from hyena.ops import native
assert Path(hyena.__file__).is_relative_to(sys.argv[1]), hyena.__file__
assert native.library() is native.status().isa is None
y = hyena.ops.long_conv(torch.ones(1, 2, 5), torch.ones(2, 5))
assert torch.allclose(y, torch.arange(1.0, 6.0).expand(1, 2, 5)), y
config = hyena.ModelConfig(pattern="HA", width=16, vocab_size=256, max_length=16, tokenizer="bytes")
Path("text.txt").write_text(99 * "some text ")
run = hyena.RunConfig("run", config, hyena.DataConfig(("text.txt",)), training=hyena.TrainingConfig(steps=1, batch_size=2))
assert hyena.train(run).finished
assert hyena.generate(hyena.load("run"), torch.zeros(1, 4, dtype=torch.long), 3, seed=0).shape == (1, 7)
from hyena.cli import main
raise SystemExit(main(["info"]))
"""


def test_without_a_compiler_the_wheel_is_pure_and_everything_works(tmp_path: Path):
    """Built with a compiler that fails, installed, and used with nothing of the checkout on the path."""
    pytest.importorskip("pip", reason="pip is not in this environment: nothing can be installed to try")
    wheel, printed = hatch(package(tmp_path), "wheel", cxx="/bin/false")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "hyena is installed without its native kernel (" in printed
    assert set(contents(wheel)) == {BUILD.NOTE}
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(pip, check=True, timeout=120, capture_output=True)
    command = [sys.executable, "-W", "ignore", "-c", USE, str(site)]
    environment = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert re.search(r"kernel:\n  used +none\n  reason +.*/bin/false.* when hyena was installed: install", done.stdout)
