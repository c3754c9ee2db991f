"""`build`: which class belongs to which configuration."""

import pytest

from hyena.configs.mixers import (
    AttentionConfig,
    ExplicitConvConfig,
    GatedConvConfig,
    HyenaConfig,
    MixerConfig,
    RealModalConvConfig,
)
from hyena.modules import Attention, GatedConv, Hyena, OuterHyena
from tests.modules.mixers import mixer


@pytest.mark.parametrize(
    ("config", "cls"),
    [
        (HyenaConfig(), Hyena),
        (HyenaConfig(gating="outer"), OuterHyena),
        (GatedConvConfig(), GatedConv),
        (ExplicitConvConfig(), GatedConv),
        (RealModalConvConfig(), GatedConv),
        (AttentionConfig(), Attention),
        (AttentionConfig(window=3), Attention),
    ],
    ids=["H", "H with outer gates", "R", "S", "L", "A", "W"],
)
def test_a_configuration_builds_its_class(config: MixerConfig, cls: type):
    assert type(mixer(config)) is cls
