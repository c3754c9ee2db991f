"""`hyena` itself: help and version at once, what a command's help names, Ctrl-C and closed pipes."""

import io
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import hyena
from hyena.cli import COMMANDS, info, main
from hyena.cli.bench import MEASUREMENTS
from hyena.cli.train import configuration
from hyena.configs.data import RecallConfig
from hyena.configs.training import RunConfig
from tests.cli.conftest import Run, write_toml
from tests.helpers import python


@pytest.mark.parametrize("flag", ["--help", "-h", "help"])
def test_help_names_every_command(run: Run, flag: str):
    status, out, err = run(flag)
    assert (status, err) == (0, "")
    assert out.startswith("usage: hyena COMMAND")
    for name, what in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(what)}$", out, re.MULTILINE)


def test_every_command_is_a_file_and_every_file_that_runs_a_command():
    rooms = {path.stem for path in Path(hyena.__file__).parent.joinpath("cli").glob("*.py")}
    running = {name for name in rooms if hasattr(import_module(f"hyena.cli.{name}"), "run")}
    assert running == set(COMMANDS) | {f"bench_{name}" for name in MEASUREMENTS}


def test_version(run: Run):
    assert run("--version") == (0, f"hyena {hyena.__version__}\n", "")


def test_help_and_version_do_not_import_torch():
    script = """
import sys
from hyena.cli import COMMANDS, main
from hyena.cli.bench import MEASUREMENTS
of_commands = [[name, flag] for name in COMMANDS for flag in ("--help", "-h")]
of_commands += [["bench", name, "--help"] for name in MEASUREMENTS]
for line in [["--help"], ["-h"], ["help"], ["--version"], *of_commands]:
    try:
        status = main(line)
    except SystemExit as end:
        status = end.code or 0
    assert status == 0, line
print("imported:", sorted({"torch", "safetensors", "einops", "jaxtyping"} & set(sys.modules)))
"""
    assert python(script).endswith("imported: []")


def test_errors_before_any_work_do_not_import_torch():
    script = """
import sys
from hyena.cli import main
for line in (["trian"], ["train"], ["train", "nowhere.toml"], ["generate"], ["evaluate"], ["info", "--jsn"], []):
    assert main(line) == 2, line
print("imported:", sorted({"torch"} & set(sys.modules)))
"""
    assert python(script).endswith("imported: []")


def test_help_as_a_process():
    done = subprocess.run([sys.executable, "-m", "hyena", "--help"], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: hyena COMMAND")


def is_optional_table(hint: object) -> bool:
    """A table that a configuration may have: its keys are options of a file that has it, and of no other."""
    return any(is_dataclass(member) for member in get_args(hint))


def option_names(cls: type, before: str = "--") -> list[str]:
    """The options that a dataclass stands for; what is positional has no dashes and is left out."""
    names = []
    for f in fields(cls):
        hint = get_type_hints(cls)[f.name]
        if is_dataclass(hint):
            names += option_names(hint, f"{before}{f.name}.")
            continue
        if is_optional_table(hint):
            continue
        extras = getattr(get_type_hints(cls, include_extras=True)[f.name], "__metadata__", ())
        if "Positional" not in str(extras):
            own = [extra.name for extra in extras if getattr(extra, "name", None)]  # `from` cannot be a field's name
            names.append(before + (own[0] if own else f.name.replace("_", "-")))
    return names


# What takes options: `hyena bench` hands them on to its measurements.
CALLS = [*(name for name in COMMANDS if name != "bench"), *(f"bench {name}" for name in MEASUREMENTS)]


def arguments_of(call: str) -> type:
    """The dataclass behind a call's options."""
    return RunConfig if call == "train" else import_module(f"hyena.cli.{call.replace(' ', '_')}").Arguments


@pytest.mark.parametrize("name", CALLS)
def test_the_help_of_a_command_names_every_option(run: Run, name: str):
    status, out, err = run(*name.split(), "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: hyena {name}")
    options = option_names(arguments_of(name))
    options += ["--resume", "--overwrite"] if name == "train" else []
    missing = [option for option in options if not re.search(rf"{re.escape(option)}\b", out)]
    assert options
    assert not missing


def test_an_optional_table_has_options_where_the_file_has_it(tmp_path: Path):
    path = write_toml(tmp_path, {'files = ["{home}/text.txt"]'.replace("{home}", str(tmp_path)): "recall = {keys = 3}"})
    changed = configuration(str(path), ["--data.recall.values", "5"]).data.recall
    assert changed == RecallConfig(keys=3, values=5)
    assert "data.recall" not in " ".join(option_names(RunConfig))


@pytest.mark.parametrize("name", CALLS)
def test_the_help_of_a_command_explains_every_option(run: Run, name: str):
    _, out, _ = run(*name.split(), "--help")
    words = " ".join(re.sub(r"[│╭╮╰╯─]", " ", out).split())
    configs = [arguments_of(name)]
    while configs:
        cls = configs.pop()
        for f in fields(cls):
            hint = get_type_hints(cls)[f.name]
            if is_dataclass(hint):
                configs.append(hint)
                continue
            if is_optional_table(hint):
                continue
            lines = Path(sys.modules[cls.__module__].__file__ or "").read_text().splitlines()
            declared = [i for i, line in enumerate(lines) if line.startswith(f"    {f.name}: ")]
            texts = [lines[i + 1].strip().strip('"') for i in declared]
            assert any(text and text in words for text in texts), f"{cls.__name__}.{f.name} is not explained"


def test_ctrl_c_within_a_command(run: Run, monkeypatch: pytest.MonkeyPatch):
    def pressed(_: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(info, "run", pressed)
    assert run("info") == (130, "", "hyena: interrupted\n")


def test_a_reader_that_goes_away_is_no_error_to_print(monkeypatch: pytest.MonkeyPatch):
    def gone(_: list[str]) -> int:
        raise BrokenPipeError

    errors = io.StringIO()
    monkeypatch.setattr(info, "run", gone)
    monkeypatch.setattr(sys, "stderr", errors)
    assert main(["info"]) == 1
    assert errors.closed


def test_arguments_come_from_the_shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["hyena", "--version"])
    assert main() == 0
    assert hyena.__version__ in capsys.readouterr().out


def test_a_mistake_of_ours_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch):
    def broken(_: list[str]) -> int:
        raise ValueError("a bug")

    monkeypatch.setattr(info, "run", broken)
    with pytest.raises(ValueError, match="a bug"):
        main(["info"])
