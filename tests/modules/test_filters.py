"""The implicit filter against its formula in plain numpy; past its grid, on another grid, and its cache."""

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from hyena.configs.mixers import Beyond, ImplicitFilterConfig
from hyena.modules.filters import ImplicitFilter, positions
from hyena.ops import Spectrum, long_conv
from tests import tolerances
from tests.helpers import loudness, refused

G, MAX_LENGTH = 6, 33
CONFIGS = {
    "defaults": ImplicitFilterConfig(),
    "three features": ImplicitFilterConfig(features=3, frequency=1.0),
    "five features, shift": ImplicitFilterConfig(features=5, frequency=10.0, shift=0.05),
    "one hidden layer": ImplicitFilterConfig(features=5, inner_layers=0, width=8),
    "four hidden layers": ImplicitFilterConfig(features=5, inner_layers=3, width=16, frequency=2.0),
    "other window": ImplicitFilterConfig(features=5, decay_target=0.1, fast_decay=0.2, slow_decay=2.0),
    "no window": ImplicitFilterConfig(features=5, window="none", shift=0.5),
    "channel norm": ImplicitFilterConfig(features=5, channel_norm=True),
    "trained features": ImplicitFilterConfig(features=5, train_features=True),
}
every_config = pytest.mark.parametrize("name", CONFIGS)


def make(
    config: ImplicitFilterConfig | None = None, beyond: Beyond = "error", groups: int = G, max_length: int = MAX_LENGTH
) -> ImplicitFilter:
    """A float64 filter in evaluation mode, with sine frequencies that differ from each other and biases that are not small."""
    filter = (
        ImplicitFilter(config or ImplicitFilterConfig(features=5, frequency=3.0), groups, max_length, beyond).double().eval()
    )
    with torch.no_grad():
        filter.frequency.mul_(torch.linspace(0.5, 1.5, len(filter.frequency)))
    return filter


def grid(n: np.ndarray, max_length: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """t_n = n / (max_length - 1); z_n = [t_n, cos(f_j w_n), -sin(f_j w_n)], w_n = 2 pi n / max_length."""
    bands = (features - 1) // 2
    f = np.linspace(1e-4, bands - 1, bands) if bands > 1 else np.array([1e-4])
    t = n / (max_length - 1)
    waves = np.exp(-1j * f * (2 * np.pi * n / max_length)[:, None])
    return t, np.concatenate([t[:, None], waves.real, waves.imag], axis=1)


def formula(filter: ImplicitFilter, t: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Taps (G, K): the sine MLP of z under the window of t, from the filter's weights and options."""
    config = filter.config
    weights = {name: parameter.detach().double().numpy() for name, parameter in filter.named_parameters()}
    x = z
    for i in range(config.inner_layers + 1):
        x = np.sin(weights["frequency"] * (x @ weights[f"layers.{i}.weight"].T + weights[f"layers.{i}.bias"]))
    h = x @ weights["out.weight"].T
    if config.window == "exponential":
        slow, fast = np.log(config.decay_target) / config.slow_decay, np.log(config.decay_target) / config.fast_decay
        h = h * (np.exp(-t[:, None] * np.abs(np.linspace(slow, fast, filter.groups))) + config.shift)
    if config.channel_norm:
        h = h / np.abs(h).sum(axis=1, keepdims=True)
    return h.T


def on_stored_grid(filter: ImplicitFilter, K: int) -> Tensor:
    """The formula at the filter's own t and z."""
    filter = copy.deepcopy(filter)
    taps = formula(filter, filter.t[:K].numpy(), filter.z[:K].detach().numpy())
    return torch.from_numpy(taps)


# --- the formula ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [3, 5, 33])
@pytest.mark.parametrize("max_length", [2, 33, 1000])
def test_the_grid_is_the_formulas(max_length: int, features: int):
    filter = make(ImplicitFilterConfig(features=features), max_length=max_length)
    t, z = grid(np.arange(max_length), max_length, features)
    assert_close(filter.t, torch.from_numpy(t), **tolerances.GRID)
    assert_close(filter.z, torch.from_numpy(z), **tolerances.GRID)


def test_the_grid_by_hand():
    t, z = positions(torch.arange(4), 4, 5)
    assert_close(t, torch.tensor([0, 1 / 3, 2 / 3, 1]))
    # Frequencies 1e-4 and 1: the first hardly moves, the second makes one turn in four steps.
    assert_close(z[:, 0], t)
    assert_close(z[:, 1], torch.ones(4), rtol=0, atol=1e-6)
    assert_close(z[:, 2], torch.tensor([1.0, 0.0, -1.0, 0.0]), rtol=0, atol=1e-6)
    assert_close(z[:, 4], torch.tensor([0.0, -1.0, 0.0, 1.0]), rtol=0, atol=1e-6)
    assert z[:, 3].abs().max() < 1e-3


def test_one_point_has_a_grid():
    assert [x.isfinite().all() for x in positions(torch.arange(1), 1, 5)] == [True, True]
    assert make(max_length=1)(1).shape == (G, 1)


@every_config
@pytest.mark.parametrize("K", [1, 2, 17, MAX_LENGTH])
def test_taps_are_the_formulas(name: str, K: int):
    filter = make(CONFIGS[name])
    taps = filter(K)
    assert taps.shape == (G, K)
    # The stored decay is float32; the exponent is off by as much.
    assert_close(taps, on_stored_grid(filter, K), **tolerances.GRID)


@every_config
def test_taps_are_exactly_those_of_the_stored_tensors(name: str):
    filter = make(CONFIGS[name])
    slow, fast = np.log(filter.config.decay_target) / np.array([filter.config.slow_decay, filter.config.fast_decay])
    if filter.decay is not None:
        filter.decay = torch.from_numpy(np.linspace(slow, fast, G))
    assert_close(filter(MAX_LENGTH).detach(), on_stored_grid(filter, MAX_LENGTH), **tolerances.FLOAT64)


def test_the_window_reaches_its_target_where_the_options_say():
    # exp(-t |decay|) is the target at t = slow_decay for the first channel and at t = fast_decay for the last.
    filter = make(ImplicitFilterConfig(decay_target=0.02, fast_decay=0.25, slow_decay=1.25))
    reached = torch.exp(-torch.stack([1.25 * filter.decay[0].abs(), 0.25 * filter.decay[-1].abs()]))
    assert_close(reached, torch.tensor([0.02, 0.02]).double(), rtol=1e-6, atol=0)


def test_channel_norm_makes_every_tap_sum_to_one():
    taps = make(ImplicitFilterConfig(channel_norm=True))(20)
    assert_close(taps.abs().sum(0), torch.ones(20).double(), **tolerances.FLOAT64)


def test_a_shorter_filter_is_the_start_of_a_longer_one():
    filter = make()
    assert_close(filter(10), filter(MAX_LENGTH)[:, :10], **tolerances.FLOAT64)


@every_config
def test_sections_side_by_side_are_the_filter(name: str):
    filter = make(CONFIGS[name])
    with torch.no_grad():
        parts = [filter.section(start, stop) for start, stop in ((0, 1), (1, 20), (20, MAX_LENGTH))]
        assert filter._cached is None, "a section is never kept"
        assert_close(torch.cat(parts, 1), filter(MAX_LENGTH), **tolerances.FLOAT64)


def test_the_sine_frequencies_are_one_vector_for_all_layers():
    assert [name for name, _ in make().named_parameters() if "frequency" in name] == ["frequency"]
    assert make().frequency.shape == (64,)


@pytest.mark.parametrize("train", [False, True], ids=["buffer", "parameter"])
def test_features_train_where_they_are_told_to(train: bool):
    filter = make(ImplicitFilterConfig(train_features=train))
    assert ("z" in dict(filter.named_parameters())) == train
    assert "z" in filter.state_dict()
    filter(20).sum().backward()
    if train:
        assert filter.z.grad[:20].abs().min() > 0
        assert filter.z.grad[20:].abs().max() == 0


def test_half_precision_and_autocast_do_not_reach_the_filter():
    filter = make().float()
    taps = filter(MAX_LENGTH)
    half = copy.deepcopy(filter).bfloat16()
    assert torch.equal(half(MAX_LENGTH), taps)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(filter(MAX_LENGTH), taps)


def test_operations_of_the_mlp():
    filter = make(ImplicitFilterConfig(features=5, width=8, inner_layers=1))
    assert filter.flops(10) == 2 * 10 * (5 * 8 + 8 * 8 + 8 * G)


# --- beyond the grid --------------------------------------------------------------------------------------------------------


def test_error_names_the_cures():
    filter = make(beyond="error")
    assert filter.used(MAX_LENGTH) == MAX_LENGTH
    with refused("34 tokens", "max_length 33", "beyond='error'", "'truncate'", "'extend'", "resized(new_length)"):
        filter(MAX_LENGTH + 1)


def test_truncate_ends_with_the_grid():
    filter = make(beyond="truncate")
    for L in (MAX_LENGTH + 1, 1000):
        assert filter.used(L) == MAX_LENGTH
        assert torch.equal(filter(L), filter(MAX_LENGTH))
    assert filter.used(5) == 5


@pytest.mark.parametrize("name", ["defaults", "five features, shift", "channel norm", "trained features"])
def test_extend_goes_on_along_the_same_grid(name: str):
    filter, L = make(CONFIGS[name], beyond="extend"), 3 * MAX_LENGTH
    assert filter.used(L) == L
    t, z = (torch.from_numpy(x).float().double().numpy() for x in grid(np.arange(L), MAX_LENGTH, filter.config.features))
    assert t[-1] > 3
    taps = filter(L)
    assert_close(taps.detach(), torch.from_numpy(formula(filter, t, z)), **tolerances.GRID)
    assert_close(taps[:, :MAX_LENGTH], filter(MAX_LENGTH), **tolerances.FLOAT64)


@pytest.mark.parametrize("train", [False, True], ids=["published", "trained"])
def test_features_that_left_the_formula_cannot_be_continued(train: bool):
    filter = make(ImplicitFilterConfig(features=5, train_features=train), beyond="extend")
    filter.z.data[3, 2] += 0.01
    assert filter(MAX_LENGTH).shape == (G, MAX_LENGTH)
    with refused("beyond='extend'", "trained", "'truncate'", "resized(new_length)"):
        filter(MAX_LENGTH + 1)


# --- another grid -----------------------------------------------------------------------------------------------------------


def perturbed(filter: ImplicitFilter) -> ImplicitFilter:
    """The filter with features that no formula gives."""
    with torch.no_grad():
        filter.z.add_(0.1 * torch.randn_like(filter.z))
    return filter


STRETCHED = {
    "features of the formula": lambda: make(),
    "33 features": lambda: make(ImplicitFilterConfig()),
    "published features": lambda: perturbed(make()),
    "trained features": lambda: perturbed(make(ImplicitFilterConfig(features=5, train_features=True))),
}


@pytest.mark.parametrize("kind", STRETCHED)
def test_a_resized_filter_is_the_same_function_of_t(kind: str):
    # 33 points and 65: every second one of the new grid is one of the old, both ends included.
    filter = STRETCHED[kind]()
    taps = filter(33)
    filter.resized(65)
    assert filter.max_length == 65
    assert_close(filter.t[::2], filter.t[-1] * torch.linspace(0, 1, 33).double(), **tolerances.GRID)
    assert_close(filter(65)[:, ::2], taps, **tolerances.STRETCHED)


@pytest.mark.parametrize("kind", STRETCHED)
def test_a_resized_filter_may_be_resized_back(kind: str):
    filter = STRETCHED[kind]()
    taps = filter(33)
    filter.resized(65)
    filter.resized(33)
    assert_close(filter(33), taps, **tolerances.STRETCHED)


def test_what_training_added_to_the_features_is_interpolated_between_their_points():
    filter = STRETCHED["trained features"]()
    old = filter.z.detach().clone()
    filter.resized(65)
    assert isinstance(filter.z, nn.Parameter)
    assert_close(filter.z[::2].detach(), old, **tolerances.GRID)
    halfway = positions(torch.arange(32) + 0.5, 33, filter.config.features)[1]
    added = old - positions(torch.arange(33), 33, filter.config.features)[1]
    assert_close(filter.z[1::2].detach(), halfway + (added[1:] + added[:-1]) / 2, **tolerances.GRID)


def test_features_that_trained_a_little_are_kept():
    filter = make(ImplicitFilterConfig(features=5, train_features=True))
    filter.z.data += 5e-4
    old = filter.z.detach().clone()
    filter.resized(65)
    assert_close(filter.z[::2].detach(), old, **tolerances.GRID)


def test_frozen_features_stay_frozen_and_float64_stays_exact():
    filter = STRETCHED["trained features"]()
    filter.z.requires_grad_(False)
    old = filter.z.detach().clone()
    filter.resized(65)
    assert not filter.z.requires_grad
    assert filter.z.dtype == filter.t.dtype == torch.float64
    assert_close(filter.z[::2], old, **tolerances.FLOAT64)


@pytest.mark.parametrize("kind", STRETCHED)
def test_a_filter_may_be_shortened_too(kind: str):
    filter = STRETCHED[kind]()
    taps = filter(33)
    filter.resized(17)
    assert_close(filter(17), taps[:, ::2], **tolerances.STRETCHED)


def test_a_filter_of_one_tap_is_the_same_everywhere():
    filter = make(max_length=1)
    tap = filter(1)
    filter.resized(5)
    assert_close(filter.z, filter.z[:1].expand(5, -1))
    assert_close(filter(5)[:, :1], tap, **tolerances.STRETCHED)


def test_a_stretched_grid_has_no_formula_to_go_on_by():
    filter = make(beyond="extend")
    assert filter.on_formula()
    filter.resized(65)
    assert not filter.on_formula()
    with refused("beyond='extend'", "resized", "'truncate'"):
        filter(66)
    assert filter(65).shape == (G, 65)


def test_features_that_are_written_to_leave_the_formula():
    filter = make(beyond="extend")
    assert filter.on_formula()
    filter.z.mul_(2)
    assert not filter.on_formula()
    filter.z.div_(2)
    assert filter.on_formula()
    filter.z = filter.z + 1
    assert not filter.on_formula()


def test_a_resized_filter_goes_on_past_its_new_end_only_as_told():
    filter = make(beyond="truncate")
    filter.resized(65)
    assert filter.used(100) == 65
    error = make()
    error.resized(65)
    with refused("66 tokens", "max_length 65"):
        error(66)


# --- the cache --------------------------------------------------------------------------------------------------------------


def computed(filter: ImplicitFilter, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by K each time the taps are computed."""
    lengths: list[int] = []
    taps = filter._taps
    monkeypatch.setattr(filter, "_taps", lambda K: (lengths.append(K), taps(K))[1])
    return lengths


def test_taps_are_kept_in_evaluation_without_gradients(monkeypatch: pytest.MonkeyPatch):
    filter = make(max_length=1000)
    lengths = computed(filter, monkeypatch)
    with torch.no_grad():
        for L in (500, 500, 3, 499):
            filter(L)
    assert len(lengths) == 1


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("grad", [True, False], ids=["gradients", "no gradients"])
def test_taps_are_kept_nowhere_else(monkeypatch: pytest.MonkeyPatch, training: bool, grad: bool):
    filter = make().train(training)
    lengths = computed(filter, monkeypatch)
    with torch.set_grad_enabled(grad):
        results = [filter(20) for _ in range(3)]
    assert len(lengths) == (1 if not training and not grad else 3)
    assert all(taps.requires_grad == grad for taps in results)


@pytest.mark.parametrize("beyond", ["error", "truncate", "extend"])
def test_any_length_may_follow_any_other(beyond: Beyond):
    filter = make(beyond=beyond, max_length=700)
    lengths = [10, 64, 65, 3, 500, 499, 512, 513, 700, 1]
    lengths += [] if beyond == "error" else [701, 2000, 700, 1999]
    with torch.no_grad():
        for L in lengths:
            assert_close(filter(L), filter._taps(filter.used(L)), **tolerances.FLOAT64)


def add_(tensor: Tensor) -> None:
    """Change a tensor in place, past autograd's eyes."""
    tensor.data.view(-1)[0] += 0.5


def step(filter: ImplicitFilter) -> None:
    """One step of an optimiser."""
    optimiser = torch.optim.SGD(filter.parameters(), lr=0.1)
    with torch.enable_grad():
        filter._taps(20).square().sum().backward()
    optimiser.step()


def reload(filter: ImplicitFilter, assign: bool = False) -> None:
    """load_state_dict with the weights of another filter."""
    filter.load_state_dict(make(filter.config).state_dict(), assign=assign)


def replace(filter: ImplicitFilter, name: str) -> None:
    """Put another tensor in the place of one."""
    owner, _, attribute = name.rpartition(".")
    module, old = (
        filter.get_submodule(owner),
        filter.get_parameter(name) if name in dict(filter.named_parameters()) else filter.get_buffer(name),
    )
    new = old.detach() + 0.5
    setattr(module, attribute, nn.Parameter(new) if isinstance(old, nn.Parameter) else new)


TENSORS = list(make().state_dict())
CHANGES: dict[str, Callable[[ImplicitFilter], object]] = {
    **{f"{name}.data in place": lambda f, name=name: add_(f.state_dict()[name]) for name in TENSORS},
    **{f"{name} replaced": lambda f, name=name: replace(f, name) for name in TENSORS},
    "weight.data exchanged": lambda f: setattr(f.out.weight, "data", f.out.weight.data + 0.5),
    "a module exchanged": lambda f: setattr(f, "out", nn.Linear(64, G, bias=False).double()),
    "load_state_dict": reload,
    "load_state_dict(assign=True)": lambda f: reload(f, assign=True),
    "an optimiser's step": step,
    "to(float32)": lambda f: f.to(torch.float32),
    "bfloat16()": lambda f: f.bfloat16(),
    "resized": lambda f: f.resized(65),
    "initialised anew": lambda f: nn.init.normal_(f.out.weight),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_always_seen(change: str):
    filter = make()
    filter.z[0] += 1e-9  # `t` and `z` start with exact zeros, which hide nothing
    with torch.no_grad():
        before = filter(20).clone()
        assert torch.equal(filter(20), before)
        CHANGES[change](filter)
        after, wanted = filter(20), filter._taps(20)
    assert after.dtype == wanted.dtype
    assert_close(after, wanted, rtol=0, atol=1e-6 if after.dtype == torch.float32 else 1e-12)
    assert after.dtype != before.dtype or not torch.equal(after, before)


def test_a_copy_has_a_cache_of_its_own():
    filter = make()
    with torch.no_grad():
        before = filter(20).clone()
        other = copy.deepcopy(filter)
        add_(other.out.weight)
        assert not torch.equal(other(20), before)
        assert torch.equal(filter(20), before)


def test_what_a_caller_does_to_the_taps_stays_with_the_caller():
    filter = make()
    with torch.no_grad():
        before = filter(20).clone()
        filter(20).zero_()
        assert torch.equal(filter(20), before)


def test_a_filter_is_computed_ahead_but_never_past_its_grid(monkeypatch: pytest.MonkeyPatch):
    # Features off the formula have no values there: computing ahead must not ask for them.
    filter = perturbed(make(beyond="extend"))
    lengths = computed(filter, monkeypatch)
    with torch.no_grad():
        assert filter(20).shape == (G, 20)
    assert lengths == [MAX_LENGTH]


def test_the_shared_taps_are_not_copied():
    filter = make()
    with torch.no_grad():
        assert filter.shared(20).data_ptr() == filter.shared(10).data_ptr()
        assert torch.equal(filter.shared(20), filter(20))


def test_the_cache_is_not_saved():
    filter = make()
    names = set(filter.state_dict())
    with torch.no_grad():
        filter(20)
    assert set(filter.state_dict()) == names


# --- prepared filters -------------------------------------------------------------------------------------------------------

CHANNELS = 2 * G


def through(filter: ImplicitFilter, length: int) -> Tensor:
    """A signal of that length after the prepared filter."""
    u = torch.linspace(-1, 1, CHANNELS * length, dtype=torch.float64).view(1, CHANNELS, length).to(filter.t.dtype)
    return long_conv(u, filter.prepared(length, CHANNELS))


def afresh(filter: ImplicitFilter, length: int) -> Tensor:
    """The same with taps that are computed here and now."""
    u = torch.linspace(-1, 1, CHANNELS * length, dtype=torch.float64).view(1, CHANNELS, length).to(filter.t.dtype)
    return long_conv(u, filter._taps(filter.used(length)), backend="direct")


def test_a_prepared_filter_is_kept_in_evaluation_without_gradients(monkeypatch: pytest.MonkeyPatch):
    filter = make(max_length=1000)
    lengths = computed(filter, monkeypatch)
    with torch.no_grad():
        first = filter.prepared(500, CHANNELS)
        assert isinstance(first, Spectrum)
        assert filter.prepared(500, CHANNELS) is first
        assert filter.prepared(499, CHANNELS) is first  # of the same rounded-up length
        assert first.length >= 500
    assert len(lengths) == 1


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("grad", [True, False], ids=["gradients", "no gradients"])
def test_a_filter_is_prepared_nowhere_else(training: bool, grad: bool):
    filter = make().train(training)
    with torch.set_grad_enabled(grad):
        found = filter.prepared(20, CHANNELS)
    if not training and not grad:
        assert isinstance(found, Spectrum)
    else:
        assert isinstance(found, Tensor)
        assert found.requires_grad == grad
        assert filter._cached is None
        assert_close(found, filter._taps(20), **tolerances.FLOAT64)


@pytest.mark.parametrize("beyond", ["error", "truncate", "extend"])
def test_a_filter_is_prepared_for_any_length_after_any_other(beyond: Beyond):
    filter = make(beyond=beyond, max_length=700)
    lengths = [10, 64, 65, 3, 500, 499, 512, 513, 700, 1]
    lengths += [] if beyond == "error" else [701, 2000, 700, 1999]
    with torch.no_grad():
        for L in lengths:
            y, wanted = through(filter, L), afresh(filter, L)
            assert_close(y, wanted, rtol=0, atol=1e-12 * loudness(wanted))


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_always_seen_by_a_prepared_filter(change: str):
    filter = make()
    filter.z[0] += 1e-9
    with torch.no_grad():
        before = filter.prepared(20, CHANNELS)
        kept = through(filter, 20)
        assert filter.prepared(20, CHANNELS) is before
        CHANGES[change](filter)
        assert filter.prepared(20, CHANNELS) is not before
        after, wanted = through(filter, 20), afresh(filter, 20)
    assert after.dtype == wanted.dtype
    assert_close(after, wanted, rtol=0, atol=1e-5 if after.dtype == torch.float32 else 1e-12)
    assert after.dtype != kept.dtype or not torch.equal(after, kept)


def test_back_and_forth_between_training_and_evaluation_nothing_is_stale():
    filter = make()
    for _ in range(3):
        filter.eval()
        with torch.no_grad():
            assert_close(through(filter, 30), afresh(filter, 30), **tolerances.FLOAT64)
        filter.train()
        step(filter)


def test_a_copy_has_a_prepared_filter_of_its_own():
    filter = make()
    with torch.no_grad():
        before = through(filter, 20)
        other = copy.deepcopy(filter)
        add_(other.out.weight)
        assert not torch.equal(through(other, 20), before)
        assert torch.equal(through(filter, 20), before)


def test_a_pickled_filter_takes_nothing_prepared_along():
    # A spectrum lies in the order of the registers of the machine that made it: on another one it would be another filter.
    filter = make()
    with torch.no_grad():
        before = through(filter, 20)
        for other in (pickle.loads(pickle.dumps(filter)), copy.deepcopy(filter)):
            assert other._cached is None
            assert torch.equal(through(other, 20), before)
        assert filter._cached is not None
