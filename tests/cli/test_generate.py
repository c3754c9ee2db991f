"""`hyena generate`: the text of `hyena.generate`, written as it is drawn."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import hyena
from hyena.checkpoints import convert
from hyena.data import ByteTokenizer, DNATokenizer, FileTokenizer
from hyena.inference import generate_text
from hyena.inference.prefill import token_bytes
from hyena.models import LanguageModel
from tests.checkpoints.test_striped import directory
from tests.cli.conftest import Run
from tests.helpers import unchecked
from tests.training.runs import MODEL

DNA = DNATokenizer()


def expected(directory: Path, tokenizer: object, prompt: str, **options: object) -> str:
    """The prompt and what follows it, decoded at once."""
    ids = torch.from_numpy(tokenizer.encode(prompt))[None]
    with unchecked():
        ids = hyena.generate(hyena.load(directory), ids, allowed=tokenizer.legal_ids, **options)
    return tokenizer.decode(ids[0].numpy())


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("--max-new-tokens 20 --seed 3", {"max_new_tokens": 20, "seed": 3}),
        ("--max-new-tokens 25 --seed 3 --temperature 2.5", {"max_new_tokens": 25, "seed": 3, "temperature": 2.5}),
        ("--max-new-tokens 20 --temperature 0", {"max_new_tokens": 20, "temperature": 0.0}),
        ("--max-new-tokens 20 --top-k 2 --seed 1", {"max_new_tokens": 20, "top_k": 2, "seed": 1}),
        ("--max-new-tokens 20 --top-p 0.6 --seed 1 --decoding recompute", {"max_new_tokens": 20, "top_p": 0.6, "seed": 1}),
        ("--max-new-tokens 0", {"max_new_tokens": 0}),
    ],
)
def test_the_text_is_that_of_the_library(run: Run, models: Path, line: str, options: dict[str, object]):
    status, out, err = run("generate", models / "dna", "--prompt", "ACGTN", *line.split(" "))
    assert (status, err) == (0, "")
    assert out == expected(models / "dna", DNA, "ACGTN", **options) + "\n"


@pytest.mark.parametrize("option", ["--temperature 3", "--top-k 1", "--top-p 0.1", "--seed 5"])
def test_every_option_changes_the_text(run: Run, models: Path, option: str):
    line = ["generate", models / "dna", "--prompt", "ACGTN", "--max-new-tokens", "25", "--seed", "3"]
    assert run(*line, *option.split()).out != run(*line).out


def test_a_seed_writes_the_same_text_and_none_another(run: Run, models: Path):
    line = ["generate", models / "dna", "--prompt", "A", "--max-new-tokens", "30"]
    assert run(*line, "--seed", "1") == run(*line, "--seed", "1") != run(*line, "--seed", "2")
    assert run(*line) != run(*line)


def test_dna_models_write_four_letters(run: Run, models: Path):
    status, out, _ = run("generate", models / "dna", "--prompt", "nnacgt", "--max-new-tokens", "27", "--temperature", "50")
    assert status == 0
    assert out.startswith("NNACGT")
    assert set(out[6:].strip()) == set("ACGT")
    assert len(out) == 6 + 27 + 1


@pytest.mark.parametrize("prompt", ["To be,\n or", "naïve", "-dashes", "  spaces  "])
def test_bytes_come_back_as_text(run: Run, models: Path, prompt: str):
    status, out, _ = run("generate", models / "bytes", f"--prompt={prompt}", "--max-new-tokens", "20", "--seed", "0")
    whole = expected(models / "bytes", ByteTokenizer(), prompt, max_new_tokens=20, seed=0)
    assert status == 0
    assert out.startswith(prompt)
    assert out.endswith("\n")
    # Of a character whose last bytes are not drawn, nothing is shown.
    assert whole.startswith(out[:-1])
    assert set(whole[len(out) - 1 :]) <= {"\ufffd"}


def test_each_token_is_shown_when_it_is_drawn(run: Run, models: Path, monkeypatch: pytest.MonkeyPatch):
    events: list[str] = []

    class Screen:
        """Notes what is written, and when it can be seen."""

        def write(self, text: str) -> int:
            events.append(text)
            return len(text)

        def flush(self) -> None:
            events.append("seen")

    backbone = hyena.models.backbone.Backbone
    extend = backbone.extend
    monkeypatch.setattr(backbone, "extend", lambda *args: (events.append("computed"), extend(*args))[1])
    monkeypatch.setattr(sys, "stdout", Screen())
    assert run("generate", models / "dna", "--prompt", "ACG", "--max-new-tokens", "3", "--seed", "0").status == 0
    text = expected(models / "dna", DNA, "ACG", max_new_tokens=3, seed=0)
    del events[-3:]  # the line above ran the model too
    order = [event for event in events if event]
    assert order[:2] == ["ACG", "seen"], "the prompt can be read while it is worked on"
    for letter in text[3:]:
        i = order.index(letter)
        assert order[i - 1 : i + 2] == ["computed", letter, "seen"]
        del order[i - 1 : i + 2]


def test_a_published_model_with_more_rows_than_bytes_writes_text(run: Run, tmp_path: Path):
    convert(directory(tmp_path / "source", "sh2-lm"), tmp_path / "evo")
    assert (hyena.load(tmp_path / "evo").config.vocab_size, hyena.load(tmp_path / "evo").config.rows) == (256, 512)
    line = ["generate", tmp_path / "evo", "--prompt", "ACGT", "--max-new-tokens", "60", "--temperature", "50", "--seed", "0"]
    for more in ([], ["--stop", "never written"], ["--decoding", "recompute"]):
        status, out, err = run(*line, *more)
        assert (status, err) == (0, "")
        assert out.startswith("ACGT")
        assert len(set(out)) > 20, "any byte may come at such a temperature"


def words(path: Path) -> Path:
    """A tokenizer that writes spaces in front of words and drops the first: what it decodes depends on what stands before."""
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {"▁the": 0, "▁end": 1, "s": 2, "▁of": 3}
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="s"))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    raw.decoder = tokenizers.decoders.Metaspace()
    raw.save(str(path))
    return path


def test_the_space_between_prompt_and_first_word_is_kept(run: Run, tmp_path: Path):
    file = words(tmp_path / "words.json")
    model = LanguageModel(MODEL.replace(vocab_size=4, tokenizer="file:words.json"))
    model.tokenizer_file = file
    model.save(tmp_path / "saved")
    for seed in range(4):
        whole = expected(tmp_path / "saved", FileTokenizer(str(file)), "the end", max_new_tokens=5, seed=seed)
        _, out, _ = run("generate", tmp_path / "saved", "--prompt", "the end", "--max-new-tokens", "5", "--seed", seed)
        assert out == whole + "\n"


def test_the_tokenizer_is_found_wherever_the_directory_was_moved(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = words(tmp_path / "words.json")
    model = LanguageModel(MODEL.replace(vocab_size=4, tokenizer=f"file:{file}"))
    model.tokenizer_file = file
    model.save(tmp_path / "saved")
    shutil.move(tmp_path / "saved", tmp_path / "moved")
    file.unlink()
    monkeypatch.chdir(tmp_path)
    status, out, _ = run("generate", "moved", "--prompt", "the end", "--max-new-tokens", "5", "--seed", "0")
    assert status == 0
    assert out.startswith("the end")


def test_a_model_without_a_name_for_its_256_symbols_reads_bytes(run: Run, tmp_path: Path):
    LanguageModel(MODEL.replace(tokenizer=None)).save(tmp_path / "saved")
    assert run("generate", tmp_path / "saved", "--prompt", "a", "--max-new-tokens", "2").status == 0


def test_a_screen_that_cannot_show_every_letter(models: Path):
    """Terminals that know ASCII alone exist; bytes models write anything."""
    command = [sys.executable, "-m", "hyena", "generate", str(models / "bytes"), "--prompt", "abc", "--max-new-tokens", "25"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*command, "--seed", "0"], capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout.startswith("abc")


def pages(out: str) -> dict[str, str]:
    """What stands under each heading."""
    assert out.startswith("==> ")
    parts = out.removesuffix("\n").split("==> ")[1:]
    heads, texts = zip(*(part.split(" <==\n", 1) for part in parts), strict=True)
    assert all(text.endswith("\n\n") for text in texts[:-1])
    return dict(zip(heads, [*(text.removesuffix("\n\n") for text in texts[:-1]), texts[-1]], strict=True))


def texts(directory: Path, prompts: list[str], **options: object) -> list[str]:
    """What the library writes."""
    with unchecked():
        return generate_text(hyena.load(directory), prompts, **options)


@pytest.mark.parametrize("decoding", ["auto", "cached", "tiled", "epoched", "recompute"])
def test_several_prompts_have_headings(run: Run, models: Path, decoding: str):
    line = ["--prompt", "ACGTN", "--prompt", "a", "--max-new-tokens", "20", "--seed", "3", "--decoding", decoding]
    status, out, err = run("generate", models / "dna", *line)
    assert (status, err) == (0, "")
    expected = texts(models / "dna", ["ACGTN", "A"], max_new_tokens=20, seed=3)
    assert pages(out) == {"prompt 1": expected[0], "prompt 2": expected[1]}


def test_several_samples_have_headings(run: Run, models: Path):
    line = ["generate", models / "dna", "--max-new-tokens", "20", "--seed", "3", "--samples", "3", "--prompt", "ACGTN"]
    status, out, _ = run(*line)
    expected = texts(models / "dna", ["ACGTN"], max_new_tokens=20, seed=3, samples=3)
    assert status == 0
    assert pages(out) == {f"sample {i}": text for i, text in enumerate(expected, 1)}
    assert len(set(expected)) == 3
    _, out, _ = run(*line, "--prompt", "C")
    assert list(pages(out)) == [f"prompt {p}, sample {s}" for p in (1, 2) for s in (1, 2, 3)]


def test_texts_end_before_a_stop(run: Run, models: Path):
    line = ["generate", models / "dna", "--max-new-tokens", "27", "--seed", "3", "--prompt", "ACGTN", "--prompt", "C"]
    for stop in (["--stop", "AA"], ["--stop", "AA", "--stop", "TTG"]):
        _, out, _ = run(*line, *stop)
        expected = texts(models / "dna", ["ACGTN", "C"], max_new_tokens=27, seed=3, stop=stop[1::2])
        assert list(pages(out).values()) == expected
        assert not any(each in text[5:] for each in stop[1::2] for text in expected)
    plain = texts(models / "dna", ["ACGTN", "C"], max_new_tokens=27, seed=3)
    assert sum(map(len, expected)) < sum(map(len, plain))


def test_prompts_from_files(run: Run, models: Path, tmp_path: Path):
    (tmp_path / "lines.txt").write_text("ACGTN\nA\r\nCC\n")
    (tmp_path / "records.fa").write_text(">one\nACG\nTN\n>two\nA\n>three\nCC\n")
    line = ["generate", models / "dna", "--max-new-tokens", "10", "--seed", "3"]
    expected = texts(models / "dna", ["ACGTN", "A", "CC", "G"], max_new_tokens=10, seed=3)
    for file in ("lines.txt", "records.fa"):
        status, out, err = run(*line, "--prompts", tmp_path / file)
        assert (status, err) == (0, "")
        assert list(pages(out).values()) == expected[:3]
    first, *_ = texts(models / "dna", ["G"], max_new_tokens=10, seed=3)
    _, out, _ = run(*line, "--prompt", "G", "--prompts", tmp_path / "lines.txt")
    assert list(pages(out)) == ["prompt 1", "prompt 2", "prompt 3", "prompt 4"]
    assert pages(out)["prompt 1"] == first
    (tmp_path / "gap.txt").write_text("ACG\n\nA\n")
    status, out, err = run(*line, "--prompts", tmp_path / "gap.txt")
    assert (status, out) == (2, "")
    assert "gap.txt" in err
    assert "line 2" in err


def test_little_memory_writes_the_same_text(run: Run, models: Path):
    line = ["generate", models / "bytes", "--prompt", "to be or not to be", "--max-new-tokens", "10", "--seed", "0"]
    memory = 4 * token_bytes(hyena.load(models / "bytes"))
    assert run(*line, "--max-memory", memory).out == run(*line).out


@pytest.mark.parametrize("samples", [1, 2])
def test_what_was_written_before_ctrl_c_is_not_lost(run: Run, models: Path, monkeypatch: pytest.MonkeyPatch, samples: int):
    extend, calls = hyena.models.backbone.Backbone.extend, [0]

    def interrupted(*args: object) -> object:
        calls[0] += 1
        if calls[0] == 6:
            raise KeyboardInterrupt
        return extend(*args)

    line = ["generate", models / "dna", "--prompt", "ACG", "--max-new-tokens", "20", "--seed", "3", "--samples", samples]
    whole = run(*line).out
    monkeypatch.setattr(hyena.models.backbone.Backbone, "extend", interrupted)
    status, out, err = run(*line)
    assert (status, err) == (130, "hyena: interrupted\n")
    assert out.endswith("\n")
    if samples == 1:
        assert out == whole[: 3 + 5] + "\n"
    else:
        assert pages(out) == {head: text[: 3 + 5] for head, text in pages(whole).items()}
