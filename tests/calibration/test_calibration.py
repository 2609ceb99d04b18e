"""Every promise of the statistics, over simulated studies whose truth is known. `make calibration` runs many more."""

import pytest
from calibration.nulls import false_improves
from calibration.page import put_section
from calibration.promise import Promise
from calibration.simulations import SIMULATIONS, Simulation

pytestmark = pytest.mark.calibration


@pytest.mark.parametrize("simulation", SIMULATIONS, ids=lambda simulation: simulation.name)
def test_what_is_promised_holds(simulation: Simulation):
    found = simulation(round(1000 * simulation.times))
    assert not [str(promise) for promise in found if not promise.holds]


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_computed_chance_of_a_false_improvement_is_the_known_one(n):
    assert 0.0195 < false_improves(n) < 0.0245  # as simulated before, to a digit


@pytest.mark.parametrize(("found", "holds"), [(0.05, True), (0.064, True), (0.09, False)])
def test_a_promise_can_be_broken(found, holds):
    assert Promise("no effect", "any false claim", found, 1000, high=0.064).holds == holds


def test_a_section_is_replaced_alone(tmp_path):
    page = tmp_path / "README.md"
    for title, text in (("Simulated", "old"), ("Real", "kept\n### part\nmore"), ("Simulated", "new")):
        put_section(title, text, page)
    found = page.read_text()
    assert "## Simulated\n\nnew\n\n## Real\n\nkept\n### part\nmore\n" in found and "old" not in found
