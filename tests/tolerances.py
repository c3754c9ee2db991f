"""Every tolerance of the tests, with its reason. Pass one as `assert_close(actual, expected, **FLOAT64)`.

None depends on the machine. rtol is relative to each number, atol to none; where sums of different order are compared, a test
multiplies atol by the loudness of the result (`helpers.loudness`), as rounding is relative to the largest term of a sum.
"""

from torch import Tensor

from tests.helpers import loudness

# --- one formula computed in two ways ---------------------------------------------------------------------------------------

FLOAT64 = {"rtol": 0.0, "atol": 1e-12}
"""Sums of some thousand float64 products in another order, or by FFT: 1e-16 times the root of their number; 100 to spare."""

FLOAT32 = {"rtol": 0.0, "atol": 1e-5}
"""The same in float32, whose unit is 1.2e-7: worst seen 2e-6 of the loudest value over all lengths in the tests."""

KERNEL = {"float64": 2e-15, "float32": 5e-7}
"""Relative error (`oracle.off`) of the compiled kernel against float64: the unit (1.1e-16, 6e-8) times the root of the depth of
a transform. 1e-15 and 3e-7 are seen over all lengths from 1 to 2^18, values and gradients, by transforms and tap by tap."""

BEGINNING = 5e-5
"""Error of a float32 output over the loudest one up to it, of 65,536 positive terms: 1e-5 is seen; 1e-2 without the shorter
transforms of the beginning. Three gates and short convolutions before it add up to ten times as much."""

MODAL = {"rtol": 0.0, "atol": 1e-11}
"""Powers lam^t in float64 as lam^(aC) lam^b against exp(t log lam), whose phase is off by up to 3e-13 at t = 1,000."""

MODAL_FLOAT32 = 1e-6
"""Relative error of float32 taps and states against float64 at up to a million tokens: the factors of a product are rounded
once (6e-8), the sums of 2 S or some hundred terms add a few times that; 2e-7 is seen."""

KERNEL_SUMS = {"float64": 5e-15, "float32": 2e-6}
"""The same for gradients that are sums over time, of up to 512 terms a lane before they are added in float64: relative to the
root of their number (the size of a sum of random ones) 2e-15 and 7e-7 are seen."""

FINITE_DIFFERENCES = {"rtol": 1e-5, "atol": 1e-8}
"""A bilinear function's central difference is exact but for rounding, 1e-16 over a step of 1e-6."""

FLOAT32_MODEL = 1e-4
"""Relative error (norm of the difference over norm) of small float32 models and mixers against float64: 2e-5 is seen where
gates are sums over all channels, 1e-6 elsewhere."""

BFLOAT16_STREAM = 1.1
"""How much further from float32 a published model in bfloat16 may be token by token than in one piece (root mean square over
all logits): both round projections and products and nothing between; 1.03 is seen, 1.25 with one rounding more."""

BFLOAT16 = {"rtol": 2**-8, "atol": 1e-5}
"""One rounding to 8 bits of a float32 result: half a unit is 2^-9 of the value; the rest is float32's own error."""

FLOAT16 = {"rtol": 2**-11, "atol": 1e-4}
"""One rounding to 11 bits (2^-12 of the value, absolutely 3e-8 below 6e-5) of a float32 result of up to about 30."""

BFLOAT16_MODEL = 0.05
"""Relative error (norm of the difference over norm) of a small model in bfloat16: some ten roundings of 2^-9 each, and products
of three streams; 0.01 is seen, a filter or grid that fell to bfloat16 gives above 0.2."""

LEAK = {"float64": 1e-14, "float32": 5e-6, "direct": 0.0}
"""What a perturbed future may change in the past, relative to the loudest output: the FFT spreads rounding errors over all
times, as large as the perturbed signal times the unit; the direct convolution never touches the future."""

# --- the golden files (their README measured the references' own errors) ----------------------------------------------------

GOLDEN_FLOAT64 = {"rtol": 0.0, "atol": 1e-10}
"""float64 against the references' float64: 6e-14 seen between independent implementations."""


def golden_operator(expected: Tensor) -> dict[str, float]:
    """Operators and layers in float32: the references are off by 2e-5 on outputs of 40, independent ones by 1.2e-5."""
    return {"rtol": 0.0, "atol": 2e-5 * max(1.0, loudness(expected) / 10)}


GOLDEN_FILTER = {"rtol": 0.0, "atol": 1e-6}
"""Generated filters, up to 1.3: the references are off by 3e-7."""

GOLDEN_LOGITS = {"rtol": 1e-4, "atol": 1e-4}
"""Logits (up to 13) and streams of whole models in float32: the references are off by 4e-5, independent ones by 5e-5."""

GOLDEN_STRIPED = {"rtol": 1e-4, "atol": 2e-4}
"""Logits (up to 18) and streams of StripedHyena and vortex in float32, in one piece and step by step: the references are off by
4e-5 to 5e-5 from float64 and from themselves, ours by 5e-5 from theirs."""


def golden_gradient(expected: Tensor) -> dict[str, float]:
    """Gradients were recorded in float32 alone: sums over some thousand terms, off by about 1e-6 of the largest one."""
    return {"rtol": 0.0, "atol": 1e-5 * loudness(expected)}


STATISTICS = {"rtol": 0.05, "atol": 0.0}
"""Standard deviations of some thousand draws: their own deviation is 1 / sqrt(2 n), a percent at 5,000."""

GRID = {"rtol": 0.0, "atol": 2e-6}
"""Grids and windows are stored in float32, as published: half a unit of 1.2e-7 at times up to 3 and angles of 2 pi, which the
sine MLP multiplies by about 10."""

STRETCHED = {"rtol": 0.0, "atol": 1e-5}
"""Taps of a filter at the same times of another grid, whose points are rounded to float32 anew."""

STREAM = {"rtol": 0.0, "atol": 1e-10}
"""A stream of a float64 model against its full forward: convolutions and attention add up in another order, and blocks pass
the differences on."""

STREAM_FLOAT32 = {"rtol": 1e-4, "atol": 1e-4}
"""The same in float32, logits of up to about 10 from sums of some tens of terms: 1e-5 is seen."""
