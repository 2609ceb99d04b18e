"""Other people's architectures as arms: a function with a knob to solve for (docs/families.md)."""

from ablation.family.count import check_resolution
from ablation.family.declare import Family, family
from ablation.family.design import Architecture, FamilyDesign, cost_of, family_design, family_design_from_dict
from ablation.family.load import CODE, files_of, load_family, source_of

__all__ = ["CODE", "Architecture", "Family", "FamilyDesign", "check_resolution", "cost_of", "family", "family_design",
           "family_design_from_dict", "files_of", "load_family", "source_of"]  # fmt: skip
