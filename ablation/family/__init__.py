"""Other people's architectures as arms: a function with a knob to solve for (docs/families.md)."""

from ablation.family.declare import Family, family
from ablation.family.design import Architecture, FamilyDesign, cost_of
from ablation.family.load import load_family
from ablation.family.search import FamilySolution, solve_family

__all__ = ["Architecture", "Family", "FamilyDesign", "FamilySolution", "cost_of", "family", "load_family",
           "solve_family"]  # fmt: skip
