"""`Float32Module`: what `.to` and the like do to its tensors."""

import pytest
import torch
from torch import nn

from hyena.modules.precision import Float32Module, at_least_float32


class Holder(Float32Module):
    """A parameter, a buffer, a counter, and a layer inside."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0 + 2**-20]), requires_grad=False)
        self.register_buffer("grid", torch.tensor([1.0 + 2**-20]))
        self.register_buffer("count", torch.tensor([3]))
        self.inner = nn.Linear(1, 1)


CASTS = {
    "bfloat16()": (lambda m: m.bfloat16(), torch.float32),
    "half()": (lambda m: m.half(), torch.float32),
    "to(bfloat16)": (lambda m: m.to(torch.bfloat16), torch.float32),
    "to(device, float16)": (lambda m: m.to("cpu", torch.float16), torch.float32),
    "type(float16)": (lambda m: m.type(torch.float16), torch.float32),
    "float()": (lambda m: m.float(), torch.float32),
    "double()": (lambda m: m.double(), torch.float64),
    "double().bfloat16()": (lambda m: m.double().bfloat16(), torch.float32),
    "bfloat16().double()": (lambda m: m.bfloat16().double(), torch.float64),
}


@pytest.mark.parametrize("cast", CASTS)
def test_a_model_is_cast_and_the_module_in_it_keeps_float32(cast: str):
    model = nn.Sequential(nn.Linear(1, 1), Holder())
    convert, dtype = CASTS[cast]
    convert(model)
    holder = model[1]
    assert {p.dtype for p in holder.parameters()} == {dtype}
    assert holder.grid.dtype == dtype
    assert model[0].weight.dtype == (dtype if dtype == torch.float64 or cast == "float()" else model[0].bias.dtype)
    assert holder.grid.double().item() == holder.weight.double().item() == 1 + 2**-20  # no digit was lost on the way
    assert not holder.weight.requires_grad


@pytest.mark.parametrize("cast", [cast for cast in CASTS if cast != "type(float16)"])
def test_whole_numbers_are_left_alone(cast: str):
    holder = Holder()
    CASTS[cast][0](holder)
    assert holder.count.dtype == torch.int64


def test_the_device_is_taken():
    holder = Holder().to("meta", torch.bfloat16)
    assert (holder.grid.device.type, holder.grid.dtype) == ("meta", torch.float32)
    assert holder.weight.device.type == "meta"


@pytest.mark.parametrize(
    ("dtype", "computed"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
    ids=str,
)
def test_at_least_float32(dtype: torch.dtype, computed: torch.dtype):
    assert at_least_float32(dtype) == computed
