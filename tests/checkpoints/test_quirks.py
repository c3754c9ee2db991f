"""Every quirk is undone by one name, which a recorded case needs: without it the case fails. And the page says the same."""

import importlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
import torch
from torch import Tensor

from hyena.checkpoints import PrecisionWarning, load, load_mixer
from hyena.checkpoints.account import Account
from hyena.checkpoints.quirks import QUIRKS
from hyena.errors import HyenaError
from tests import tolerances
from tests.checkpoints.golden import Case, case
from tests.helpers import unchecked
from tests.house.sources import ROOT

State = dict[str, Any]
Config = dict[str, Any]
Change = Callable[[State, Config], None]


def as_it_is(state: State, config: Config) -> None:
    """The case itself."""


def written(c: Case, tmp_path: Path, change: Change) -> tuple[Path, Config]:
    """A case's checkpoint, changed as published ones are: a file, and its configuration."""
    state, config = dict(c.state), json.loads(json.dumps(c.config))
    change(state, config)
    torch.save(state, tmp_path / "model.pt")
    return tmp_path / "model.pt", config


def check_model(c: Case, path: Path, config: Config) -> None:
    """Logits in float32; for StripedHyena the last stream in float64 too, which sees what float32 does not."""
    ids = c.io["input_ids"]
    with torch.no_grad():
        model = load(path, c.format, config)
        torch.testing.assert_close(model(ids), c.io["logits"], **tolerances.GOLDEN_STRIPED)
        if "stream_last_f64" in c.io:
            hidden = model.double().backbone.norm(c.io["stream_last_f64"])
            torch.testing.assert_close(model.double().backbone(ids), hidden, **tolerances.GOLDEN_FLOAT64)


def golden(name: str, change: Change = as_it_is) -> Callable[[Path], None]:
    """A case through the importer."""
    return lambda tmp_path: check_model(case(name), *written(case(name), tmp_path, change))


def release(tmp_path: Path) -> None:
    """The layout of a released HyenaDNA checkpoint."""
    c = case("hyenadna-lm-c")
    check_model(c, c.folder / "weights.ckpt", json.loads((c.folder / "release_config.json").read_text()))


def operator(name: str) -> Callable[[Path], None]:
    """A bare operator, in float64."""

    def check(_: Path) -> None:
        c = case(name)
        with torch.no_grad():
            y = load_mixer(c.folder / "state.safetensors", c.format, c.config).double()(c.io["x"].double())
        torch.testing.assert_close(y, c.io["y_f64"], **tolerances.GOLDEN_FLOAT64)

    return check


def in_parts(tmp_path: Path) -> None:
    """A file cut into three."""
    path, config = written(case("sh2-lm"), tmp_path, as_it_is)
    content = path.read_bytes()
    third = len(content) // 3
    for i, begin in enumerate((0, third, 2 * third)):
        Path(f"{path}.part{i}").write_bytes(content[begin : begin + third if i < 2 else None])
    path.unlink()
    check_model(case("sh2-lm"), path, config)


def said(tmp_path: Path) -> None:
    """One warning for fp8."""
    path, config = written(case("sh2-lm"), tmp_path, lambda _, config: config.update(use_fp8_input_projections=True))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        check_model(case("sh2-lm"), path, config)
    assert [w.category for w in found] == [PrecisionWarning]


def writes_bytes(tmp_path: Path) -> None:
    """Half of the rows of Evo's heads are padding, which is never drawn, and of which a tokenizer knows nothing."""
    path, config = written(case("sh1-lm-evo"), tmp_path, as_it_is)
    check_model(case("sh1-lm-evo"), path, config)
    model = load(path, "stripedhyena", config)
    assert (model.config.vocab_size, model.config.rows, model.config.tokenizer) == (256, 512, "bytes")


def prefixed(state: State, _: Config) -> None:
    for key in list(state):
        state[f"backbone.{key}"] = state.pop(key)


def half_frequencies(state: State, _: Config) -> None:
    for key in [key for key in state if key.endswith("inv_freq")]:
        state[key] = state[key].bfloat16()


def repeated_embedding(state: State, _: Config) -> None:
    state["unembed.weight"] = state["embedding_layer.weight"].clone()


def extra_keys(state: State, _: Config) -> None:
    state["blocks.0.projections._extra_state"] = torch.arange(5, dtype=torch.uint8)
    state["blocks.2.mixer.mixer.filter.t"] = torch.arange(7.0)


def one_layer_more(_: State, config: Config) -> None:
    config["hyena_layer_idxs"].append(config["num_layers"])


def out_of(layers: int, places: dict[str, list[int]]) -> str:
    """A reader that takes the lists for what they say."""
    return "".join(next(k for k, found in places.items() if i in found) for i in range(max(sum(places.values(), [layers])) + 1))


def first_key(tensors: Account[Tensor], prefix: str, _: int) -> Tensor:
    return tensors.take(f"{prefix}.1.freq").squeeze(0)


def first(x: Any, *_: Any, **__: Any) -> Any:
    """Nothing undone."""
    return x


# Name -> what a reader does that does not know of it, and checks of which at least one must then fail.
WITHOUT: dict[str, tuple[Any, list[Callable[[Path], None]]]] = {
    "safari.flip_taps": (lambda w: w.squeeze(1), [golden("safari-lm"), golden("hyenadna-lm-a"), golden("hyenadna-hf")]),
    "safari.order_first": (first, [operator("safari-operator-src-o3")]),
    "safari.shared_frequency": (first_key, [golden("safari-lm")]),
    "safari.used_scales": (first, [operator("safari-operator-src-ffn")]),
    "safari.plain_names": (first, [release]),
    "safari.tied_head": (lambda *_: None, [golden("safari-lm"), golden("hyenadna-lm-a")]),
    "safari.unread": (lambda *_: {}, [operator("safari-operator-src-norm")]),
    "hyenadna.SHIFT": (0.0, [golden("hyenadna-lm-a"), golden("hyenadna-hf")]),
    "fixups.plain_key": (first, [golden("sh1-lm-evo", prefixed)]),
    "fixups.short_taps": (lambda w: w.squeeze(1), [golden("sh1-lm"), golden("sh2-lm")]),
    "fixups.inner_taps": (lambda h: h.squeeze(1), [golden("sh2-lm")]),
    "fixups.inner_taps, all reversed": (lambda h: h.squeeze(1).flip(1), [golden("sh2-lm")]),
    "fixups.interleaved_rows": (first, [golden("sh2-lm"), golden("sh2-lm-1m")]),
    "fixups.rows_per_head": (first, [golden("sh1-lm"), golden("sh1-lm-evo")]),
    "fixups.query_rows_per_head": (first, [golden("sh2-lm"), golden("sh2-lm-1m")]),
    "fixups.pole_pairs": (first, [golden("sh1-lm"), golden("sh1-lm-evo")]),
    "fixups.flat_log_poles": (first, [golden("sh2-lm"), golden("sh2-lm-1m")]),
    "fixups.frequencies": (first, [golden("sh1-lm", half_frequencies)]),
    "fixups.rotary_scale": (lambda *_: 1.0, [golden("sh1-lm-evo"), golden("sh2-lm-1m")]),
    "fixups.tied_unembed": (lambda *_: None, [golden("sh1-lm-evo"), golden("sh2-lm", repeated_embedding)]),
    "fixups.kept_keys": (lambda _: [], [golden("sh2-lm", extra_keys)]),
    "fixups.norm_kind": (lambda _: "rms", [golden("sh1-lm"), golden("sh2-lm")]),
    "fixups.symbols": (lambda rows, _: rows, [writes_bytes]),
    "fixups.inner_width": (lambda width, given, _: given or 4 * width, [golden("sh1-lm-evo")]),
    "fixups.later_activation": (lambda _: None, [golden("sh2-lm")]),
    "fixups.kv_heads": (lambda *_: None, [golden("sh1-lm")]),
    "fixups.layer_letters": (out_of, [golden("sh1-lm", one_layer_more)]),
    "pickles.joined_parts": (lambda path: [path], [in_parts]),
    "precision.check": (lambda *_: None, [said]),
}
FAILURES = (AssertionError, HyenaError, RuntimeError, IndexError)


@pytest.mark.parametrize("name", WITHOUT)
def test_a_recorded_case_needs_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    off, checks = WITHOUT[name]
    module, attribute = name.partition(",")[0].split(".")
    home = importlib.import_module(f"hyena.checkpoints.{module}")
    with unchecked():
        for check in checks:
            check(tmp_path)
        assert getattr(home, attribute) is not off
        monkeypatch.setattr(home, attribute, off)
        if module == "pickles":  # imported by its name
            monkeypatch.setattr("hyena.checkpoints.files.joined_parts", off)
        for check in checks:
            with pytest.raises(FAILURES):
                check(tmp_path)


def test_every_quirk_has_its_name_and_its_test():
    for quirk in QUIRKS:
        module, name = quirk.undone_by.split(".")
        assert hasattr(importlib.import_module(f"hyena.checkpoints.{module}"), name), quirk
    assert {name.partition(",")[0] for name in WITHOUT} == {quirk.undone_by for quirk in QUIRKS}


def test_every_fix_up_is_a_quirk():
    home = importlib.import_module("hyena.checkpoints.fixups")
    own = [f for name, f in vars(home).items() if isinstance(f, FunctionType) and f.__module__ == home.__name__]
    names = {f"fixups.{f.__name__}" for f in own if not f.__name__.startswith(("published_", "_"))}
    assert len(names) > 15
    assert names == {quirk.undone_by for quirk in QUIRKS if quirk.undone_by.startswith("fixups.")}


def test_the_page_has_the_same_table():
    rows = [f"| {', '.join(f'`{name}`' for name in q.formats)} | {q.what} | `{q.undone_by}` |" for q in QUIRKS]
    page = (ROOT / "docs/checkpoints.md").read_text()
    head = "| format | quirk | undone by |\n|---|---|---|\n"
    assert head in page
    assert page.partition(head)[2].partition("\n\n")[0].splitlines() == rows
