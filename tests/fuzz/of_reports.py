"""What a report reads from outside, and what it writes: no word of a study is markup, in any of its forms."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from fuzz.mutate import WORDS, Case
from fuzz.parser import Parser
from markdown_it import MarkdownIt

from analysis.findings import findings
from analysis.html import to_html
from analysis.latex import escape, to_latex
from analysis.markdown import to_markdown
from analysis.outside import command_of, read_outside
from analysis.pdf import to_pdf

CSV = (
    "panel,arm,seed,error,params,macs,published,axis,device,state,message\n"
    "p,a,0,10.1,100,1000,9.5,,cpu,done,\np,a,1,10.3,100,1000,9.5,,cpu,done,\n"
    "p,b,0,9.1,101,1001,,cardinality,cpu,done,\np,b,1,nan,101,1001,,cardinality,cpu,failed,diverged\n"
)
CELLS = (
    *WORDS,
    "-1",
    "0",
    "100",
    "101",
    "1e400",
    "1,5",
    '"',
    '""',
    "5%",
    "1 000",
    "١٢",
    "0x1F",
    "Infinity",
    "-nan",
    "1e-400",
)


def feed_csv(folder: Path, shared: Any, case: Case) -> None:
    path = folder / "mine.csv"
    if case.kind < 4:
        rows = [line.split(",") for line in CSV.splitlines()]
        for n, (what, where, _) in enumerate(case.changes):
            row = rows[where % len(rows)] if what < 8 else rows[0]
            row[(where // 7) % len(row)] = case.pick(CELLS, n)
        path.write_bytes("\n".join(",".join(row) for row in rows).encode("utf-8", "surrogatepass"))
    else:
        path.write_bytes(case.data(CSV.encode()))
    sweep, study = read_outside(path, name=case.word() if case.kind == 3 else "", evidence={"margin": 0.2})
    assert (folder / "reports" / sweep.name).parent == folder / "reports", sweep.name
    assert "\n" not in command_of(sweep, path.name, {}) or "\n" in sweep.question
    if case.kind == 0:
        findings(sweep, study)


def document(words: Any) -> dict[str, Any]:
    """Every kind of block, every string of it drawn."""
    table = {
        **{"kind": "table", "name": "results", "label": "Table 1", "caption": words(1), "titles": [words(2), "x"]},
        **{"left": [True, False], "rows": [[words(3), words(4)]], "values": [[None, 1.5]], "note": words(5)},
    }
    blocks = [
        *({"kind": kind, "text": words(6 + n)} for n, kind in enumerate(("heading", "paragraph", "verdict"))),
        {"kind": "facts", "facts": [(words(9), words(10))]},
        {
            "kind": "figures",
            "figures": [{"label": "Figure 1", "caption": words(11), "file": "figures/a.svg", "width": "100%"}],
        },
        {"kind": "code", "text": words(12)},
        table,
    ]
    return {"title": words(13), "sweep": words(14), "blocks": blocks}


class Tags(HTMLParser):
    """The tags of a page with the names of their attributes, less what is drawn from text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Keep the tag."""
        self.found.append((tag, tuple(sorted(name for name, _ in attributes if name not in ("class", "data-value")))))


def kinds(tokens: Any) -> list[str]:
    """What Markdown is made of."""
    found = []
    for token in tokens:
        found += [token.type] if token.type not in ("text", "softbreak", "text_special") else []
        found += kinds(token.children or [])
    return found


MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
PLAIN = lambda number: "word"  # noqa: E731


def set_up_document(folder: Path) -> dict[str, Any]:
    (folder / "figures").mkdir()
    (folder / "figures" / "a.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>')
    plain = document(PLAIN)
    to_pdf(plain, folder)
    return {"html": Tags(to_html(plain, folder)).found, "markdown": kinds(MARKDOWN.parse(to_markdown(plain)))}


def drawn(case: Case) -> dict[str, Any]:
    return document(lambda number: (case.word(number) + "x").encode("utf-8", "replace").decode())


def feed_html(folder: Path, shared: dict[str, Any], case: Case) -> None:
    page = to_html(drawn(case), folder)
    assert Tags(page).found == shared["html"], "a word became a tag"


def feed_markdown(folder: Path, shared: dict[str, Any], case: Case) -> None:
    text = to_markdown(drawn(case))
    found = kinds(MARKDOWN.parse(text))
    assert found == shared["markdown"], (set(found) ^ set(shared["markdown"]), text[:600])


COMMANDS = re.compile(
    r"\\(?:[_{}$&#%\\]|text(?:backslash|asciitilde|asciicircum)\{\}|textasciigrave\{\}|pm|times|cdot|le|ge|Delta|alpha|sigma"
    r"|dots\{\}|rightarrow|begin\{table\*\}|end\{table\*\}|centering\\footnotesize|caption|label|toprule|midrule|bottomrule"
    r"|begin\{tabular\}|end\{tabular\}|par\\smallskip\\raggedright|usepackage\{booktabs\})"
)


def feed_latex(folder: Path, shared: Any, case: Case) -> None:
    word = case.word().encode("utf-8", "replace").decode()
    block = document(lambda number: word)["blocks"][-1]
    text = to_latex(block, "study-results")
    assert "\\" not in COMMANDS.sub("", text), text
    assert "\n" not in escape(word) and "%" not in escape(word).replace("\\%", "")


def feed_typst(folder: Path, shared: Any, case: Case) -> None:
    assert to_pdf(drawn(case), folder).startswith(b"%PDF")


PARSERS = [
    Parser("csv", "results from elsewhere", lambda folder: None, feed_csv),
    Parser("html", "words of a report, as HTML", set_up_document, feed_html),
    Parser("markdown", "words of a report, as Markdown", set_up_document, feed_markdown),
    Parser("latex", "words of a table, as LaTeX", lambda folder: None, feed_latex),
    Parser("typst", "words of a report, as PDF", set_up_document, feed_typst),
]
