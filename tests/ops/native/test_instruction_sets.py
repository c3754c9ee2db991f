"""Every instruction set that this processor runs passes the same cases; the widest registers also where it has none so wide."""

import ctypes
import itertools
import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hyena.errors import HyenaError
from hyena.ops import kernel, kernel_check, long_conv, native, prepare
from hyena.ops.native import calls
from tests import tolerances
from tests.house.sources import ROOT
from tests.ops.native.stub import BUILD, needs_compiler
from tests.ops.oracle import KERNEL, Inputs, by_fft, composition, fused, gradients, inputs, off, oracle, whole

pytestmark = KERNEL


def loaded(isa: str) -> ctypes.CDLL:
    """The library of an instruction set; skips, with the reason, where there is none for this processor."""
    try:
        return native.load(isa)
    except HyenaError as error:
        pytest.skip(f"{isa}: {error}")


def laid_out(t: Tensor, last: bool) -> Tensor:
    """(B, D, L), its channels or its tokens next to each other in memory."""
    return t.mT.contiguous().mT if last else t


def check_convolution(given: Inputs, backend: str, prepared: bool) -> None:
    """Values and gradients within rounding of float64."""
    dtype = str(given.u.dtype).removeprefix("torch.")
    exact, given = given.to(torch.float64).leaves(), given.leaves()
    wanted = (oracle if given.h.shape[1] <= 64 else by_fft)(*exact)
    cotangent = torch.randn(given.u.shape, dtype=given.u.dtype)
    y = long_conv(given.u, given.h, given.skip, **given.gates(), backend=backend)
    found, rights = gradients(y, given, cotangent), gradients(wanted, exact, cotangent.double())
    where = given.u.shape, given.h.shape, dtype, backend
    assert off(y, wanted) <= tolerances.KERNEL[dtype], where
    (B, D, L), G = given.u.shape, len(given.h)
    for name, size in {"u": 1.0, "pre": 1.0, "post": 1.0, "h": (B * L * D // G) ** 0.5, "skip": (B * L) ** 0.5}.items():
        assert off(found[name], rights[name], size) <= tolerances.KERNEL_SUMS[dtype], (where, name)
    if prepared:
        with torch.no_grad():
            spectrum = prepare(given.h, L, backend=backend)
            z = long_conv(given.u, spectrum, given.skip, **given.gates())
        assert off(z, wanted) <= tolerances.KERNEL[dtype], (where, "prepared")


def check_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cases: short sequences, every kind of length whole and in blocks, both layouts, whole mixers, half precision."""
    for dtype in (torch.float32, torch.float64):
        shapes = [(1, 2, L, L, 1) for L in (*range(1, 22), 31, 33, 47, 65)] + [(2, 24, 70, 9, 8), (1, 20, 37, 37, 20)]
        for shape, backend, last in itertools.product(shapes, kernel.KERNELS, (False, True)):
            given = inputs(*shape, dtype)
            laid = given._replace(u=laid_out(given.u, last), post=laid_out(given.post, last))
            check_convolution(laid, backend, prepared=not last)
        for N in sorted({calls.good_length(odd << bits, dtype) for odd in (1, 3, 5) for bits in range(13)}):
            with monkeypatch.context() as patch:
                patch.setattr(kernel, "points", lambda *_, N=N, **__: N)
                check_convolution(inputs(1, 1, N, N, 1, dtype), "native", prepared=False)
                check_convolution(inputs(1, 1, 2 * N + 3, N - 1, 1, dtype), "native", prepared=True)
        for backend in kernel.KERNELS:
            given = whole(2, 6, 45, 45, 3, dtype=dtype)
            y, wanted = fused(given, backend), composition(given.to(torch.float64))
            assert off(y, wanted) <= tolerances.KERNEL[str(dtype).removeprefix("torch.")]
    assert kernel_check.mismatch() is None


def check_half_precision() -> None:
    """All numbers of both formats come back, and products of them are rounded as PyTorch rounds them."""
    for dtype in (torch.float16, torch.bfloat16):
        every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)[None, None]
        y = long_conv(every, torch.ones(1, 1), backend="fir")
        assert torch.equal(y.isnan(), every.isnan())
        assert torch.equal(y.nan_to_num(7.0), every.nan_to_num(7.0))
        # Ties and near-ties, overflow, and results below the normal numbers.
        for factor in (1.0 + 2**-7, 1.5, 3.0, 2.0**-9, 0.75 * 2.0**-6, 2.0**6, -1.0 - 2**-6):
            gate = torch.full_like(every, factor)
            for last in (False, True):
                u = torch.cat([every, every], dim=1)
                gates = torch.cat([gate, gate], dim=1)
                y = long_conv(laid_out(u, last), torch.ones(1, 1), pre=laid_out(gates, last), backend="fir")
                wanted = (u.float() * gates.float()).to(dtype)
                assert torch.equal(y.isnan(), wanted.isnan())
                assert torch.equal(y.nan_to_num(7.0), wanted.nan_to_num(7.0)), (dtype, factor)


@pytest.mark.parametrize("isa", native.LEVELS)
def test_an_instruction_set_is_right(isa: str, monkeypatch: pytest.MonkeyPatch):
    library = loaded(isa)
    monkeypatch.setattr(calls, "library", lambda: library)
    check_all(monkeypatch)
    check_half_precision()


def test_instruction_sets_agree_on_everything_but_rounding(monkeypatch: pytest.MonkeyPatch):
    results = []
    given = inputs(2, 4, 3000, 3000, 2, torch.float32)
    for isa in native.LEVELS:
        try:
            library = native.load(isa)
        except HyenaError:
            continue
        monkeypatch.setattr(calls, "library", lambda library=library: library)
        results.append(long_conv(given.u, given.h, given.skip, **given.gates(), backend="native"))
    assert results
    assert all(off(y, results[0].double()) <= 2 * tolerances.KERNEL["float32"] for y in results)


# --- registers of 64 bytes --------------------------------------------------------------------------------------------------


def compile_wide(out: Path) -> ctypes.CDLL:
    """The kernel with registers of 64 bytes in the instructions that there are: slow, and the same source as AVX-512's."""
    needs_compiler()
    try:
        native.load("avx2")
        flags = BUILD.AVX2
    except HyenaError:
        flags = []
    common = [flag for flag in BUILD.COMMON if flag != "-O3"]
    target = out / BUILD.library_name("wide")
    line = [*BUILD.compiler(), "-O1", *common, *flags, "-DHYENA_VECTOR_BYTES=64", "-o", str(target), "kernel.cpp", "-ldl"]
    done = subprocess.run(line, cwd=ROOT / "native", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(target))


def test_registers_of_64_bytes_are_right_on_any_processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    try:
        native.load("avx512")
        pytest.skip("this processor has such registers: the test of its instruction set is this one")
    except HyenaError:
        pass
    library = compile_wide(tmp_path)
    monkeypatch.setattr(calls, "library", lambda: library)
    assert calls.good_length(1, torch.float32) == 256
    check_all(monkeypatch)
    check_half_precision()
