"""What lm-eval asks, against the plain forward, `score` and `generate_text`; no lm-eval needed."""

import warnings
from pathlib import Path

import pytest
import torch

from hyena.data import load_tokenizer
from hyena.inference import Sampling, generate_text, score
from hyena.integrations.harness import COUNT, Harness, Writing
from hyena.models import LanguageModel
from tests.helpers import refused, unchecked
from tests.inference.test_text import Scripted
from tests.models.small import classifier, language_model

TOTAL = 1e-9
"""Sums of some hundred log-probabilities of a float64 model in other batches and windows; 1e-12 each."""


def harness(pattern: str = "HA", bos: int | None = None, **options: object) -> Harness:
    """A model of bytes in float64, for up to 512 tokens where a filter bounds them."""
    model = language_model(pattern, **{"vocab_size": 256, "tokenizer": "bytes", "max_length": 512} | options)
    return Harness(model, bos=bos, batch_size=3)


@torch.no_grad()
def by_hand(model: LanguageModel, context: bytes, continuation: bytes, bos: int | None = None) -> tuple[float, bool]:
    """log p of a continuation by one plain forward over everything, and whether it is the likeliest."""
    before = ([] if bos is None else [bos]) + list(context)
    ids = torch.tensor([before + list(continuation)])
    logits = model(ids[:, :-1])[0, len(before) - 1 :].log_softmax(-1)
    targets = ids[0, len(before) :]
    return float(logits.gather(1, targets[:, None]).sum()), bool((logits.argmax(-1) == targets).all())


PAIRS = [("The sky is", " blue"), ("The sky is", " red"), ("a", "b"), ("The sea ", "\u00e9"), ("x" * 40, " y" * 30)]


@pytest.mark.parametrize("bos", [None, 0])
def test_a_likelihood_is_the_sum_of_a_full_forward(bos: int | None):
    answers = harness(bos=bos)
    found = answers.loglikelihood(PAIRS)
    for (context, continuation), (total, greedy) in zip(PAIRS, found, strict=True):
        wanted, likeliest = by_hand(answers.model, context.encode(), continuation.encode(), bos)
        assert total == pytest.approx(wanted, abs=TOTAL)
        assert greedy == likeliest


def test_what_the_model_writes_is_greedy():
    answers = Harness(Scripted(b"a" * 9, 0))  # whatever it reads, it writes an a
    found = answers.loglikelihood([("b", "aaa"), ("b", "aab")])
    assert [greedy for _, greedy in found] == [True, False]
    assert found[0][0] == pytest.approx(0.0, abs=TOTAL)


def test_an_empty_context_needs_a_bos():
    with refused("request 1", "empty context", "bos"):
        harness().loglikelihood([("a", "b"), ("", "b")])
    answers = harness(bos=10)
    ((total, _),) = answers.loglikelihood([("", "to be")])
    assert total == pytest.approx(by_hand(answers.model, b"", b"to be", 10)[0], abs=TOTAL)


TEXTS = ["to be or not", "a", "", "z" * 300]


def test_a_rolling_likelihood_is_the_total_of_score():
    answers = harness(bos=10)
    wanted = [each.total for each in score(answers.model, TEXTS, bos=10)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert answers.loglikelihood_rolling(TEXTS) == pytest.approx(wanted, abs=TOTAL)
    plain = harness()
    with pytest.warns(UserWarning, match="first token of every text is not scored"):
        found = plain.loglikelihood_rolling(TEXTS)
    assert found == pytest.approx([each.total for each in score(plain.model, TEXTS)], abs=TOTAL)


def test_a_text_of_any_length_is_one_pass_where_the_model_reads_it():
    answers = harness("RS", bos=10, max_length=16)
    (found,) = answers.loglikelihood_rolling(["abcdefgh" * 200])
    assert found == pytest.approx(by_hand(answers.model, b"", b"abcdefgh" * 200, 10)[0], abs=TOTAL)


def test_longer_texts_than_a_model_reads_are_worked_in_windows():
    answers, text = harness(bos=10, max_length=64), bytes(range(32, 122)) * 2
    (found,) = answers.loglikelihood_rolling([text.decode()])
    parts = [by_hand(answers.model, b"", text[:64], 10)[0]]
    for first in range(64, len(text), 56):
        read = text[first - 8 : first + 56]
        parts.append(by_hand(answers.model, read[:8], read[8:])[0])
    assert found == pytest.approx(sum(parts), abs=TOTAL)
    with refused("sequence 0", "max_length", "64"):
        answers.loglikelihood([(text.decode(), "!")])
    with refused("max_length", "64"):
        answers.generate_until([("a" * 60, {"max_gen_toks": 20})])


GREEDY = {"until": ["\n\n"], "max_gen_toks": 12, "do_sample": False, "temperature": 0.7}


def test_an_answer_is_what_generate_text_writes():
    answers = harness("RA")
    contexts = ["Question: why?", "Q", "Another one, longer than the others", "Q", "four"]
    found = answers.generate_until([(context, GREEDY) for context in contexts])
    for context, answer in zip(contexts, found, strict=True):
        (whole,) = generate_text(answers.model, [context], 12, Sampling(0.0), stop=["\n\n"])
        assert context + answer == whole
    assert answers.generate_until([]) == []


@pytest.mark.parametrize(
    ("script", "until", "answer"),
    [
        (b"one END two", "END", "one "),
        (b"one\n\ntwo\nQ:", ["Q:", "\n\n"], "one"),
        (b"one two", ["", "three"], "one two"),
        (b"one two", None, "one two"),
    ],
)
def test_an_answer_ends_before_its_stop(script: bytes, until: object, answer: str):
    answers = Harness(Scripted(script, 0))
    assert answers.generate_until([(">", {"until": until, "max_gen_toks": len(script)})]) == [answer]


def test_options_of_an_answer():
    assert Writing.of({}) == Writing((), COUNT, Sampling(0.0))
    assert Writing.of({"do_sample": True, "top_k": 5}).sampling == Sampling(1.0, 5)
    assert Writing.of({"temperature": 0.5, "top_p": 0.9}).sampling == Sampling(0.5, None, 0.9)
    assert Writing.of({"temperature": 0.5, "do_sample": False}).sampling == Sampling(0.0)
    assert Writing.of({"max_new_tokens": 3}).count == 3
    with refused("'untill'", "did you mean 'until'"):
        Writing.of({"untill": ["a"]})
    assert Writing.of({"num_beams": 1}) == Writing.of({})
    with refused("num_beams is 4"):
        Writing.of({"num_beams": 4})


def test_sampled_answers_differ():
    answers = harness("R")
    torch.manual_seed(1)
    found = answers.generate_until(4 * [("a", {"do_sample": True, "max_gen_toks": 20})])
    assert len(set(found)) == 4


def test_a_bos_begins_an_answer():
    answers = harness("RA", bos=10)
    (found,) = answers.generate_until([("", {"max_gen_toks": 8})])
    assert "\n" + found == generate_text(answers.model, ["\n"], 8, Sampling(0.0))[0]
    with refused("request 0", "empty context", "bos"):
        harness().generate_until([("", {})])


def test_dna_models_answer_in_dna():
    answers = harness("RH", tokenizer="dna", vocab_size=12)
    (text,) = answers.generate_until([("acgt", {"until": ["\n\n", "N"], "max_gen_toks": 30})])
    assert len(text) == 30
    assert set(text) <= set("ACGT")
    with refused("request 0", "'Q' at position 0"):
        answers.loglikelihood([("Question", "ACGT")])


def bpe(directory: Path) -> str:
    """A tokenizer of a few merges that cross spaces' borders, with an end-of-text token; its spec."""
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizer files need the extra `text`")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet)
    made.train_from_iterator(["the cat sat on the mat, the cat sat on the hat"] * 3, trainer)
    made.save(str(directory / "tokenizer.json"))
    return f"file:{directory / 'tokenizer.json'}"


def test_a_token_that_straddles_context_and_continuation_is_scored(tmp_path: Path):
    spec = bpe(tmp_path)
    tokenizer = load_tokenizer(spec)
    answers = harness("RA", vocab_size=tokenizer.vocab_size, tokenizer=spec)
    context, continuation = "the cat ", "sat on the mat"
    whole, before = tokenizer.encode(context + continuation).tolist(), tokenizer.encode(context).tolist()
    assert whole[: len(before)] != before, "the space goes with what follows"
    ids = torch.tensor([whole])
    n = len(before) - 1
    with torch.no_grad():
        logits = answers.model(ids)[0, n - 1 : -1].log_softmax(-1)
    ((total, _),) = answers.loglikelihood([(context, continuation)])
    assert total == pytest.approx(float(logits.gather(1, ids[0, n:, None]).sum()), abs=TOTAL)
    with refused("request 0", "bos", "<|endoftext|>, 0"):
        answers.loglikelihood([("", continuation)])


def test_an_answer_ends_with_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spec = bpe(tmp_path)
    tokenizer = load_tokenizer(spec)
    answers = harness("RA", vocab_size=tokenizer.vocab_size, tokenizer=spec)
    script = [*tokenizer.encode(" sat on").tolist(), 0, *tokenizer.encode(" the mat").tolist()]

    def logits(hidden: torch.Tensor) -> torch.Tensor:
        scores = torch.zeros(*hidden.shape[:2], tokenizer.vocab_size)
        scores[..., script.pop(0)] = 50.0
        return scores

    monkeypatch.setattr(answers.model, "logits", logits)
    with unchecked():
        assert answers.generate_until([("the cat", {"max_gen_toks": len(script)})]) == [" sat on"]


def test_what_is_no_harness_is_refused():
    with refused("Classifier"):
        Harness(classifier("H"))
    with refused("bos is 256", "0 to 255"):
        harness(bos=256)
    with refused("batch_size is 0"):
        Harness(harness().model, batch_size=0)
    with refused("names no tokenizer"):
        Harness(language_model("H"))
