"""The options of a run: values without a meaning are refused, in Python as in a file."""

import math

import pytest

from hyena.configs.mixers import AttentionConfig, HyenaConfig
from hyena.configs.training import OptimizerConfig, TrainingConfig
from tests.helpers import refused

WRONG = {
    "first moment": (OptimizerConfig, {"beta1": 1.5}, ("beta1", "1.5")),
    "second moment": (OptimizerConfig, {"beta2": 1.0}, ("beta2", "1.0")),
    "rate that is no number": (OptimizerConfig, {"lr": math.nan}, ("lr", "nan")),
    "filters' rate": (OptimizerConfig, {"filter_lr": 0.0}, ("filter_lr", "0.0")),
    "decay that is no number": (OptimizerConfig, {"weight_decay": math.nan}, ("weight_decay", "nan")),
    "warm-up": (OptimizerConfig, {"warmup": 2.0}, ("warmup", "2.0")),
    "no steps": (TrainingConfig, {"steps": 0}, ("steps", "0")),
    "large seed": (TrainingConfig, {"seed": 2**64}, ("seed", str(2**64))),
    "negative seed": (TrainingConfig, {"seed": -1}, ("seed", "-1")),
    "precision": (TrainingConfig, {"precision": "bf16"}, ("'bf16'", "bfloat16")),
    "dropout of a mixer": (HyenaConfig, {"dropout": 1.5}, ("dropout", "1.5")),
    "dropout of attention": (AttentionConfig, {"dropout": 1.0}, ("dropout", "1.0")),
    "base of the rotation": (AttentionConfig, {"rotary_base": -1.0}, ("rotary_base", "-1.0")),
}


@pytest.mark.parametrize("case", WRONG)
def test_values_without_a_meaning_are_refused(case: str):
    cls, options, parts = WRONG[case]
    with refused(*parts):
        cls(**options)
