"""A table of a document as LaTeX, for a paper; it needs the package booktabs."""

from __future__ import annotations

import re
from typing import Any

_COMMANDS = {
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "_": r"\_"},
    **{character: f"\\{character}" for character in "{}$&#%"},
    **{"<": "$<$", ">": "$>$", "|": "$|$", '"': "''", "`": r"\textasciigrave{}"},
    **{"−": "$-$", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "≤": r"$\le$", "≥": r"$\ge$", "Δ": r"$\Delta$"},
    **{
        "α": r"$\alpha$",
        "σ": r"$\sigma$",
        "²": "$^2$",
        "–": "--",
        "—": "---",
        "…": r"\dots{}",
        "’": "'",
        "\u00a0": "~",
    },
    **{"→": r"$\rightarrow$", "“": "``", "”": "''"},
}
_SPECIAL = re.compile("|".join(map(re.escape, _COMMANDS)) + "|[^ -~À-ÿ]|[ÐÞðþ÷]")


def escape(plain: str) -> str:
    """Text on one line that LaTeX sets as it is; what its fonts lack is named by its number."""
    return _SPECIAL.sub(lambda match: _COMMANDS.get(match[0], f"[U+{ord(match[0]):04X}]"), " ".join(plain.split()))


def to_latex(block: dict[str, Any], label: str) -> str:
    """A `table` block of `document.py` as a floating table, its note below; `label` is for \\ref."""
    sides = "".join("l" if left else "r" for left in block["left"])
    body = [_row(block["titles"]), r"\midrule", *map(_row, block["rows"])]
    note = [rf"  \par\smallskip\raggedright {escape(block['note'])}"] if block["note"] else []
    lines = [
        *("% Needs \\usepackage{booktabs}.", r"\begin{table*}", r"  \centering\footnotesize"),
        *(rf"  \caption{{{escape(block['caption'])}}}", rf"  \label{{tab:{label}}}"),
        *(rf"  \begin{{tabular}}{{@{{}}{sides}@{{}}}}", r"    \toprule", *(f"    {line}" for line in body)),
        *(r"    \bottomrule", r"  \end{tabular}", *note, r"\end{table*}"),
    ]
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    """A line of a table; braces keep a bracket or star at its start from the line break before it."""
    shown = " & ".join(map(escape, cells))
    return ("{}" if shown[:1] in ("[", "*") else "") + shown + r" \\"
