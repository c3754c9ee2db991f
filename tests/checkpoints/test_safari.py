"""safari's tensors: each layout difference undone, every key used once."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hyena.checkpoints import safari
from hyena.checkpoints.account import Account
from tests.checkpoints.golden import CASES, case
from tests.helpers import refused

LM, OPERATOR, O3 = case("safari-lm"), case("safari-operator-src-o2"), case("safari-operator-src-o3")
FIRST = "backbone.layers.0.mixer.filter_fn.implicit_filter"


def load_lm(change: Callable[[dict[str, Tensor]], object]) -> dict[str, Tensor]:
    """Our tensors of a language model whose published ones were changed."""
    tensors = dict(LM.state)
    change(tensors)
    return safari.language_model(tensors, LM.config, "weights.ckpt")[1]


def load_operator(change: Callable[[dict[str, Tensor]], object]) -> torch.nn.Module:
    """The mixer of an operator whose tensors were changed."""
    tensors = dict(OPERATOR.state)
    change(tensors)
    return safari.operator(tensors, OPERATOR.config, safari.CHANNEL_FIRST, "operator.pt")


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two state dicts are equal."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --- layouts ----------------------------------------------------------------------------------------------------------------


def test_taps_are_turned_round():
    weight = torch.tensor([[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]])
    assert safari.flip_taps(weight).tolist() == [[3, 2, 1], [6, 5, 4]]


def test_channels_that_run_slowest_become_those_that_run_fastest():
    # Channel c of convolution o is row c (N - 1) + o there and o D + c here.
    rows = torch.tensor([10 * c + o for c in range(3) for o in range(2)])
    assert safari.order_first(rows, 2, safari.CHANNEL_FIRST).tolist() == [0, 10, 20, 1, 11, 21]
    assert safari.order_first(rows, 2, safari.ORDER_FIRST) is rows
    assert safari.order_first(rows, 1, safari.CHANNEL_FIRST) is rows


def test_one_frequency_vector_stands_for_its_aliases():
    freq = torch.randn(1, 4)
    for present in ([1], [1, 3], [1, 3, 5]):
        account = Account({f"mlp.{i}.freq": freq for i in present}, "file")
        assert torch.equal(safari.shared_frequency(account, "mlp", 3), freq[0])
        account.close()


@pytest.mark.parametrize("alias", [3, 5])
def test_aliases_that_differ_are_refused(alias: int):
    key = f"{FIRST}.{alias}.freq"
    with refused("weights.ckpt", key, f"{FIRST}.1.freq", "one shared tensor"):
        load_lm(lambda t: t.update({key: t[key] + 1e-6}))


def test_aliases_that_are_absent_are_the_first():
    def drop(tensors: dict[str, Tensor]) -> None:
        for key in [k for k in tensors if k.endswith((".3.freq", ".5.freq"))]:
            del tensors[key]

    assert same(load_lm(drop), load_lm(lambda t: None))


def test_every_change_of_layout_is_undone_by_its_inverse():
    for shape in ((6, 3), (6,)):
        rows = torch.randn(shape)
        for layout in safari.LAYOUTS:
            for convolutions in (1, 2, 3):
                assert torch.equal(safari.order_first(safari.in_layout(rows, convolutions, layout), convolutions, layout), rows)
                assert torch.equal(safari.in_layout(safari.order_first(rows, convolutions, layout), convolutions, layout), rows)
    assert safari.in_layout(torch.tensor([0, 10, 20, 1, 11, 21]), 2, safari.CHANNEL_FIRST).tolist() == [0, 1, 10, 11, 20, 21]
    taps = torch.randn(4, 3)
    assert torch.equal(safari.flip_taps(safari.conv1d_weight(taps)), taps)
    assert safari.conv1d_weight(taps).shape == (4, 1, 3)
    scales = torch.randn(2)
    assert torch.equal(safari.used_scales(safari.all_scales(scales), 2), scales)
    assert safari.all_scales(scales).shape == (3, 1, 1)
    frequency = torch.randn(4)
    repeated = safari.repeated_frequency(frequency, "mlp", 3)
    assert list(repeated) == ["mlp.1.freq", "mlp.3.freq", "mlp.5.freq"]
    assert torch.equal(safari.shared_frequency(Account(repeated, "file"), "mlp", 3), frequency)
    safari.tied_head(Account(safari.repeated_embedding(rows), "file"), rows)


OPERATORS = [name for name in CASES if case(name).is_operator and not name.endswith("blocks")]


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_is_written_as_it_was_read(name: str):
    c = case(name)
    layout = safari.CHANNEL_FIRST if c.which == "src" else safari.ORDER_FIRST
    mixer = c.mixer()
    values = Account({f"ours.{key}": tensor for key, tensor in mixer.state_dict().items()}, "the mixer")
    written = safari.published_operator(values, "ours.", "", mixer.config, layout)
    values.close()
    assert written.keys() == c.state.keys()
    unread = safari.unread(mixer.config, 1).keys()
    for key, tensor in written.items():
        wanted = c.state[key].clone()
        if key == "ord_proj_w":
            wanted[-1] = 0  # the row that the published code never reads
        if key not in unread:
            assert torch.equal(tensor, wanted), key


def test_what_the_published_operator_never_reads_has_its_shape_and_value():
    c = case("safari-operator-src-o3")
    config = c.mixer().config
    assert safari.unread(config, 3) == {}
    bare = replace(config, skip=False, filter=replace(config.filter, window="none"))
    spare = safari.unread(bare, c.state["filter_fn.bias"].shape[0])
    assert {key: tensor.shape for key, tensor in spare.items()} == {key: c.state[key].shape for key in spare}
    assert not spare["filter_fn.bias"].any()
    decay = spare["filter_fn.modulation.deltas"]  # the formula, in the published order of channels
    assert_close(decay[0, 0, [0, -1]], torch.tensor([math.log(1e-2) / 1.5, math.log(1e-2) / 0.3]))


# --- names ------------------------------------------------------------------------------------------------------------------


def renamed(tensors: dict[str, Tensor], change: Callable[[str], str]) -> None:
    """Rename every key."""
    pairs = list(tensors.items())
    tensors.clear()
    tensors.update((change(key), tensor) for key, tensor in pairs)


NAMES: dict[str, Callable[[str], str]] = {
    "Lightning's prefix": lambda key: f"model.{key}",
    "checkpointed mixers": lambda key: key.replace(".mixer.", ".mixer.layer."),
    "checkpointed mixers and MLPs": lambda key: (
        "model." + key.replace(".mixer.", ".mixer.layer.").replace(".mlp.", ".mlp.layer.")
    ),
}


@pytest.mark.parametrize("kind", NAMES)
def test_names_that_training_changed_are_the_same(kind: str):
    assert same(load_lm(lambda t: renamed(t, NAMES[kind])), load_lm(lambda t: None))


def test_two_names_of_one_tensor_are_refused():
    with refused("weights.ckpt", "model.lm_head.weight", "there already"):
        load_lm(lambda t: t.update({"model.lm_head.weight": t["lm_head.weight"]}))


@pytest.mark.parametrize("key", sorted(OPERATOR.state))
def test_every_tensor_of_an_operator_is_needed(key: str):
    if key.endswith((".3.freq", ".5.freq")):
        load_operator(lambda t: t.pop(key))
        return
    with refused("operator.pt lacks", key):
        load_operator(lambda t: t.pop(key))


@pytest.mark.parametrize(
    "key",
    [
        "backbone.embeddings.word_embeddings.weight",
        "backbone.layers.2.norm2.bias",
        "backbone.ln_f.weight",
        "backbone.layers.1.mlp.fc1.bias",
    ],
)
def test_a_missing_tensor_of_a_model_is_named(key: str):
    with refused("weights.ckpt lacks", key, "is it whole"):
        load_lm(lambda t: t.pop(key))


@pytest.mark.parametrize("key", ["backbone.layers.3.norm1.weight", "backbone.extra", "backbone.layers.0.mixer.ord_proj_w"])
def test_a_tensor_that_means_nothing_is_named(key: str):
    with refused("weights.ckpt", "no meaning", key):
        load_lm(lambda t: t.update({key: torch.zeros(1)}))
    with refused("operator.pt", "no meaning", "more.weight"):
        load_operator(lambda t: t.update({"more.weight": torch.zeros(1)}))


def test_a_head_that_is_not_the_embedding_is_refused():
    with refused("weights.ckpt", "lm_head.weight differs from the embedding"):
        load_lm(lambda t: t.update({"lm_head.weight": t["lm_head.weight"] + 1}))


def test_a_tied_head_may_be_left_out():
    assert same(load_lm(lambda t: t.pop("lm_head.weight")), load_lm(lambda t: None))


def test_another_size_is_named():
    with refused("operator.pt", "in_proj.weight has shape (72, 23)", "(72, 24)"):
        load_operator(lambda t: t.update({"in_proj.weight": t["in_proj.weight"][:, :-1]}))


def test_another_l_max_is_another_function_and_refused():
    config = OPERATOR.config | {"l_max": 255}
    with refused("operator.pt: filter.", "has shape (256", "(255"):
        safari.operator(OPERATOR.state, config, safari.CHANNEL_FIRST, "operator.pt")


def test_several_heads_cannot_be_loaded():
    c = case("safari-operator-src-ffn")
    state = c.state | {"ord_proj_w": torch.zeros(3, 2, 2)}
    with refused("ord_proj_w", "(3, 2, 2)", "one head"):
        safari.operator(state, c.config, safari.CHANNEL_FIRST, "operator.pt")


def test_a_window_without_its_decay_is_not_whole():
    with refused("operator.pt lacks filter_fn.modulation.deltas"):
        load_operator(lambda t: t.pop("filter_fn.modulation.deltas"))


def test_without_a_window_the_decay_means_nothing():
    mixer = safari.operator(OPERATOR.state, OPERATOR.config | {"modulate": False}, safari.CHANNEL_FIRST, "operator.pt")
    assert mixer.filter.decay is None
    assert mixer.filter.config.window == "none"


def test_attention_tensors_keep_their_order():
    c = case("safari-lm-attn-rope")
    ours = safari.language_model(c.state, c.config, "file")[1]
    assert torch.equal(ours["backbone.blocks.0.mixer.qkv_proj.weight"], c.state["backbone.layers.0.mixer.Wqkv.weight"])
    assert torch.equal(ours["backbone.blocks.0.mixer.rotary.inv_freq"], c.state["backbone.layers.0.mixer.rotary_emb.inv_freq"])
    assert torch.equal(ours["backbone.positions.weight"], c.state["backbone.embeddings.position_embeddings.weight"])
