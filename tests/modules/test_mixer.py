"""The contract of every mixer, for every letter of a pattern and for the options behind it."""

import copy
import pickle

import pytest
import torch
from torch.testing import assert_close

from hyena.configs.mixers import Beyond
from hyena.modules.precision import Float32Module
from tests import tolerances
from tests.helpers import loudness, refused
from tests.modules.mixers import ALL, DEFAULTS, MAX_LENGTH, WIDTH, mixer, signal

every_mixer = pytest.mark.parametrize("name", ALL)


@every_mixer
@pytest.mark.parametrize("L", [1, 2, 5, 17, MAX_LENGTH])
def test_any_length_keeps_its_shape(name: str, L: int):
    x = signal(3, L)
    y = mixer(ALL[name])(x)
    assert y.shape == x.shape
    assert y.isfinite().all()


@every_mixer
@pytest.mark.parametrize("cut", [1, 17, MAX_LENGTH - 1])
def test_the_past_does_not_see_the_future(name: str, cut: int):
    m, x = mixer(ALL[name]), signal()
    future = x.clone()
    future[:, cut:] += torch.randn_like(future[:, cut:])
    y, changed = m(x), m(future)
    assert (y - changed)[:, :cut].abs().max() <= tolerances.LEAK["float64"] * loudness(changed)
    assert (y - changed)[:, cut].abs().min() > 0


@every_mixer
def test_no_gradient_reaches_the_future(name: str):
    m, x = mixer(ALL[name]), signal().requires_grad_()
    (gradient,) = torch.autograd.grad(m(x)[:, :20].square().sum(), x)
    assert gradient[:, 20:].abs().max() <= tolerances.LEAK["float64"] * loudness(gradient)
    assert gradient[:, :20].abs().amin() > 0


@every_mixer
@pytest.mark.parametrize("L", [1, 5, 33])
def test_the_start_of_a_sequence_is_a_sequence(name: str, L: int):
    m, x = mixer(ALL[name]), signal()
    assert_close(m(x[:, :L]), m(x)[:, :L], **tolerances.FLOAT64)


@every_mixer
def test_sequences_of_a_batch_do_not_meet(name: str):
    m, x = mixer(ALL[name]), signal(3)
    together = m(x)
    for b in range(3):
        assert_close(m(x[b : b + 1]), together[b : b + 1], **tolerances.FLOAT64)


@every_mixer
def test_evaluation_without_gradients_gives_the_same(name: str):
    m, x = mixer(ALL[name]), signal()
    y = m(x)
    with torch.no_grad():
        assert_close(m(x), y.detach(), **tolerances.FLOAT64)
    with torch.inference_mode():
        assert_close(m(x), y.detach(), **tolerances.FLOAT64)


@every_mixer
def test_float64_stays_float64_and_agrees_with_float32(name: str):
    single, x = mixer(ALL[name], torch.float32), signal(dtype=torch.float32)
    double = copy.deepcopy(single).double()
    assert all(tensor.dtype == torch.float64 for tensor in double.state_dict().values())
    y = double(x.double())
    assert y.dtype == torch.float64
    assert (single(x).double() - y).norm() <= tolerances.FLOAT32_MODEL * y.norm()


@every_mixer
def test_half_precision_keeps_filters_frequencies_and_grids_in_float32(name: str):
    single = mixer(ALL[name], torch.float32)
    half = copy.deepcopy(single).bfloat16()
    kept = [prefix + "." for prefix, module in half.named_modules() if isinstance(module, Float32Module)]
    for key, tensor in half.state_dict().items():
        in_float32 = key.startswith(tuple(kept)) if kept else False
        assert tensor.dtype == (torch.float32 if in_float32 else torch.bfloat16), key
        assert in_float32 == key.startswith(("filter.", "rotary.")), key
        if in_float32:
            assert torch.equal(tensor, single.state_dict()[key]), key


@pytest.mark.parametrize("name", [*DEFAULTS, "H of order 3", "A in groups"])
def test_half_precision_is_close_to_float32(name: str):
    single, x = mixer(ALL[name], torch.float32), signal(dtype=torch.bfloat16)
    half = copy.deepcopy(single).bfloat16()
    y, wanted = half(x), single(x.float())
    assert y.dtype == torch.bfloat16
    assert (y.float() - wanted).norm() <= tolerances.BFLOAT16_MODEL * wanted.norm()


@every_mixer
def test_autocast_is_close_to_float32(name: str):
    m, x = mixer(ALL[name], torch.float32), signal(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y = m(x)
    wanted = m(x)
    assert (y.float() - wanted).norm() <= tolerances.BFLOAT16_MODEL * wanted.norm()


@every_mixer
def test_the_state_dict_is_the_whole_mixer(name: str):
    m, x = mixer(ALL[name]), signal()
    other = mixer(ALL[name])
    assert not torch.equal(other(x), m(x))
    other.load_state_dict(m.state_dict())
    assert torch.equal(other(x), m(x))


@every_mixer
def test_copies_and_pickles_are_the_same_mixer(name: str):
    m, x = mixer(ALL[name]), signal()
    with torch.no_grad():
        y = m(x)
        twins = [copy.deepcopy(m), pickle.loads(pickle.dumps(m))]
        for parameter in m.parameters():
            parameter.zero_()
        assert not torch.equal(m(x), y)
        assert all(torch.equal(twin(x), y) for twin in twins)


@every_mixer
def test_gradients_reach_every_parameter(name: str):
    m = mixer(ALL[name]).train()
    m(signal()).square().sum().backward()
    for key, parameter in m.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        if ALL[name] != ALL["W of 1"]:  # which ignores its queries and keys
            assert parameter.grad.count_nonzero() > 0, key


@every_mixer
def test_costs_are_whole_numbers_that_grow(name: str):
    m = mixer(ALL[name])
    for cost in (m.flops, m.state_bytes):
        values = [cost(L) for L in (1, 2, 17, MAX_LENGTH)]
        assert all(type(value) is int and value > 0 for value in values)
        assert values == sorted(values)
    assert m.flops(MAX_LENGTH) > m.flops(1)


@every_mixer
def test_half_precision_never_needs_more_state(name: str):
    single = mixer(ALL[name], torch.float32)
    assert single.bfloat16().state_bytes(MAX_LENGTH) < mixer(ALL[name], torch.float64).state_bytes(MAX_LENGTH)


@every_mixer
@pytest.mark.parametrize("beyond", ["error", "truncate", "extend"])
@pytest.mark.parametrize("L", [MAX_LENGTH, MAX_LENGTH + 1, 3 * MAX_LENGTH])
def test_a_length_can_be_read_where_the_mixer_says_so(name: str, beyond: Beyond, L: int):
    m, x = mixer(ALL[name], beyond=beyond), signal(1, L)
    assert m.bounded() == (beyond == "error" and name.startswith("H"))
    if m.bounded() and L > MAX_LENGTH:
        with refused(f"{L} tokens", f"max_length {MAX_LENGTH}"):
            m.check_length(L)
        with refused(f"{L} tokens", f"max_length {MAX_LENGTH}"):
            m(x)
    else:
        m.check_length(L)
        assert m(x).shape == x.shape


@every_mixer
def test_a_resized_mixer_takes_longer_sequences(name: str):
    m = mixer(ALL[name])
    m.resized(2 * MAX_LENGTH)
    y = m(signal(1, 2 * MAX_LENGTH))
    assert y.shape == (1, 2 * MAX_LENGTH, WIDTH)
    assert y.isfinite().all()


@every_mixer
def test_memory_is_written_before_it_is_read(name: str, poisoned: None):
    m, x = mixer(ALL[name]), signal()
    m(x).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in m.parameters())
