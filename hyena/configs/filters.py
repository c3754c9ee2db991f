"""Every knob of every filter. A mixer's configuration holds that of its filter; the module that uses it takes it whole."""

from dataclasses import dataclass
from typing import Literal

from hyena.configs.files import validate
from hyena.errors import HyenaError


@dataclass(frozen=True)
class ImplicitFilterConfig:
    """The implicit filter of Hyena: a sine MLP of positional features under an exponential window (arXiv 2302.10866, 3.3).

    Defaults that differ from the published values won the comparison in reports/ablation.md; presets keep the published ones.
    """

    features: int = 33
    """Positional features of a tap (odd): its time, then cosines and sines of (features - 1) / 2 frequencies."""
    width: int = 64
    """Width of the MLP."""
    inner_layers: int = 2
    """Hidden layers between the first and the last linear map."""
    frequency: float = 5.0
    """Initial frequency of the sine activations; one trainable vector is shared by all layers. Published: 10 and 14."""
    train_features: bool = False
    """Whether the positional features are parameters (they start at their formula)."""
    window: Literal["exponential", "none"] = "exponential"
    """Window over the taps: exp(-t |delta|) + shift, or none."""
    decay_target: float = 1e-2
    """Value that the window reaches at the fractions of the grid named by fast_decay and slow_decay."""
    fast_decay: float = 0.03
    """Fraction of the grid after which the fastest channel has decayed to decay_target. Published: 0.3."""
    slow_decay: float = 1.5
    """The same for the slowest channel."""
    shift: float = 0.0
    """Floor of the window. safari trained with 0, the published HyenaDNA inference code uses 0.05."""
    channel_norm: bool = False
    """Divide each tap by its L1 norm over the channels (safari's `normalized`)."""
    init_std: float | None = 0.02
    """Standard deviation of the MLP's initial weights; none: the model's init_std, as published."""

    def __post_init__(self) -> None:
        """Reject sizes for which the formulas have no meaning."""
        validate(self)
        if self.features < 3 or self.features % 2 == 0:
            raise HyenaError(f"filter.features is {self.features}: use an odd number of at least 3 (time, cosines, sines)")
        if self.width < 1 or self.inner_layers < 0:
            raise HyenaError(f"filter.width {self.width} must be >= 1 and filter.inner_layers {self.inner_layers} >= 0")
        for name in ("decay_target", "fast_decay", "slow_decay"):
            if getattr(self, name) <= 0:
                raise HyenaError(f"filter.{name} is {getattr(self, name)}: use a number above 0")
        if self.init_std is not None and not self.init_std >= 0:
            raise HyenaError(f"filter.init_std is {self.init_std}: use 0 or more, or leave it out for the model's")


@dataclass(frozen=True)
class ModalFilterConfig:
    """The modal filter: Re sum_n R_n lam_n^t over complex poles (StripedHyena 1), behind an exact head where there is one."""

    order: int = 16
    """S: complex poles of a filter, their conjugates implied: 2 S real states a channel."""
    head: int = 0
    """K_head: leading taps that are parameters of their own; the modes serve lags >= head."""
    r_min: float = 0.9
    """Initial |lam| are uniform from here ..."""
    r_max: float = 0.999
    """... to here: modes that last for 10 to 1,000 tokens with the defaults."""
    form: Literal["polar", "cartesian"] = "polar"
    """How a pole is stored: log(-log |lam|) and an angle, so that |lam| < 1 whatever training does; or Re lam and Im lam, as
    StripedHyena 1 is published."""

    def __post_init__(self) -> None:
        """Reject orders, heads and poles that do not exist."""
        validate(self)
        if self.order < 1:
            raise HyenaError(f"modal order is {self.order}: use at least 1 pole")
        if self.head < 0:
            raise HyenaError(f"modal head is {self.head}: use 0 for none")
        if not 0 < self.r_min <= self.r_max < 1:
            raise HyenaError(f"r_min is {self.r_min} and r_max {self.r_max}: use 0 < r_min <= r_max < 1")


@dataclass(frozen=True)
class ExplicitFilterConfig:
    """The explicit filter: its taps are parameters (StripedHyena 2, arXiv 2503.01868: SE and MR)."""

    taps: int
    """K: the filter is zero from lag K on."""
    groups: int | None = None
    """G: filters, each shared by D / G consecutive channels; none given: one a channel."""
    decay: Literal["none", "strong", "normal", "weak"] = "none"
    """Whether taps are multiplied by a fixed exp(-delta_g t / (decay_length - 1)), delta_g in even logarithmic steps over the
    groups: from 1 to 100 (strong), 0.1 to 100 (normal) or 0.01 to 100 (weak, as Evo 2 was trained). Exported checkpoints have
    the product as their taps: none."""
    decay_length: int | None = None
    """Tokens over which the decay is exp(-delta_g); none given: 8192, the length that Evo 2 was trained at."""

    def __post_init__(self) -> None:
        """Reject taps, groups and lengths that do not exist."""
        validate(self)
        if self.taps < 1:
            raise HyenaError(f"filter.taps is {self.taps}: use at least 1")
        if self.groups is not None and self.groups < 1:
            raise HyenaError(f"filter.groups is {self.groups}: use a divisor of the width, or leave it out for one a channel")
        if self.decay_length is not None and self.decay_length < 2:
            raise HyenaError(f"filter.decay_length is {self.decay_length}: use at least 2 tokens")
        if self.decay == "none" and self.decay_length is not None:
            raise HyenaError(
                f"filter.decay_length is {self.decay_length} and filter.decay 'none': choose a decay, or leave it out"
            )

    @property
    def span(self) -> int:
        """Tokens over which the decay is exp(-delta_g)."""
        return 8192 if self.decay_length is None else self.decay_length


@dataclass(frozen=True)
class RealModalFilterConfig:
    """The real modal filter: sum_n R_n exp(-rate_n t), one a channel (StripedHyena 2: LI)."""

    order: int = 16
    """S: modes of a filter, a real state each."""
    form: Literal["rates", "log_poles"] = "rates"
    """How the rates are stored: as exp(p_n) gamma_n with parameters p and log gamma, as they are trained; or as log poles, the
    negated rates, as the published Evo 2 checkpoints have them."""

    def __post_init__(self) -> None:
        """Reject orders that do not exist."""
        validate(self)
        if self.order < 1:
            raise HyenaError(f"modal order is {self.order}: use at least 1 pole")
