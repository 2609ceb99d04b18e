"""What seeds allow one to say: arrays of errors in, estimates, intervals, tests and verdicts out.

Values are errors (lower is better), in any one unit; the toolkit passes percent. Networks of different shape share no
initialisation, so arms are compared unpaired, with the SD pooled over the arms of a panel; every arm is compared with
the panel's baseline, and the p-values of a panel are adjusted by Holm.
"""

from .contrasts import Comparison, Contrast, compare
from .estimates import ALPHA, POWER, Estimate, estimate, finite, pooled_sd
from .power import resolvable_difference

__all__ = [
    "ALPHA",
    "POWER",
    "Comparison",
    "Contrast",
    "Estimate",
    "compare",
    "estimate",
    "finite",
    "pooled_sd",
    "resolvable_difference",
]
