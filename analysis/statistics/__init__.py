"""What seeds allow one to say: arrays of errors in, estimates, intervals, tests and verdicts out.

Values are errors (lower is better), in any one unit; the toolkit passes percent. Networks of different shape share no
initialisation, so arms are compared unpaired, with the SD pooled over the arms of a panel; every arm is compared with
the panel's baseline, and the p-values of a panel are adjusted by Holm.
"""

from .again import win_again
from .comparison import Comparison, compare, correlation_by_seed
from .contrast import IF_EQUAL, Contrast
from .crossed import Interaction, interaction
from .estimates import ALPHA, POWER, Estimate, estimate, finite, pooled_sd
from .examples import ExampleInterval, example_interval, sd_of_pair, sd_of_runs
from .line import Trend, trend
from .linear import LinearContrast, axis_contrasts, linear_contrast
from .looks import look_alphas
from .populations import PopulationContrast, compare_populations, edf, edf_band
from .power import resolvable_difference, sd_range, seeds_needed

__all__ = [
    "ALPHA",
    "IF_EQUAL",
    "POWER",
    "Comparison",
    "Contrast",
    "Estimate",
    "ExampleInterval",
    "Interaction",
    "LinearContrast",
    "PopulationContrast",
    "Trend",
    "axis_contrasts",
    "compare",
    "compare_populations",
    "correlation_by_seed",
    "edf",
    "edf_band",
    "estimate",
    "example_interval",
    "finite",
    "interaction",
    "linear_contrast",
    "look_alphas",
    "pooled_sd",
    "resolvable_difference",
    "sd_of_pair",
    "sd_of_runs",
    "sd_range",
    "seeds_needed",
    "trend",
    "win_again",
]
