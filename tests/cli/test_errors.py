"""Whatever a user can get wrong: exit status 2 and one line on stderr that names the thing and the cure."""

import gzip
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hyena.cli import COMMANDS
from tests.cli.conftest import Outcome, Run, write_toml


def assert_one_line(outcome: Outcome, *parts: str) -> None:
    """Status 2, nothing on stdout, one line on stderr that holds the parts."""
    assert outcome.status == 2, outcome
    assert outcome.out == ""
    assert outcome.err.startswith("hyena: ")
    assert outcome.err.count("\n") == 1
    assert outcome.err.endswith("\n")
    for part in parts:
        assert part in outcome.err, f"{part!r} is not in {outcome.err!r}"


# {models}: the directory of saved models. The first of the parts is the thing, the others its value and the cure.
COMMAND_LINES: dict[str, tuple[str, tuple[str, ...]]] = {
    "unknown command": ("trian", ("'trian'", "did you mean 'train'", "generate")),
    "unknown command far from any": ("xyz", ("'xyz'", "demo, prepare, train")),
    "option before the command": ("--json info", ("'--json'", "commands")),
    "train nothing": ("train", ("configuration", "hyena train CONFIG.toml")),
    "train options alone": ("train --resume", ("configuration", "hyena train CONFIG.toml")),
    "train a missing file": ("train nowhere.toml", ("nowhere.toml", "does not exist")),
    "train a directory": ("train {models}", ("{models}", "is a directory")),
    "train what is no TOML": ("train {models}/text.txt", ("text.txt", "not valid TOML", "line 1")),
    "generate nothing": ("generate", ("--prompt", "hyena generate --help")),
    "generate without a prompt": ("generate {models}/bytes", ("--prompt", "hyena generate --help")),
    "no directory": ("generate {models}/nowhere --prompt a", ("{models}/nowhere", "does not exist")),
    "an empty directory": ("generate {models}/empty --prompt a", ("{models}/empty", "format")),
    "an empty prompt": ("generate {models}/bytes --prompt=", ("prompt is empty", "at least one token")),
    "a prompt that is no DNA": ("generate {models}/dna --prompt ACX!", ("'X'", "position 2", "A, C, G, T and N")),
    "a prompt of punctuation": ("generate {models}/dna --prompt !", ("'!'", "position 0", "A, C, G, T and N")),
    "too many tokens": (
        "generate {models}/bytes --prompt abc --max-new-tokens 100",
        ("3 tokens", "100 new", "max_length 32", "at most 30"),
    ),
    "a negative number": ("generate {models}/bytes --prompt a --max-new-tokens -1", ("max_new_tokens", "-1", "0 or more")),
    "no number": ("generate {models}/bytes --prompt a --max-new-tokens ten", ("--max-new-tokens", "'ten'")),
    "temperature": ("generate {models}/bytes --prompt a --temperature -1", ("temperature", "-1.0", "0")),
    "top k": ("generate {models}/bytes --prompt a --top-k 0", ("top_k", "0", "at least 1")),
    "top p": ("generate {models}/bytes --prompt a --top-p 2", ("top_p", "2.0", "up to 1")),
    "a large seed": (
        "generate {models}/bytes --prompt a --max-new-tokens 3 --seed 99999999999999999999",
        ("seed", "99999999999999999999"),
    ),
    "no whole seed": ("generate {models}/bytes --prompt a --seed x", ("--seed", "'x'")),
    "decoding": ("generate {models}/bytes --prompt a --decoding quick", ("--decoding", "'quick'", "recompute")),
    "an empty stop": ("generate {models}/bytes --prompt a --max-new-tokens 3 --stop=", ("stop", "empty text")),
    "no samples": ("generate {models}/bytes --prompt a --max-new-tokens 3 --samples 0", ("samples", "0", "at least 1")),
    "no memory": (
        "generate {models}/bytes --prompt a --max-new-tokens 3 --max-memory 100",
        ("max_memory", "--max-memory", "100B"),
    ),
    "an empty prompt of several": ("generate {models}/bytes --prompt a --prompt=", ("prompt 1", "empty", "at least one token")),
    "no file of prompts": (
        "generate {models}/bytes --prompts {models}/nowhere.txt",
        ("{models}/nowhere.txt", "does not exist"),
    ),
    "an empty file of prompts": ("generate {models}/bytes --prompts {models}/empty.txt", ("{models}/empty.txt", "is empty")),
    "an unknown option": ("generate {models}/bytes --prompt a --topk 3", ("--topk", "--top-k")),
    "a device that is not there": ("generate {models}/bytes --prompt a --device abacus", ("'abacus'", "cpu")),
    "a classifier": ("generate {models}/classifier --prompt a", ("{models}/classifier", "Classifier", "language model")),
    "no tokenizer": ("generate {models}/nameless --prompt a", ("{models}/nameless", "20 symbols", "tokenizer")),
    "cut weights": ("generate {models}/truncated --prompt a", ("truncated/model.safetensors", "not a whole", "again")),
    "broken weights": ("evaluate {models}/garbage --data {models}/text.txt", ("garbage/model.safetensors", "not a whole")),
    "missing weights": ("generate {models}/incomplete --prompt a", ("incomplete/model.safetensors", "does not exist")),
    "cut configuration": ("generate {models}/unreadable --prompt a", ("unreadable/config.json", "not valid JSON", "line 1")),
    "misspelt configuration": ("generate {models}/misspelt --prompt a", ("misspelt/config.json", "'widht'", "'width'")),
    "evaluate nothing": ("evaluate", ("--data", "hyena evaluate --help")),
    "evaluate without data": ("evaluate {models}/bytes", ("--data", "hyena evaluate --help")),
    "no data": ("evaluate {models}/bytes --data", ("no data file", "at least one")),
    "empty data": ("evaluate {models}/bytes --data {models}/empty.txt", ("{models}/empty.txt", "is empty")),
    "missing data": ("evaluate {models}/bytes --data nowhere.txt", ("nowhere.txt", "does not exist")),
    "a directory without data": ("evaluate {models}/bytes --data {models}/empty", ("{models}/empty", "no file", ".txt")),
    "data that is no DNA": (
        "evaluate {models}/dna --data {models}/text.txt",
        ("text.txt", "'h' at position 2", "bytes tokenizer"),
    ),
    "no windows": ("evaluate {models}/bytes --data {models}/text.txt --batch-size 0", ("batch_size", "0", "at least 1")),
    "no length": ("evaluate {models}/bytes --data {models}/text.txt --length 0", ("length", "0", "at least 1")),
    "long windows": ("evaluate {models}/bytes --data {models}/text.txt --length 33", ("33", "max_length 32", "truncate")),
    "an option of info": ("info --jsn", ("--jsn", "--json", "hyena info --help")),
    "an argument of info": ("info everything", ("everything", "hyena info --help")),
    "convert nothing": ("convert", ("required", "hyena convert --help")),
    "convert what is not there": ("convert {models}/nowhere {models}/new", ("{models}/nowhere", "does not exist")),
    "convert to an unknown format": ("convert {models}/bytes {models}/new --to safri", ("'safri'", "did you mean 'safari'")),
    "convert from an unknown format": (
        "convert {models}/bytes {models}/new --from safri",
        ("'safri'", "did you mean 'safari'"),
    ),
    "convert what does not say what it is": (
        "convert {models}/text.txt {models}/new",
        ("{models}/text.txt", "does not say", "--from one of"),
    ),
    "convert onto a model": ("convert {models}/bytes {models}/dna", ("{models}/dna", "already exists", "--overwrite")),
    "convert onto a file": ("convert {models}/bytes {models}/text.txt --overwrite", ("{models}/text.txt", "is a file")),
    "convert onto other files": ("convert {models}/bytes {models} --overwrite", ("{models}", "no part of a model")),
    "convert to an unknown precision": ("convert {models}/bytes {models}/new --dtype int8", ("--dtype", "'int8'")),
    "give up what is no option": ("convert {models}/bytes {models}/new --to safari --drop byond", ("'byond'", "'beyond'")),
    "give up what need not be": ("convert {models}/bytes {models}/new --drop beyond", ("beyond", "leave it out")),
    "convert what has no word": (
        "convert {models}/dna {models}/new --to hyenadna-hf",
        ("hyenadna-hf cannot express mixers.H.filter.fast_decay = 0.03", "(there it would be 0.3)", "--drop"),
    ),
    "no steps": ("demo --steps 0 --directory {models}/demo", ("steps", "0", "at least 1")),
    "no number of steps": ("demo --steps many", ("--steps", "'many'")),
}


@pytest.mark.parametrize("name", COMMAND_LINES)
def test_a_command_line(run: Run, models: Path, name: str):
    line, parts = COMMAND_LINES[name]
    outcome = run(*line.replace("{models}", str(models)).split(" "))
    assert_one_line(outcome, *(part.replace("{models}", str(models)) for part in parts))


# What is replaced in a good configuration, by what, and the parts of the line.
CONFIGURATIONS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "a misspelt key": ("width = 16", "widht = 16", ("run.toml: model", "'widht'", "did you mean 'width'", "its keys")),
    "a misspelt nested key": ("features = 5", "feature = 5", ("model: mixers: H: filter", "'feature'", "'features'")),
    "a misspelt table": ("[training]", "[trainig]", ("run.toml", "'trainig'", "did you mean 'training'")),
    "a letter without a mixer": ("[model.mixers.H.filter]", "[model.mixers.X.filter]", ("model: mixers", "'X'")),
    "a missing key": ("width = 16\nmax", "max", ("run.toml: model", "'width'", "add it")),
    "a missing table": ("[data]", "[model.mixers.A]", ("'files'",)),
    "an unknown letter": ('"H"', '"HXH"', ("'X'", "layer 1", "'HXH'", "H (Hyena", "A (attention)")),
    "an empty pattern": ('"H"', '""', ("pattern is empty", "'HHAH'")),
    "a string for a number": ("steps = 6", 'steps = "many"', ("training: steps", "'many'", "whole number")),
    "a fraction for a whole number": ("width = 16", "width = 1.5", ("model: width", "1.5", "whole number")),
    "a number for a string": ('tokenizer = "bytes"', "tokenizer = 256", ("model: tokenizer", "256", "a string")),
    "a string for a list": ('files = ["{home}/text.txt"]', 'files = "text.txt"', ("data: files", "'text.txt'", "a list")),
    "a value that is not a choice": ("max_length = 32", 'max_length = 32\nbeyond = "stop"', ("beyond", "'stop'", "'truncate'")),
    "a value for a table": ("[model.mixers.H.filter]\nfeatures = 5\nwidth = 8\n", "mixers = 3\n", ("mixers", "3", "a table")),
    "a size below one": ("batch_size = 2", "batch_size = 0", ("training.batch_size", "0", "at least 1")),
    "an even number of features": ("features = 5", "features = 4", ("filter.features", "4", "odd")),
    "a negative rate": ("lr = 1e-2", "lr = -1.0", ("lr", "-1.0", "above 0")),
    "an unknown tokenizer": ('tokenizer = "bytes"', 'tokenizer = "byte"', ("'byte'", "did you mean 'bytes'")),
    "a vocabulary that does not fit": ("width = 16\nmax", "vocab_size = 99\nwidth = 16\nmax", ("99", "256", "'bytes'")),
    "an unknown preset": ("width = 16\nmax", 'preset = "hyena_125"\nmax', ("'hyena_125'", "did you mean 'hyena_125m'")),
    "a preset that is no name": ("width = 16\nmax", "preset = 3\nmax", ("preset", "3")),
    "a missing data file": ("text.txt", "nowhere.txt", ("nowhere.txt", "does not exist")),
    "an empty data file": ("text.txt", "empty.txt", ("empty.txt", "is empty")),
    "a device that is not there": ('device = "cpu"', 'device = "abacus"', ("'abacus'", "cpu")),
    "a directory in a file": ('{home}/run"', '{home}/text.txt/run"', ("text.txt/run", "another directory")),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_configuration(run: Run, tmp_path: Path, name: str):
    old, new, parts = CONFIGURATIONS[name]
    (tmp_path / "empty.txt").touch()
    path = write_toml(tmp_path, {old.replace("{home}", str(tmp_path)): new.replace("{home}", str(tmp_path))})
    assert_one_line(run("train", path), *parts)
    assert not (tmp_path / "run").exists()


# What the data holds, and the parts of the line. {home} is the directory of the data.
GENOMES: dict[str, tuple[str, bytes, tuple[str, ...]]] = {
    "a protein": (
        "protein.fa",
        b">P1 a protein\nMKVLAARTEQLLPFDNWKGE\n",
        ("protein.fa", "record 'P1'", "'M' at position 1", "protein"),
    ),
    "an ambiguity code": ("codes.fa", b">chr1\nACGTR\n", ("codes.fa", "record 'chr1'", "'R' at position 5", "--iupac n")),
    "a gzip file cut short": ("cut.fa.gz", gzip.compress(b">a\n" + 900 * b"ACGT\n")[:-20], ("cut.fa.gz", "cut short", "again")),
    "an archive": ("genome.zip", b"PK\x03\x04" + bytes(60), ("genome.zip", "zip", "unpack")),
    "a record without letters": ("none.fa", b">a\n>b\nACGT\n", ("none.fa", "line 1", "'a'", "no sequence")),
}


@pytest.mark.parametrize("name", GENOMES)
def test_a_genome_that_cannot_be_read(run: Run, tmp_path: Path, name: str):
    file, content, parts = GENOMES[name]
    (tmp_path / file).write_bytes(content)
    path = write_toml(tmp_path, {'tokenizer = "bytes"': 'tokenizer = "dna"', "text.txt": file})
    assert_one_line(run("train", path), *parts)
    assert not (tmp_path / "run").exists()
    out = tmp_path / "tokens"
    assert_one_line(run("prepare", tmp_path / file, "--out", out, "--tokenizer", "dna"), *parts)
    assert not out.exists()


def test_a_run_without_a_checkpoint_is_named(run: Run, tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.toml").write_text("")
    assert_one_line(run("generate", tmp_path / "run", "--prompt", "a"), "without a checkpoint", "--resume")


def test_an_empty_folder(run: Run, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    path = write_toml(tmp_path, {"text.txt": "folder"})
    assert_one_line(run("train", path), "folder", "no file")
    assert not (tmp_path / "run").exists()


def test_a_run_of_a_newer_version(run: Run, tmp_path: Path):
    path = write_toml(tmp_path, {"steps = 6": "steps = 6\nwarp = 9"})
    path.write_text('hyena = "99.1.0"\n' + path.read_text())
    assert_one_line(run("train", path), "'warp'", "written by hyena 99.1.0", "update hyena")
    assert not (tmp_path / "run").exists()


def test_a_model_of_a_newer_version(run: Run, models: Path, tmp_path: Path):
    shutil.copytree(models / "bytes", tmp_path / "model")
    file = tmp_path / "model/config.json"
    values = json.loads(file.read_text())
    values["hyena_version"], values["model"]["warp"] = "99.1.0", 9
    file.write_text(json.dumps(values))
    outcome = run("generate", tmp_path / "model", "--prompt", "a")
    assert_one_line(outcome, "config.json", "'warp'", "written by hyena 99.1.0", "update hyena")


OVERRIDES: dict[str, tuple[str, tuple[str, ...]]] = {
    "a misspelt key": ("--model.widht 32", ("--model.widht", "did you mean --model.width", "--help")),
    "a key without its table": ("--width 32", ("--width", "--help")),
    "a word for a number": ("--training.steps many", ("--training.steps", "'many'")),
    "a value that is not a choice": ("--model.beyond stop", ("--model.beyond", "'stop'", "'truncate'")),
    "an unknown letter": ("--model.pattern HXH", ("'X'", "layer 1", "'HXH'", "H (Hyena")),
    "a stray word": ("more", ("more", "--help")),
    "a size below one": ("--training.log-every 0", ("training.log_every", "0", "at least 1")),
    "resume and overwrite": ("--resume --overwrite", ("resume", "overwrite")),
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_a_key_on_the_command_line(run: Run, tmp_path: Path, name: str):
    line, parts = OVERRIDES[name]
    assert_one_line(run("train", write_toml(tmp_path), *line.split(" ")), *parts)
    assert not (tmp_path / "run").exists()


def test_the_cure_is_an_option_that_the_command_has(run: Run, models: Path):
    """What helps `train` is no help to the other two."""
    for command in ("generate", "evaluate"):
        known = run(command, "--help").out
        needed = ["--prompt", "a"] if command == "generate" else ["--data", models / "text.txt"]
        outcome = run(command, models / "bytes", *needed, "--device", "abacus")
        assert_one_line(outcome, "'abacus'")
        for option in re.findall(r"--[a-z.-]+", outcome.err):
            assert option in known, f"{command} has no {option}"


def test_without_arguments_the_usage_is_shown_and_the_status_tells(run: Run):
    outcome = run()
    assert outcome.status == 2
    assert "Traceback" not in outcome.err
    shown = outcome.out + outcome.err
    assert shown.startswith("usage: hyena COMMAND")
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize("name", ["unknown command", "empty data", "cut weights"])
def test_as_a_process(models: Path, name: str):
    """The same lines, with the exit status that a shell sees and nothing else on stderr."""
    line, parts = COMMAND_LINES[name]
    command = [sys.executable, "-m", "hyena", *line.replace("{models}", str(models)).split(" ")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    outcome = Outcome(done.returncode, done.stdout, done.stderr)
    assert_one_line(outcome, *(part.replace("{models}", str(models)) for part in parts))
