"""`build`: which class belongs to which configuration."""

import pytest

from hyena.configs.mixers import AttentionConfig, HyenaConfig
from hyena.modules import Attention, Hyena, OuterHyena
from tests.modules.mixers import mixer


@pytest.mark.parametrize(
    ("config", "cls"),
    [
        (HyenaConfig(), Hyena),
        (HyenaConfig(gating="outer"), OuterHyena),
        (AttentionConfig(), Attention),
        (AttentionConfig(window=3), Attention),
    ],
    ids=["H", "H with outer gates", "A", "W"],
)
def test_a_configuration_builds_its_class(config: HyenaConfig | AttentionConfig, cls: type):
    assert type(mixer(config)) is cls
