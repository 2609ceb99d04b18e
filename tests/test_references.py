"""What a report should cite, and no more."""

import re
from pathlib import Path

from studies import sweep_fields, write_study, write_sweep

from analysis.collect import collect
from analysis.findings import findings
from analysis.references import cited, references, to_bibtex


def keys(tmp_path, fields=None):
    sweep, runs = write_study(tmp_path, fields)
    return sweep, cited(sweep, findings(sweep, collect(sweep, runs)))


def test_a_small_study_cites_its_networks_data_schedule_and_tests(tmp_path):
    assert keys(tmp_path)[1] == {
        *("xie2017aggregated", "he2016deep", "xiao2017fashion"),
        *("smith2019super", "holm1979simple", "dunn1961multiple"),
    }


def test_what_is_used_is_cited_and_what_is_not_is_not(tmp_path):
    recipe = {"base": "fashion", "schedule": "cosine", "label_smoothing": 0.1, "warmup_epochs": 1.0}
    fields = sweep_fields(("resnet11_1x8d", "resnext11_4x3d"), evidence={"margin": 0.2})
    fields["panels"][0]["recipe"] = recipe
    found = keys(tmp_path, fields)[1]
    assert found >= {"loshchilov2017sgdr", "szegedy2016rethinking", "goyal2017accurate", "schuirmann1987comparison"}
    assert not found & {"smith2019super", "holm1979simple"}  # one contrast is not adjusted


def test_entries_are_whole_and_their_keys_differ(tmp_path):
    text = to_bibtex(cited(write_sweep(tmp_path), []), ["0.1.0"])
    for entry in [*references().values(), text]:
        assert entry.count("{") == entry.count("}")
    assert re.findall(r"^@\w+\{([^,]+),", text, re.MULTILINE)[-1] == "cardinality_ablation"
    assert "version = {0.1.0}" in text and len(references()) == 12


def test_every_entry_may_be_cited():
    source = (Path(__file__).parent.parent / "analysis" / "references.py").read_text()
    assert [key for key in references() if f'"{key}"' not in source] == []
