"""LaTeX of the main table: whatever names hold is set as it is, and a LaTeX takes it."""

import shutil
import subprocess

import pytest
from studies import TRUTH, panel_fields, sweep_fields, write_study

from analysis.latex import escape, to_latex
from analysis.report import main

HOSTILE = r"[a] \input{/etc/passwd} 50% & #1 $x^2_3$ ~ {} \\ −0.1 ± ≤ Δ é ð ŋ 漢 <b> | `\"'"
PAPER = r"""\documentclass{article}
\usepackage[landscape]{geometry}
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tex")
    fields = sweep_fields(evidence={"margin": 0.3})
    fields["panels"][0]["arms"][1]["name"] = HOSTILE
    fields["panels"].append(panel_fields(tuple(TRUTH)[:2], name="long $", recipe={"base": "fashion", "epochs": 3}))
    write_study(folder, fields)
    main([folder / "study.yaml"], runs=folder / "runs", out=folder / "reports")
    return folder / "reports" / "study"


def test_there_is_a_file_a_panel_with_a_line_an_arm(made):
    assert sorted(path.name for path in made.glob("tables/*.tex")) == ["results_1.tex", "results_2.tex"]
    text = (made / "tables" / "results_2.tex").read_text()
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
    assert [line.split(" & ")[0].strip() for line in body.strip().splitlines()] == [
        r"resnet11\_1x8d",
        r"resnext11\_2x5d",
    ]
    assert r"\caption{Panel long \$: test top-1 error" in text and r"\label{tab:study-results_2}" in text


@pytest.mark.parametrize(
    ("plain", "latex"),
    [
        ("resnext50_32x4d", r"resnext50\_32x4d"),
        ("−0.61 [−1.00, −0.21]", "$-$0.61 [$-$1.00, $-$0.21]"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("50% & $1 #2", r"50\% \& \$1 \#2"),
        ("a\nb", "a b"),
        ("漢 é", "[U+6F22] é"),
    ],
)
def test_latex_sets_text_as_it_is(plain, latex):
    assert escape(plain) == latex


def test_a_bracket_at_a_lines_start_is_not_an_option_of_the_line_before():
    block = {"titles": ["a", "b"], "left": [True, False], "rows": [["[1]", "2"]], "caption": "c", "note": ""}
    assert r"{}[1] & 2 \\" in to_latex(block, "x")


def test_latex_takes_it(made, unavailable, tmp_path):
    if not shutil.which("pdflatex"):
        unavailable("no LaTeX: apt-get install texlive-latex-recommended")
    tables = "\n".join(path.read_text() for path in sorted(made.glob("tables/*.tex")))
    (tmp_path / "paper.tex").write_text(PAPER % tables)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").exists() and "Missing character" not in (tmp_path / "paper.log").read_text("latin1")
