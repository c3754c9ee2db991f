"""Every quirk of every published format and the one name that undoes it. docs/checkpoints.md has the same table."""

from typing import NamedTuple


class Quirk(NamedTuple):
    """What a format does in another way than ours."""

    formats: tuple[str, ...]
    undone_by: str
    """`module.name` in hyena.checkpoints."""
    what: str


_SAFARI, _DNA, _PORT, _SH1, _SH2 = "safari", "hyenadna", "hyenadna-hf", "stripedhyena", "vortex"
_OLD, _STRIPED = (_SAFARI, _DNA, _PORT), (_SH1, _SH2)

QUIRKS = [
    Quirk(_OLD, "safari.flip_taps", "conv1d stores the tap of the present token last"),
    Quirk(
        _OLD,
        "safari.order_first",
        "channels of filters for order > 2 run (v o) in src/, (o d) in the standalone code; HyenaDNA's "
        "configuration must say which as `layer.channel_layout`",
    ),
    Quirk(
        _OLD,
        "safari.shared_frequency",
        "one sine frequency under three keys, an error where they differ; the port stores the first",
    ),
    Quirk(_OLD, "safari.used_scales", "`ord_proj_w` has a row more than is read"),
    Quirk(
        (_SAFARI, _DNA), "safari.plain_names", "`.layer` in the keys of gradient-checkpointed trainings, Lightning's `model.`"
    ),
    Quirk(
        _OLD,
        "safari.tied_head",
        "the head is the embedding again, an error where it is not; the port's own head is loaded as it is",
    ),
    Quirk(_OLD, "safari.unread", "a skip that `bias: false` multiplies by zero, the decay of no window: saved and never read"),
    Quirk(
        (_DNA, _PORT),
        "hyenadna.SHIFT",
        "window shift 0.05 in the published inference code, 0 in the training code and in safari; "
        "no configuration says; `layer.shift` overrides it",
    ),
    Quirk(_STRIPED, "fixups.plain_key", "`backbone.` before every key in Evo's and the hub's files"),
    Quirk(_STRIPED, "fixups.short_taps", "`short_filter_weight` is conv1d's: the tap of the present token is last"),
    Quirk(
        (_SH2,), "fixups.inner_taps", "`h` of fewer than 128 taps (SE) is conv1d's, of 128 and more (MR) runs forward in time"
    ),
    Quirk((_SH2,), "fixups.interleaved_rows", "rows of projections and short filters run x2, x1, v, x2, x1, v (`interleave`)"),
    Quirk(
        _STRIPED,
        "fixups.rows_per_head",
        "rows of projections and short filters run x2, x1, v head by head (`column_split_hyena`, true where it is not given)",
    ),
    Quirk((_SH2,), "fixups.query_rows_per_head", "rows of `Wqkv` run q, k, v head by head (`column_split`)"),
    Quirk((_SH1,), "fixups.pole_pairs", "poles and residues are (D, S, 1, 2) complex numbers, not logarithms"),
    Quirk((_SH2,), "fixups.flat_log_poles", "`log_poles` is (D, S, 1)"),
    Quirk(
        _STRIPED,
        "fixups.frequencies",
        "`inv_freq` is loaded in float32; in half precision it is made anew from `rotary_emb_base`, "
        "and an error where it is no rounding of that",
    ),
    Quirk(
        _STRIPED,
        "fixups.rotary_scale",
        "positions are divided by `rotary_emb_scaling_factor` where `use_interpolated_rotary_pos_emb` says so",
    ),
    Quirk(_STRIPED, "fixups.tied_unembed", "`unembed.weight` of a tied model is the embedding again, an error where it is not"),
    Quirk(
        _STRIPED,
        "fixups.kept_keys",
        "`_extra_state` (fp8 scales) and `mixer.mixer.filter.t` are not computed with, kept word for word",
    ),
    Quirk(_STRIPED, "fixups.norm_kind", "eps of the RMS norm stands outside of the root unless `use_flash_rmsnorm`"),
    Quirk(
        _STRIPED,
        "fixups.symbols",
        "`vocab_size` counts the rows of the head, 512 in Evo's: with CharLevelTokenizer 256 of them are symbols, "
        "the rest padding",
    ),
    Quirk(_STRIPED, "fixups.inner_width", "`inner_mlp_size` null: 8/3 of the width, rounded up to `inner_size_multiple_of`"),
    Quirk(
        (_SH2,), "fixups.later_activation", "`evo2_style_activations`: the first MLP has its activation, the later ones none"
    ),
    Quirk(_STRIPED, "fixups.kv_heads", "`proj_groups` heads share a key/value head"),
    Quirk(_STRIPED, "fixups.layer_letters", "layers are lists of indices, of which those past the last layer mean nothing"),
    Quirk(_STRIPED, "pickles.joined_parts", "a PyTorch file cut into x.pt.part0, x.pt.part1, ..."),
    Quirk(
        _STRIPED,
        "precision.check",
        "`use_fp8_input_projections`: computed in the precision of the weights, with one warning; "
        "refused by `strict_precision`",
    ),
]
