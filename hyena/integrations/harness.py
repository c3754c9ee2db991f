"""`Harness`: what an evaluation harness asks of a language model, on texts. `lm_eval.py` puts it into lm-eval.

Nothing is cut: a context that the model cannot read is an error before any work is done. No token is put in front of a text
unless asked (`bos`), as in `hyena.score`.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hyena.configs.files import nearest
from hyena.data.tokenizers import FileTokenizer, Tokenizer
from hyena.errors import HyenaError
from hyena.inference import Sampling, continuations, stream_text
from hyena.inference.sequences import tokenizer_of
from hyena.inference.windows import WINDOW, batched, jobs_of, score_jobs, sizes
from hyena.models import LanguageModel
from hyena.models.budget import DEFAULT_MEMORY
from hyena.models.modes import evaluating

BATCH_SIZE = 16
"""Texts that are written at a time where nothing is said."""
COUNT = 256
"""Tokens of an answer at most where a task says nothing, as everywhere in lm-eval."""
_COUNTS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_OPTIONS = ("until", *_COUNTS, "do_sample", "temperature", "top_k", "top_p", "num_beams")


@dataclass(frozen=True)
class Writing:
    """How an answer is written."""

    until: tuple[str, ...]
    """Texts before which it ends."""
    count: int
    """Tokens at most."""
    sampling: Sampling

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Writing":
        """The options of a task; `HyenaError` for one that there is not. Greedy unless asked to sample."""
        for name in options:
            if name not in _OPTIONS:
                raise HyenaError(f"generation option {name!r}{nearest(name, _OPTIONS)}: use {', '.join(_OPTIONS)}")
        if options.get("num_beams", 1) != 1:
            raise HyenaError(f"num_beams is {options['num_beams']}: there is no beam search, use 1")
        until, temperature = options.get("until") or [], options.get("temperature")
        counts = [options[name] for name in _COUNTS if options.get(name) is not None]
        if options.get("do_sample") is False:
            temperature = 0.0
        elif temperature is None:
            temperature = 1.0 if options.get("do_sample") else 0.0
        sampling = Sampling(float(temperature), options.get("top_k"), options.get("top_p"))
        texts = [until] if isinstance(until, str) else list(until)
        return cls(tuple(text for text in texts if text), int(counts[0]) if counts else COUNT, sampling)


class Harness:
    """A language model with its tokenizer, answering."""

    def __init__(
        self,
        model: LanguageModel,
        *,
        bos: int | None = None,
        batch_size: int = BATCH_SIZE,
        max_memory: int | None = DEFAULT_MEMORY,
    ):
        """bos: an id in front of every text, the one that begins documents in training; none unless asked.

        batch_size: texts written at a time; max_memory: bytes beyond the weights, as in `hyena.score` and `hyena.generate`.
        """
        if not isinstance(model, LanguageModel):
            raise HyenaError(f"{type(model).__name__} is not evaluated so: load a language model")
        if bos is not None and not 0 <= bos < model.config.rows:
            raise HyenaError(f"bos is {bos}: an id from 0 to {model.config.rows - 1} is needed")
        if batch_size < 1:
            raise HyenaError(f"batch_size is {batch_size}: use at least 1")
        self.model, self.tokenizer = model, tokenizer_of(model)
        self.bos, self.batch_size, self.max_memory = bos, batch_size, max_memory

    def loglikelihood(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        """For each (context, continuation) log p(continuation | context) in nats, and whether greedy decoding writes it.

        The text of both is encoded as a whole. Tokens that it shares with the context alone are read, all after them scored: a
        token that straddles the two is scored, and with bytes and DNA letters there is none.
        """
        ids = [self._split(context, continuation, i) for i, (context, continuation) in enumerate(pairs)]
        found = continuations(
            self.model, [context for context, _ in ids], [after for _, after in ids], max_memory=self.max_memory
        )
        return [(each.total, each.greedy) for each in found]

    def _split(self, context: str, continuation: str, i: int) -> tuple[Tensor, Tensor]:
        """Ids that are read alone and ids that are scored."""
        whole, before = self._ids(context + continuation, i), self._ids(context, i)
        n = min(len(whole), len(before))
        same = whole[:n] == before[:n]
        n = n if bool(same.all()) else int(same.int().argmin())
        if not n and self.bos is None:
            raise HyenaError(
                f"request {i} has an empty context, which predicts nothing: give the id that begins documents in training "
                f"as bos{_end_of(self.tokenizer)}"
            )
        return self._begun(whole[:n]), whole[n:]

    def loglikelihood_rolling(self, texts: Sequence[str]) -> list[float]:
        """log p of each text in nats: the total of `hyena.score`. Without `bos` the first token is not scored: it warns.

        One pass over a text of any length. Where a model reads L tokens at most, longer texts are read in windows of L that
        overlap by an eighth, every token scored once, as `hyena score` does.
        """
        if self.bos is None:
            warnings.warn(
                "the first token of every text is not scored, as no bos is given: tasks divide by all bytes or words",
                stacklevel=2,
            )
        limit = min(self.model.backbone.limits().values(), default=0)
        size, overlap = sizes(limit or None, limit, None)
        rows = [self._ids(text, i).numpy() for i, text in enumerate(texts)]
        jobs = [job for i, row in enumerate(rows) for job in jobs_of(i, f"text {i}", row, size, overlap, self.bos)]
        totals = [0.0] * len(rows)
        with evaluating(self.model):
            for batch in batched(jobs, size or WINDOW):
                for job, values in zip(batch, score_jobs(self.model, batch, self.max_memory), strict=True):
                    totals[job.record] += float(values.double().sum())
        return totals

    def generate_until(self, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
        """The answer to each (context, options): what the model writes after it, before the first text of `until`.

        Options are those of `Writing`; an answer also ends where the tokenizer's end-of-text token is written. Requests of the
        same options are written together: their contexts are read once into a state, and a row that ended leaves the batch.
        """
        together: dict[Writing, list[int]] = {}
        for i, (context, options) in enumerate(requests):
            if not context and self.bos is None:
                raise HyenaError(
                    f"request {i} has an empty context: give the id that begins documents as bos{_end_of(self.tokenizer)}"
                )
            together.setdefault(Writing.of(options), []).append(i)
        answers = [""] * len(requests)
        for writing, places in together.items():
            places.sort(key=lambda i: -len(requests[i][0]))  # the longest first: what does not fit is known at once
            for start in range(0, len(places), self.batch_size):
                some = places[start : start + self.batch_size]
                for i, answer in zip(some, self._write([requests[i][0] for i in some], writing), strict=True):
                    answers[i] = answer
        return answers

    def _write(self, contexts: list[str], writing: Writing) -> list[str]:
        """The answers of one batch."""
        stop: list[int | str] = [text for text in writing.until if self._writable(text)]
        if isinstance(self.tokenizer, FileTokenizer) and self.tokenizer.end_of_text is not None:
            stop.append(self.tokenizer.end_of_text[1])
        pieces = stream_text(
            self.model, contexts, writing.count, writing.sampling, stop=stop, bos=self.bos, max_memory=self.max_memory
        )
        answers = [""] * len(contexts)
        for each in pieces:
            answers = [answer + (piece or "") for answer, piece in zip(answers, each, strict=True)]
        return answers

    def _writable(self, text: str) -> bool:
        """Whether the tokenizer can write a text at all: DNA models never come to a line's end."""
        try:
            self.tokenizer.encode(text)
        except HyenaError:
            return False
        return True

    def _ids(self, text: str, i: int) -> Tensor:
        """The ids of a text; `HyenaError` names the request."""
        try:
            return torch.from_numpy(self.tokenizer.encode(text))
        except HyenaError as error:
            raise HyenaError(f"request {i}: {error}") from None

    def _begun(self, ids: Tensor) -> Tensor:
        """Ids behind the BOS."""
        return ids if self.bos is None else torch.cat([ids.new_tensor([self.bos]), ids])


def _end_of(tokenizer: Tokenizer) -> str:
    """The end-of-text token of a tokenizer, in brackets."""
    if not isinstance(tokenizer, FileTokenizer) or tokenizer.end_of_text is None:
        return ""
    name, id = tokenizer.end_of_text
    return f" (documents are separated by {name}, {id})"
