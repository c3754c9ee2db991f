"""The compiled kernel among threads and processes: forks, workers of a loader, calls at the same time."""

import functools
import multiprocessing
import sys
import threading

import pytest
import torch

from hyena.ops import kernel, long_conv
from tests.helpers import python
from tests.ops.oracle import KERNEL, inputs

pytestmark = KERNEL

# One process for all, since its start takes the most time: it forks before it uses the kernel, uses it, and forks again. All
# tensors are small enough for PyTorch itself to use one thread: it too waits for ever for a pool of threads that is lost.
SCRIPT = """
import multiprocessing
import os
import resource
import signal
import threading
import torch
from hyena.errors import HyenaError
from hyena.ops import kernel, kernel_check, long_conv, native

torch.manual_seed(0)
torch.set_num_threads(1)
u, h = torch.randn(2, 4, 900), torch.randn(4, 900)
exact = long_conv(u, h, backend="fft")

def right(y):
    return (y - exact).abs().max() < 1e-4 and kernel.available() and kernel_check.mismatch() is None

def in_a_child(f):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            os._exit(0 if f() else 1)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(2)
    print(f.__name__, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)

# --- the first use ---

def first_use_from_many_threads():
    found, start = [], threading.Barrier(4)
    def work():
        start.wait()
        found.append(long_conv(u, h, backend="native"))
    team = [threading.Thread(target=work) for _ in range(4)]
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()
    return len(found) == 4 and all(map(right, found))

def first_use_under_modes():
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode(), torch.device("meta"):
        torch.set_default_dtype(torch.float64)
        return right(long_conv(u, h, backend="native"))

in_a_child(first_use_from_many_threads)
in_a_child(first_use_under_modes)

# --- no memory ---

def out_of_memory():
    assert kernel.available()
    n = 2**24
    one = torch.zeros(())
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    # Room for y's 4 n bytes, not for a transform's 8 n.
    resource.setrlimit(resource.RLIMIT_AS, (used + 10 * n, resource.getrlimit(resource.RLIMIT_AS)[1]))
    for attempt in range(2):
        try:
            long_conv(one.expand(1, 1, n), one.expand(1, n), backend="native")
            return False
        except HyenaError as error:
            assert "ran out of memory" in str(error)
    return right(long_conv(u, h, backend="native"))

if os.path.exists("/proc/self/statm"):
    in_a_child(out_of_memory)

# --- children of a process that uses it with threads ---

torch.set_num_threads(2)
def work(_=None):
    x, taps = u.clone().requires_grad_(), h.clone().requires_grad_()
    y = long_conv(x, taps, backend="native")
    return [t.tolist() for t in (y, *torch.autograd.grad(y.sum(), [x, taps]))]
wanted = work()

def forked():
    return torch.get_num_threads() == 2 and work() == wanted

class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 6
    def __getitem__(self, i):
        return long_conv(u + i, h, backend="native")

in_a_child(forked)
in_a_child(forked)
assert work() == wanted  # the parent goes on
with multiprocessing.get_context("fork").Pool(2) as pool:
    print("pool", int(pool.map(work, range(3)) != 3 * [wanted]))
loader = torch.utils.data.DataLoader(Data(), batch_size=2, num_workers=2, multiprocessing_context="fork")
found = torch.cat(list(loader))
torch.set_num_threads(1)  # as the workers have it
print("loader", int(not torch.equal(found, torch.stack([Data()[i] for i in range(6)]))))
"""


@functools.cache
def outcomes() -> list[str]:
    """A line for each part of the script: its name, and 0 where all is well."""
    return python(SCRIPT).splitlines()


forks = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")


@forks
@pytest.mark.parametrize("name", ["first_use_from_many_threads", "first_use_under_modes"])
def test_the_very_first_use_may_be_from_many_threads_and_under_any_mode(name: str):
    assert f"{name} 0" in outcomes()


@forks
@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited in another way here")
def test_memory_that_cannot_be_had_is_an_error_and_not_the_end():
    assert "out_of_memory 0" in outcomes()


@forks
@pytest.mark.parametrize("name", ["forked", "pool", "loader"])
def test_children_of_a_process_that_used_the_kernel_use_it_too(name: str):
    # A child has lost the threads of its parent: to wait for them would be for ever.
    assert outcomes().count(f"{name} 0") == (2 if name == "forked" else 1)


@pytest.mark.parametrize("n", [1, 2], ids="{} threads".format)
def test_calls_at_the_same_time_give_the_same_results(n: int):
    cases = [
        (backend, inputs(2, 4, L, L // 2, G, torch.float32)) for L, G in ((700, 1), (300, 4)) for backend in kernel.KERNELS
    ]
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        wanted = [long_conv(g.u, g.h, g.skip, **g.gates(), backend=backend) for backend, g in cases]
        wrong: list[object] = []
        start = threading.Barrier(4)

        def work(which: int) -> None:
            torch.set_num_threads(n)  # PyTorch counts threads for each thread
            backend, g = cases[which]
            start.wait()
            for _ in range(30):
                try:
                    y = long_conv(g.u, g.h, g.skip, **g.gates(), backend=backend)
                except Exception as error:
                    wrong.append(error)
                    return
                if not torch.equal(y, wanted[which]):
                    wrong.append((backend, g.u.shape))

        team = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in team:
            thread.start()
        for thread in team:
            thread.join()
        assert wrong == []
    finally:
        torch.set_num_threads(before)
