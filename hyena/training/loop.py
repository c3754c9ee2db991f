"""The training loop, visible in one function: batch, loss, gradient, step; now and then log, validate, save."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from hyena.configs.training import RunConfig
from hyena.data import Corpus, Tokenizer, evaluation_windows, load_corpus, load_tokenizer, training_batch
from hyena.errors import HyenaError
from hyena.models import LanguageModel
from hyena.training import record
from hyena.training.evaluate import Evaluation, evaluate
from hyena.training.interrupt import Interrupt
from hyena.training.optim import optimizer_for, rate, set_rate


@dataclass(frozen=True)
class Progress:
    """What a run says of itself after a step."""

    step: int
    steps: int
    loss: float
    """Nats per token of this step's batch."""
    tokens_per_second: float
    """Over the whole run; validations and saves are left out."""
    valid: Evaluation | None
    """The latest validation."""
    validated: bool
    """Whether it was made at this step."""


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    directory: Path
    steps: int
    finished: bool
    """False where Ctrl-C stopped it; `train(config, resume=True)` goes on."""
    valid: Evaluation | None
    curve: Path | None
    """The loss curve, None without matplotlib."""


def train(
    config: RunConfig,
    *,
    resume: bool = False,
    overwrite: bool = False,
    report: Callable[[Progress], None] = lambda _: None,
    note: Callable[[str], None] = lambda _: None,
) -> Result:
    """Run a training to its end, or to Ctrl-C, which saves and stops after the step in hand.

    The same configuration gives the same run; a resumed run continues exactly where it stopped (batches are a function of
    seed and step). report gets a `Progress` after each step, note a line now and then. Raises `HyenaError` for bad input
    before anything is written, and for a loss that is not finite.
    """
    t, directory = config.training, Path(config.directory)
    tokenizer = load_tokenizer(config.spec)
    training, held_out = _corpora(config, tokenizer)
    model, optimizer = _fresh(config, tokenizer)
    for name, limit in model.backbone.limits().items():
        if config.length > limit:
            cure = f"shorten it or raise {name}" + (", or set beyond to 'truncate'" if name == "max_length" else "")
            raise HyenaError(f"training.length is {config.length} and the model's {name} {limit}: {cure}")
    training_batch(training.tokens, config.length, t.batch_size, t.seed, 0)
    evaluation_windows(held_out.tokens, config.length, t.batch_size)  # both raise here for what would fail later
    record.begin(directory, config, resume, overwrite)
    for text in dict.fromkeys(training.notes + held_out.notes):
        note(text)
    done, valid, seconds = 0, None, 0.0
    if resume:
        done, valid, seconds = _restore(directory, model, optimizer)
        note(f"resuming {directory} at step {done}")
    saved = done
    tokens_a_step = t.batch_size * t.accumulate * config.length
    with Interrupt() as interrupt:
        while done < t.steps and not interrupt.requested:
            clock = time.perf_counter()
            loss = _step(model, optimizer, config, training, done)
            seconds += time.perf_counter() - clock
            done += 1
            last = done == t.steps or interrupt.requested
            speed = done * tokens_a_step / max(seconds, 1e-9)
            line: dict[str, Any] = {}
            if done % t.log_every == 0 or last:
                line = {"loss": loss, "lr": optimizer.param_groups[0]["lr"], "tokens": done * tokens_a_step}
                line |= {"seconds": round(seconds, 3), "tokens_per_second": round(speed)}
            if validated := done % t.valid_every == 0 or done == t.steps:
                valid = evaluate(model, held_out.tokens, tokenizer, config.length, t.batch_size)
                line |= {f"valid_{key}": value for key, value in asdict(valid).items()}
            if line:
                record.log(directory, {"step": done} | line)
            if done % t.save_every == 0 or last:
                _save(directory, model, optimizer, done, valid, seconds)
                saved = done
            report(Progress(done, t.steps, loss, speed, valid, validated))
        if done != saved:  # Ctrl-C came after this step had decided what to save
            _save(directory, model, optimizer, done, valid, seconds)
    return Result(directory, done, done == t.steps, valid, record.draw_curve(directory))


def _step(model: LanguageModel, optimizer: torch.optim.Optimizer, config: RunConfig, corpus: Corpus, step: int) -> float:
    """One optimiser step; returns the mean loss of its tokens. Step n of a run is the same whatever came before it."""
    t = config.training
    model.train()
    set_rate(optimizer, rate(step, t.steps, config.optimizer))
    optimizer.zero_grad(set_to_none=True)
    loss = 0.0
    for part in range(step * t.accumulate, (step + 1) * t.accumulate):
        batch = torch.from_numpy(training_batch(corpus.tokens, config.length, t.batch_size, t.seed, part))
        loss += _backward(model, batch.to(model.device), t.precision, t.accumulate)
    if not math.isfinite(loss):
        raise HyenaError(f"the loss is {loss} at step {step + 1}: lower optimizer.lr, or check the data")
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimizer.clip or math.inf)
    if not norm.isfinite():
        raise HyenaError(f"the gradient is not finite at step {step + 1}: lower optimizer.lr, or check the data")
    optimizer.step()
    return loss


def _corpora(config: RunConfig, tokenizer: Tokenizer) -> tuple[Corpus, Corpus]:
    """Training and held-out corpus."""
    corpus = load_corpus(config.data.files, tokenizer)
    if config.data.valid_files:
        return corpus, load_corpus(config.data.valid_files, tokenizer)
    return corpus.split(config.data.valid_fraction)


def _fresh(config: RunConfig, tokenizer: Tokenizer) -> tuple[LanguageModel, torch.optim.AdamW]:
    """The model with its initial weights, on its device, and its optimiser."""
    if tokenizer.vocab_size != config.model.vocab_size:
        raise HyenaError(
            f"tokenizer {config.spec!r} has {tokenizer.vocab_size} symbols and the model vocab_size "
            f"{config.model.vocab_size}: leave vocab_size out or make it {tokenizer.vocab_size}"
        )
    torch.manual_seed(config.training.seed)
    model = LanguageModel(config.model.replace(tokenizer=config.spec)).to(device_for(config.training.device))
    if config.spec.startswith("file:"):
        model.tokenizer_file = Path(config.spec.removeprefix("file:"))
    return model, optimizer_for(model, config.optimizer)


def device_for(name: str) -> torch.device:
    """`auto`, or what PyTorch calls a device; `HyenaError` where it has none of that name."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise HyenaError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}; try cpu") from None


def _backward(model: LanguageModel, batch: torch.Tensor, precision: str, parts: int) -> float:
    """Add the gradient of one part's mean loss; batch (B, L + 1)."""
    with torch.autocast(batch.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        logits = model(batch[:, :-1])
    loss = F.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten()) / parts
    loss.backward()
    return loss.item()


def _save(
    directory: Path, model: LanguageModel, optimizer: torch.optim.Optimizer, step: int, valid: Evaluation | None, seconds: float
) -> None:
    """The model for its users, and everything the run needs to go on."""
    model.save(directory)
    state = {
        "step": step,
        "seconds": seconds,
        "valid": None if valid is None else asdict(valid),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    record.save_state(directory, state)


def _restore(directory: Path, model: LanguageModel, optimizer: torch.optim.Optimizer) -> tuple[int, Evaluation | None, float]:
    """Put model, optimiser and random numbers where they were; returns the step, the last validation and the seconds."""
    state = record.load_state(directory)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["rng"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda_rng"][: torch.cuda.device_count()])
    return state["step"], Evaluation(**state["valid"]) if state["valid"] else None, state["seconds"]
