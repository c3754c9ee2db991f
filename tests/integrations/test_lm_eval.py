"""lm-eval itself over our models: local tasks on local data, no network."""

import json
import math
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import hyena
from hyena.inference import Sampling, generate_text, score
from hyena.integrations import lm_eval
from hyena.integrations.harness import Harness
from hyena.models import LanguageModel
from tests.helpers import refused, unchecked
from tests.integrations.test_harness import by_hand
from tests.models.small import classifier, language_model

NEEDED = "lm-eval (the extra `eval`) is not installed"
installed = pytest.mark.skipif(find_spec("lm_eval") is None, reason=NEEDED)
EXACT = 1e-9
"""Sums of log-probabilities of a float64 model."""

CHOICES = [
    {"question": "The sky is", "choices": [" blue", " red", " a"], "answer": 0},
    {"question": "To be or not", "choices": [" to be", " the bee", "?"], "answer": 1},
    {"question": "One, two,", "choices": [" three", " tree", " four"], "answer": 2},
]
TEXTS = [{"text": "to be or not to be"}, {"text": "that is the question" * 20}]
CODE = [{"question": "def one():", "answer": "    return 1"}]

TASKS = {
    "local_choices": (
        CHOICES,
        """
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: answer
target_delimiter: ""
metric_list:
  - metric: acc
""",
    ),
    "local_texts": (
        TEXTS,
        """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list:
  - metric: bits_per_byte
""",
    ),
    "local_answers": (
        CHOICES,
        """
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{choices[answer]}}"
generation_kwargs:
  until: ["\\n\\n"]
  max_gen_toks: 10
metric_list:
  - metric: exact_match
""",
    ),
    "local_code": (
        CODE,
        """
output_type: generate_until
unsafe_code: true
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs:
  max_gen_toks: 5
metric_list:
  - metric: exact_match
""",
    ),
}


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    """A model of bytes in float64."""
    torch.manual_seed(0)
    return language_model("RA", vocab_size=256, tokenizer="bytes")


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of tasks with their data."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    directory = tmp_path / "tasks"
    directory.mkdir()
    for name, (rows, text) in TASKS.items():
        data = directory / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        head = f"task: {name}\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {data}\ntest_split: test\n"
        (directory / f"{name}.yaml").write_text(head + text.lstrip())
    return directory


def run(model: LanguageModel | Path, tasks: Path, *names: str, **options: object) -> dict[str, dict[str, float]]:
    """The results of some of the tasks."""
    with unchecked():
        return lm_eval.evaluate(model, names, include_path=tasks, **options)


@installed
@pytest.mark.filterwarnings("ignore")
def test_tasks_give_the_numbers_of_the_library(model: LanguageModel, tasks: Path):
    found = run(model, tasks, "local_choices", "local_texts", "local_answers", bos=10)
    results, samples = found["results"], found["samples"]
    for row, sample in zip(CHOICES, samples["local_choices"], strict=True):
        for choice, answer in zip(row["choices"], sample["filtered_resps"], strict=True):
            total, greedy = by_hand(model, row["question"].encode(), choice.encode(), 10)
            assert answer[0] == pytest.approx(total, abs=EXACT)
            assert bool(answer[1]) == greedy
    totals = [each.total for each in score(model, [row["text"] for row in TEXTS], bos=10)]
    size = sum(len(row["text"]) for row in TEXTS)
    assert results["local_texts"]["bits_per_byte,none"] == pytest.approx(-sum(totals) / size / math.log(2), abs=EXACT)
    for row, sample in zip(CHOICES, samples["local_answers"], strict=True):
        (whole,) = generate_text(model, [row["question"]], 10, Sampling(0.0), stop="\n\n", bos=10)
        assert row["question"] + sample["resps"][0][0] == whole


@installed
@pytest.mark.filterwarnings("ignore")
def test_the_model_is_found_by_its_name(model: LanguageModel, tasks: Path, tmp_path: Path):
    import lm_eval as theirs
    from lm_eval.tasks import TaskManager

    model.save(tmp_path / "model")
    lm_eval.register()
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    with unchecked():
        found = theirs.simple_evaluate(
            model="hyena",
            model_args=f"path={tmp_path / 'model'},bos=10",
            tasks=["local_choices"],
            batch_size=2,
            device="cuda:0",  # as its command line says where nothing is said
            task_manager=manager,
        )
    assert found["results"]["local_choices"] == run(model, tasks, "local_choices", bos=10)["results"]["local_choices"]


@installed
@pytest.mark.filterwarnings("ignore")
def test_code_that_the_model_wrote_is_not_run_unless_asked(model: LanguageModel, tasks: Path, monkeypatch: pytest.MonkeyPatch):
    computed: list[object] = []
    monkeypatch.setattr(Harness, "generate_until", lambda _, requests: computed.append(requests))
    with (
        unchecked(),
        pytest.raises(ValueError, match=r"local_code which is marked as unsafe\. Set confirm_run_unsafe_code=True"),
    ):
        lm_eval.evaluate(model, ["local_answers", "local_code"], include_path=tasks)
    assert not computed
    monkeypatch.undo()
    assert "local_code" in run(model, tasks, "local_code", confirm_run_unsafe_code=True)["results"]


@installed
def test_its_command_line_knows_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Without the index of all its tasks, which takes longer than all else here."""
    from lm_eval import __main__ as theirs
    from lm_eval.api.registry import get_model

    monkeypatch.setattr(theirs, "cli_evaluate", lambda: get_model("hyena").create_from_arg_string(f"path={tmp_path / 'none'}"))
    with pytest.raises(SystemExit) as ended:
        lm_eval.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"hyena: {tmp_path / 'none'}")
    with refused("model_args has batchsize", "batch_size", "max_memory"):
        get_model("hyena").create_from_arg_string(f"path={tmp_path},batchsize=2")


def test_a_directory_of_another_kind_is_refused(tmp_path: Path):
    classifier("H").save(tmp_path / "classifier")
    with refused("holds a Classifier"):
        lm_eval.language_model(tmp_path / "classifier", "cpu")
    language_model("H").save(tmp_path / "model")
    assert isinstance(lm_eval.language_model(tmp_path / "model", "cpu"), hyena.LanguageModel)


def test_without_lm_eval_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setitem(sys.modules, "lm_eval.api.model", None)
    monkeypatch.setattr(lm_eval, "register", lm_eval.register.__wrapped__)  # not what it found before
    with refused("pip install 'hyena[eval]'"):
        lm_eval.register()
    with pytest.raises(SystemExit) as ended:
        lm_eval.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"hyena: {lm_eval.NEEDED}\n"
