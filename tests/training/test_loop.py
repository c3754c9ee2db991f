"""A run from its configuration to its directory: what it leaves, what it repeats, what it refuses before it writes."""

import math
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import hyena
from hyena.configs.files import read_toml
from hyena.configs.runs import run_config
from hyena.data import ByteTokenizer, load_corpus, training_batch
from hyena.errors import HyenaError
from hyena.models import LanguageModel
from hyena.ops import hyena_conv
from hyena.training import Evaluation, Progress, evaluate, record, setup, source, train
from hyena.training.device import device_for
from hyena.training.optim import parameter_groups
from hyena.training.schedule import rate
from tests.helpers import refused
from tests.tolerances import BFLOAT16_MODEL, FLOAT32
from tests.training.runs import MODEL, TEXT, assert_same_weights, before_step, ctrl_c, saved_step, tiny, weights

LOSS = {"step", "tokens", "loss", "gradient_norm", "lr", "filter_lr", "rows", "length"}
VALID = {"step", "tokens", "valid_nats_per_token", "valid_perplexity", "valid_bits_per_byte", "valid_tokens", "valid_accuracy"}


def test_what_a_run_leaves_behind(text: Path, tmp_path: Path):
    pytest.importorskip("matplotlib")
    config = tiny(tmp_path / "run", text)
    result = train(config)
    files = {path.name: path for path in (tmp_path / "run").iterdir()}
    records = {"run.toml", "metrics.jsonl", "timing.jsonl", "environment.json", "data.json", "loss.png", "tokens"}
    assert set(files) == {"config.json", "model.safetensors", "checkpoints"} | records
    for checkpoint in files["checkpoints"].iterdir():
        names = {"config.json", "model.safetensors", "training.safetensors", "progress.json"}
        assert {path.name for path in checkpoint.iterdir()} == names
    assert files["loss.png"].read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert files["loss.png"].stat().st_size > 5000
    assert run_config(read_toml(files["run.toml"]), "run.toml") == config
    assert (result.directory, result.steps, result.finished) == (tmp_path / "run", 6, True)
    assert result.curve == files["loss.png"]
    model = hyena.load(tmp_path / "run")
    assert model.config == config.model
    assert not model.training


def test_without_matplotlib_only_the_curve_is_missing(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = train(tiny(tmp_path / "run", text))
    assert (result.finished, result.curve) == (True, None)
    assert not (tmp_path / "run/loss.png").exists()


@pytest.mark.usefixtures("undrawn")
def test_the_lines_of_metrics(text: Path, tmp_path: Path):
    config = tiny(tmp_path / "run", text, steps=8, log_every=2, valid_every=3, accumulate=2, lr=1e-2, warmup=0.25)
    train(config)
    lines = record.read_metrics(tmp_path / "run")
    keys = {line["step"]: set(line) for line in lines}
    assert list(keys) == [2, 3, 4, 6, 8]
    assert keys == {2: LOSS, 3: VALID, 4: LOSS, 6: LOSS | VALID, 8: LOSS | VALID}
    for line in lines:
        if "loss" in line:
            assert line["tokens"] == line["step"] * 2 * 2 * 32
            assert line["lr"] == pytest.approx(1e-2 * rate(line["step"] - 1, 8, config.optimizer))


@pytest.mark.usefixtures("undrawn")
def test_the_last_step_logs_and_saves_whatever_the_intervals(text: Path, tmp_path: Path):
    train(tiny(tmp_path / "run", text, log_every=100, valid_every=100, save_every=100))
    (line,) = record.read_metrics(tmp_path / "run")
    assert line["step"] == 6
    assert set(line) == LOSS | VALID
    assert saved_step(tmp_path / "run") == 6


@pytest.mark.usefixtures("undrawn")
def test_what_is_reported(text: Path, tmp_path: Path):
    seen: list[Progress] = []
    result = train(tiny(tmp_path / "run", text), report=seen.append)
    assert [(p.step, p.steps, p.validated) for p in seen] == [(i, 6, i in (3, 6)) for i in range(1, 7)]
    assert [p.loss for p in seen] == [line["loss"] for line in record.read_metrics(tmp_path / "run")]
    assert seen[0].valid is None
    assert seen[3].valid == seen[2].valid != seen[5].valid == result.valid
    assert all(p.tokens_per_second > 0 for p in seen)


@pytest.mark.usefixtures("undrawn")
def test_the_first_loss_is_that_of_the_first_batch(text: Path, tmp_path: Path):
    seen: list[Progress] = []
    config = tiny(tmp_path / "run", text, seed=3)
    train(config, report=seen.append)
    torch.manual_seed(3)
    model = LanguageModel(config.model)
    tokens = load_corpus(text, ByteTokenizer()).split(0.1)[0].tokens
    batch = torch.from_numpy(training_batch(tokens, 32, 2, seed=3, step=0))
    expected = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
    assert seen[0].loss == pytest.approx(expected.item(), abs=FLOAT32["atol"])
    assert abs(seen[0].loss - math.log(256)) < 0.2
    assert seen[5].loss < seen[0].loss - 0.3


@pytest.mark.usefixtures("undrawn")
def test_the_same_configuration_gives_the_same_weights(text: Path, tmp_path: Path):
    for name in "abc":
        torch.rand(ord(name) - 96)  # whatever was drawn before does not count
        train(tiny(tmp_path / name, text, dropout=0.3, seed=int(name == "c")))
    assert_same_weights(tmp_path / "a", tmp_path / "b")
    with pytest.raises(AssertionError):
        assert_same_weights(tmp_path / "a", tmp_path / "c")


@pytest.mark.usefixtures("undrawn")
def test_parts_of_two_average_to_the_gradient_of_four(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    windows = training_batch(load_corpus(text, ByteTokenizer()).tokens, 32, 4, seed=9, step=9)

    def same_windows(tokens: Any, length: int, batch_size: int, seed: int, step: int, **_: Any) -> np.ndarray:
        return windows[step * batch_size : (step + 1) * batch_size]

    def descent(model: LanguageModel, config: Any) -> torch.optim.SGD:
        return torch.optim.SGD(parameter_groups(model, replace(config, weight_decay=0.0)), lr=1.0)

    monkeypatch.setattr(source, "training_batch", same_windows)
    monkeypatch.setattr(setup, "optimizer_for", descent)  # its step is the gradient itself
    losses = {}
    for parts, size in ((1, 4), (2, 2)):
        config = tiny(tmp_path / str(parts), text, steps=1, accumulate=parts, batch_size=size, lr=1.0, clip=0.0)
        train(config, report=lambda progress, parts=parts: losses.update({parts: progress.loss}))
    assert losses[2] == pytest.approx(losses[1], abs=FLOAT32["atol"])
    one, two = weights(tmp_path / "1"), weights(tmp_path / "2")
    torch.manual_seed(0)
    start = LanguageModel(MODEL).state_dict()
    moved = max((one[name] - start[name]).abs().max().item() for name in one)
    assert moved > 0.01, "the gradient must be larger than the tolerance"
    for name in one:
        torch.testing.assert_close(two[name], one[name], **FLOAT32)


@pytest.mark.usefixtures("undrawn")
def test_every_part_of_every_step_has_its_own_batch(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    drawn: list[tuple[int, ...]] = []

    def watch(tokens: Any, *rest: int, **_: Any) -> np.ndarray:
        drawn.append(rest)
        return training_batch(tokens, *rest)

    monkeypatch.setattr(source, "training_batch", watch)
    train(tiny(tmp_path / "run", text, accumulate=2, steps=3, seed=5, length=16))
    # (length, batch_size, seed, part); a look at the data before the run begins is no step.
    assert drawn[-6:] == [(16, 2, 5, part) for part in range(6)]


@pytest.mark.usefixtures("undrawn")
def test_gradients_are_clipped_to_the_norm_that_is_asked_for(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def descent(model: LanguageModel, config: Any) -> torch.optim.SGD:
        return torch.optim.SGD(parameter_groups(model, replace(config, weight_decay=0.0)), lr=1.0)

    monkeypatch.setattr(setup, "optimizer_for", descent)
    torch.manual_seed(0)
    start = LanguageModel(MODEL).state_dict()
    norms = {}
    for clip in (0.0, 0.01):
        train(tiny(tmp_path / str(clip), text, steps=1, lr=1.0, clip=clip))
        now = weights(tmp_path / str(clip))
        norms[clip] = math.sqrt(sum(((now[name] - start[name]).double() ** 2).sum().item() for name in now))
    # A step of 0.01 over some thousand weights of up to 1 is known to a thousandth: each weight is rounded to 6e-8.
    assert norms[0.01] == pytest.approx(0.01, rel=1e-3)
    assert norms[0.0] > 0.1


@pytest.mark.usefixtures("undrawn")
def test_bfloat16_computes_products_in_it_and_keeps_the_rest(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dtypes: set[tuple[str, torch.dtype]] = set()
    logits = LanguageModel.logits

    def watch_convolution(
        streams: torch.Tensor, taps: Any, bias: Any, h: torch.Tensor, *rest: Any, **more: Any
    ) -> torch.Tensor:
        dtypes.add(("taps", h.dtype))
        return hyena_conv(streams, taps, bias, h, *rest, **more)

    def watch_logits(self: LanguageModel, hidden: torch.Tensor) -> torch.Tensor:
        result = logits(self, hidden)
        dtypes.add(("training" if self.training else "validation", result.dtype))
        return result

    monkeypatch.setattr("hyena.modules.fused.hyena_conv", watch_convolution)
    monkeypatch.setattr(LanguageModel, "logits", watch_logits)
    losses: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for precision, seen in losses.items():
        config = tiny(tmp_path / precision, text, precision=precision)
        train(config, report=lambda progress, seen=seen: seen.append(progress.loss))
    half, single = torch.bfloat16, torch.float32
    assert dtypes == {("taps", single), ("training", half), ("training", single), ("validation", single)}
    assert {tensor.dtype for tensor in weights(tmp_path / "bfloat16").values()} == {torch.float32}
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=BFLOAT16_MODEL)


@pytest.mark.usefixtures("undrawn")
def test_a_loss_that_is_not_finite_stops_the_run(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def poison(optimizer: torch.optim.Optimizer) -> None:
        optimizer.param_groups[0]["params"][0].data[0] = math.nan

    before_step(monkeypatch, 4, poison)
    with refused("loss is nan at step 4", "backbone.embedding.weight", "step-00000003", "optimizer.lr"):
        train(tiny(tmp_path / "run", text))
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "run").values())
    assert [line["step"] for line in record.read_metrics(tmp_path / "run")] == [1, 2, 3]
    # What was saved is the state after step 3, the best validation, and the run goes on from there once the cause is gone.
    assert train(tiny(tmp_path / "run", text), resume=True).finished
    train(tiny(tmp_path / "clean", text))
    assert_same_weights(tmp_path / "run", tmp_path / "clean")


@pytest.mark.usefixtures("undrawn")
def test_a_rate_that_is_far_too_large_stops_the_run(text: Path, tmp_path: Path):
    with refused("the loss is", "lower optimizer.lr"):
        train(tiny(tmp_path / "run", text, lr=1e30))


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.usefixtures("undrawn")
def test_weights_that_are_not_finite_are_never_saved(text: Path, tmp_path: Path, ema: float):
    config = tiny(tmp_path / "run", text, lr=1e38, steps=1, ema=ema)
    with refused("is not finite after step 1", "lower optimizer.lr"):
        train(config)
    assert not (tmp_path / "run/checkpoints").exists()
    assert not (tmp_path / "run/model.safetensors").exists()
    assert record.read_metrics(tmp_path / "run") == []


@pytest.mark.usefixtures("undrawn")
def test_a_validation_that_is_not_finite_is_an_error_and_never_the_best(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(source, "evaluate", lambda *_: Evaluation(math.nan, math.nan, math.nan, 1))
    with refused("held-out loss is nan at step 3", "step-00000002"):
        train(tiny(tmp_path / "run", text))
    assert saved_step(tmp_path / "run") == 2


@pytest.mark.parametrize("clip", [1.0, 0.0])
@pytest.mark.usefixtures("undrawn")
def test_a_gradient_that_is_not_finite_is_never_saved(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: float):
    def overflow(optimizer: torch.optim.Optimizer) -> None:
        optimizer.param_groups[0]["params"][0].register_hook(lambda gradient: gradient * math.inf)

    before_step(monkeypatch, 6, overflow)  # the last step, whose weights no later loss would show to be broken
    with refused("step 6"):
        train(tiny(tmp_path / "run", text, clip=clip))
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "run").values())


@pytest.mark.usefixtures("undrawn")
def test_what_is_held_out_is_never_trained_on(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen: set[bytes] = set()

    def watch(tokens: Any, *rest: int, **_: Any) -> np.ndarray:
        seen.add(tokens[:].tobytes())
        return training_batch(tokens, *rest)

    monkeypatch.setattr(source, "training_batch", watch)
    result = train(tiny(tmp_path / "fraction", text, valid_fraction=0.2))
    assert seen == {TEXT[:720].encode()}
    assert result.valid == evaluate(hyena.load(tmp_path / "fraction"), tail(TEXT[720:]), ByteTokenizer(), 32, 2)

    seen.clear()
    other = tmp_path / "other.txt"
    other.write_text("something else, of seventy letters or so, that nobody has ever seen before.")
    result = train(tiny(tmp_path / "files", text, valid_files=(str(other),)))
    assert seen == {TEXT.encode()}
    assert result.valid == evaluate(hyena.load(tmp_path / "files"), tail(other.read_text()), ByteTokenizer(), 32, 2)
    lines = record.read_metrics(tmp_path / "files")
    assert {f"valid_{key}": value for key, value in asdict(result.valid).items()}.items() <= lines[-1].items()


def tail(text: str) -> np.ndarray:
    """A text's bytes as tokens."""
    return np.frombuffer(text.encode(), np.uint8)


@pytest.mark.usefixtures("undrawn")
def test_what_was_changed_in_the_data_is_noted_once(tmp_path: Path):
    path = tmp_path / "genome.fa"
    path.write_text(">a genome\n" + 100 * "ACGTR")
    notes: list[str] = []
    model = {"vocab_size": 12, "tokenizer": "dna"}
    with refused("genome.fa", "record 'a'", "'R' at position 5", "--iupac n"):
        train(tiny(tmp_path / "run", path, **model))
    assert not (tmp_path / "run").exists()
    train(tiny(tmp_path / "run", path, iupac="n", **model), note=notes.append)
    assert sum("FASTA, 1 record" in note for note in notes) == 1
    assert sum("100 ambiguity codes" in note for note in notes) == 1
    assert sum("long filters: " in note for note in notes) == 1
    assert len(notes) == 5, "what the groups of parameters are comes last"


class UnpluggedError(Exception):
    """The machine stops."""


def test_the_last_model_stays_whole_while_the_next_is_written(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def save_file(tensors: dict, path: Path, **_: Any) -> None:
        if ".step-00000004.part" in str(path):
            path.write_bytes(b"half of it")
            raise UnpluggedError
        original(tensors, path, **_)

    original = hyena.models.store.save_file
    monkeypatch.setattr(hyena.models.store, "save_file", save_file)
    with pytest.raises(UnpluggedError):
        train(tiny(tmp_path / "run", text))
    assert saved_step(tmp_path / "run") == 3
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "run").values())
    assert not list((tmp_path / "run").rglob(".*"))


def test_the_device_is_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch):
    assert device_for("cpu") == torch.device("cpu")
    assert device_for("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_for("auto") == torch.device("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU: training on one goes untested")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.usefixtures("undrawn")
def test_on_a_gpu(text: Path, tmp_path: Path, precision: str):
    losses: dict[str, list[float]] = {"cpu": [], "cuda": []}
    for device, seen in losses.items():
        config = tiny(tmp_path / device, text, device=device, precision=precision)
        train(config, report=lambda progress, seen=seen: seen.append(progress.loss))
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=BFLOAT16_MODEL)
    assert {tensor.device.type for tensor in weights(tmp_path / "cuda").values()} == {"cpu"}
    stopped = tiny(tmp_path / "stopped", text, device="cuda", precision=precision)
    assert not train(stopped, report=ctrl_c(4)).finished
    assert train(stopped, resume=True).finished


def test_the_error_is_a_value_error():
    assert issubclass(HyenaError, ValueError)
