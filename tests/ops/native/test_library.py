"""Which library is loaded and why: the best that the processor runs; what is refused, in which words."""

import ctypes
import json
import shutil
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from hyena.ops import kernel, native
from hyena.ops.native.library import Kernels, source_digest
from tests.helpers import refused
from tests.house.sources import ROOT
from tests.ops.native.stub import BUILD, needs_compiler, write_source

NOWHERE = Path("/nowhere")
PORTABLE = BUILD.library_name("portable")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with native/ (the stub) and lib/, built from it; to be read, never written."""
    needs_compiler()
    home = tmp_path_factory.mktemp("built")
    BUILD.build(home / "lib", write_source(home))
    return home


Make = Callable[..., Kernels]


@pytest.fixture
def make(built: Path, tmp_path: Path) -> Make:
    """make("kernel.cpp as it is" -> another): kernels in a directory of this test's own, with its source beside it."""

    def kernels(change: Callable[[str], str] = str) -> Kernels:
        source = write_source(tmp_path, change)
        if change is str:
            shutil.copytree(built / "lib", tmp_path / "lib")
        else:
            BUILD.build(tmp_path / "lib", source)
        return Kernels(tmp_path / "lib", source)

    return kernels


def test_the_library_in_use_has_not_been_switched_off():
    # Where there is no kernel its tests are skipped; one that is wrong must not be passed over in the same way.
    kernel.available()
    assert not native.status().reason.startswith("disabled")


def test_the_best_library_for_this_processor_is_used(built: Path):
    kernels = Kernels(built / "lib", built / "native")
    status = kernels.status()
    assert status.isa == next(isa for isa in native.LEVELS if status.refused.get(isa) != "this processor does not have it")
    assert status.path == built / "lib" / BUILD.library_name(status.isa)
    library = kernels.library()
    assert library is not None
    assert library.hyena_isa() == status.isa.encode()
    assert library is kernels.library() is kernels.load(status.isa)
    for isa, why in status.refused.items():
        assert why in ("this processor does not have it", f"{status.isa} is better")
        assert (isa in status.reason) == (native.LEVELS[isa] > native.LEVELS[status.isa])
    assert kernels.load("portable").hyena_cpu_level() == native.LEVELS[status.isa]


@pytest.mark.parametrize("level", [0, 1, 2])
def test_what_the_processor_lacks_is_refused(make: Make, level: int):
    kernels = make(lambda text: text.replace("LEVEL;", f"{level};"))
    lacking = {isa for isa in BUILD.instruction_sets() if native.LEVELS[isa] > level}
    for isa in lacking:
        with refused("this processor does not have it"):
            kernels.load(isa)
    status = kernels.status()
    assert {isa for isa, why in status.refused.items() if "does not have" in why} == lacking
    assert status.isa == next(isa for isa in BUILD.instruction_sets() if isa not in lacking)


def test_a_library_older_than_its_source_is_refused(make: Make):
    kernels = make()
    with (kernels.source / "stub.h").open("a") as file:
        file.write("// changed\n")
    status = kernels.status()
    assert status.isa is status.path is kernels.library() is None
    assert status.reason == "older than its source: run python native/build.py"
    with refused("older than its source", "run python native/build.py"):
        kernels.load("portable")


def test_one_stale_library_among_current_ones_is_passed_over(make: Make, tmp_path: Path):
    kernels = make()
    if "avx2" not in BUILD.instruction_sets():
        pytest.skip("one instruction set is built for this processor, there is no other to fall back on")
    older = write_source(tmp_path / "older", lambda text: text + "// older\n")
    BUILD.build(tmp_path / "older/lib", older)
    for isa in ("avx512", "avx2"):
        shutil.copy(tmp_path / "older/lib" / BUILD.library_name(isa), kernels.libraries)
    status = kernels.status()
    assert status.isa == "portable"
    assert status.refused["avx2"] in ("older than its source: run python native/build.py", "this processor does not have it")
    assert f"avx2: {status.refused['avx2']}" in status.reason


def test_line_ends_and_files_that_are_no_source_make_nothing_stale(make: Make):
    kernels = make()
    (kernels.source / "notes.md").write_text("no source")
    (kernels.source / ".stub.h").write_text("an editor's")
    text = (kernels.source / "stub.h").read_bytes()
    (kernels.source / "stub.h").write_bytes(text.replace(b"\n", b"\r\n"))
    assert kernels.status().isa is not None


def test_without_its_source_a_library_is_taken_at_its_word(built: Path):
    """As in a wheel, which has libraries and no source."""
    assert Kernels(built / "lib", NOWHERE).status().isa is not None


def test_another_interface_is_refused(make: Make):
    kernels = make(lambda text: text.replace("return ABI;", "return 99;"))
    assert "version 99 of the interface" in kernels.status().reason
    assert "run python native/build.py" in kernels.status().reason
    assert "reinstall hyena" in Kernels(kernels.libraries, NOWHERE).status().reason


def test_a_library_without_the_functions_is_refused(make: Make):
    kernels = make(lambda text: text.replace("hyena_digest", "hyena_else"))
    assert "cannot be loaded" in kernels.status().reason
    assert "hyena_digest" in kernels.status().reason


def test_a_library_under_another_name_is_refused(make: Make):
    kernels = make(lambda text: text.replace("return HYENA_ISA", 'return "mmx"'))
    assert "was built for mmx" in kernels.status().reason


def test_what_is_no_library_is_refused(tmp_path: Path):
    (tmp_path / PORTABLE).write_bytes(b"no library")
    status = Kernels(tmp_path, NOWHERE).status()
    assert status.isa is None
    assert status.reason.startswith("cannot be loaded (")
    assert status.reason.endswith("reinstall hyena")


def test_without_the_portable_library_nothing_faster_is_risked(make: Make):
    kernels = make()
    (kernels.libraries / PORTABLE).unlink()
    status = kernels.status()
    assert status.isa is None
    assert status.reason.startswith("not built")
    assert all("the portable library" in why for isa, why in status.refused.items() if isa != "portable")


def test_what_was_not_built_says_why(tmp_path: Path):
    assert Kernels(tmp_path, NOWHERE).status().reason == "not built: install g++ and reinstall"
    assert Kernels(tmp_path, ROOT / "native").status().reason == "not built: run python native/build.py"
    note = tmp_path / BUILD.NOTE
    note.write_text(json.dumps({"portable": "no compiler was found"}))
    told = "no compiler was found when hyena was installed: install g++ and "
    assert Kernels(tmp_path, NOWHERE).status().reason == told + "reinstall"
    assert Kernels(tmp_path, ROOT / "native").status().reason == told + "run python native/build.py"
    note.write_text(json.dumps({"portable": "c++ failed (error: concepts?)"}))
    assert "install a newer g++" in Kernels(tmp_path, NOWHERE).status().reason
    note.write_text("not JSON")
    assert Kernels(tmp_path, NOWHERE).status().reason == "not built: install g++ and reinstall"


def test_an_unknown_instruction_set_is_refused(tmp_path: Path):
    with refused("mmx", "avx512, avx2, portable"):
        Kernels(tmp_path, NOWHERE).load("mmx")


def test_disabling_warns_once_and_lasts(built: Path):
    kernels = Kernels(built / "lib", NOWHERE)
    isa = kernels.status().isa
    with pytest.warns(RuntimeWarning, match=f"{isa}.*disabled.*off by 3"):
        kernels.disable("off by 3")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kernels.disable("again")
    status = kernels.status()
    assert status.isa is kernels.library() is status.path is None
    assert status.reason == status.refused[isa] == "disabled: off by 3"
    assert isinstance(kernels.load("portable"), ctypes.CDLL), "tests can still ask for one"


def test_disabling_what_is_not_there_keeps_the_reason(tmp_path: Path):
    kernels = Kernels(tmp_path, NOWHERE)
    kernels.disable("off by 3")
    assert kernels.status().reason.startswith("not built")


def test_threads_get_one_library(built: Path):
    kernels = Kernels(built / "lib", built / "native")
    found: list[ctypes.CDLL | None] = []
    threads = [threading.Thread(target=lambda: found.append(kernels.library())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(library) for library in found}) == 1
    assert len(found) == 8
    assert found[0] is not None


def test_the_package_and_the_build_agree(built: Path):
    assert source_digest(ROOT / "native") == BUILD.digest()
    assert source_digest(built / "native") == BUILD.digest(built / "native") != BUILD.digest()
    kernels = Kernels(built / "lib", built / "native")
    for isa in BUILD.instruction_sets():
        assert kernels._path(isa).name == BUILD.library_name(isa)
    assert set(BUILD.instruction_sets()) <= set(native.LEVELS)
    assert list(BUILD.instruction_sets()) == [isa for isa in native.LEVELS if isa in BUILD.instruction_sets()]


def test_this_installation_uses_a_kernel():
    status = native.status()
    if status.isa is None:
        pytest.skip(f"the kernel is not used here: {status.reason}")
    library = native.library()
    assert library is not None
    assert status.path is not None
    assert status.path.parent == Path(native.__file__).parent / "lib"
    assert library.hyena_abi() == native.ABI
    assert native.load("portable").hyena_digest().decode() == source_digest(ROOT / "native")
