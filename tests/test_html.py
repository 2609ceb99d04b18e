"""The page a person opens: whole without network, safe whatever a sweep says, its tables sorted by a click."""

import re
from html.parser import HTMLParser

import pytest
from browser import browser, program
from studies import TRUTH, panel_fields, sweep_fields, write_study

from analysis.html import svg, to_html
from analysis.report import main

HOSTILE = (
    r"""<script>document.title = "taken"</script><img src=x onerror="document.title='taken'">&amp;'"</title>$\frac$"""
)


def make(folder, fields=None):
    """A report of a synthetic study; its page."""
    write_study(folder, fields)
    main([folder / "study.yaml"], runs=folder / "runs", out=folder / "reports")
    return folder / "reports" / "study" / "report.html"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    fields = sweep_fields(question=HOSTILE, name=HOSTILE)
    fields["panels"][0]["arms"][1]["name"] = f"--> {HOSTILE}"
    fields["panels"].append(panel_fields(tuple(TRUTH), name="plain", recipe={"base": "fashion", "epochs": 3}))
    return make(tmp_path_factory.mktemp("hostile"), fields)


@pytest.fixture(scope="module")
def page(tmp_path_factory, unavailable):
    """One page of one browser."""
    if not program():
        unavailable("no Chromium: apt-get install chromium-headless-shell")
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


class Elements(HTMLParser):
    """What stands in a page: its start tags, and those left open."""

    VOID = frozenset({"meta", "link", "path", "use", "rect", "clippath", "img"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def figures(made):
    return list(made.parent.glob("figures/*.svg"))


def test_it_is_one_file_that_names_no_other(made):
    page = Elements(made.read_text())
    addresses = [value for _, a in page.tags for key, value in a.items() if key in ("src", "href", "xlink:href")]
    assert [address for address in addresses if not address.startswith(("#", "data:,"))] == []
    assert page.open == [] and len(page.named("svg")) == len(figures(made))


def test_no_id_stands_twice_and_each_that_is_named_is_there(made):
    text = made.read_text()
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(#|href="#|labelledby=")([^")]*)', text)) <= set(ids)


def test_elements_say_what_they_are(made):
    page = Elements(made.read_text())
    tables = made.with_name("report.md").read_text().count("**Table ")
    assert len(page.named("figcaption")) == len(page.named("figure")) == len(figures(made))
    assert len(page.named("caption")) == len(page.named("table")) == tables
    assert len(page.named("h1")) == 1
    assert {head.get("scope") for head in page.named("th")} == {"col", "row"}


def test_hostile_text_is_shown_and_not_run(hostile):
    text = hostile.read_text()
    page = Elements(text)
    assert len(page.named("script")) == 1 and page.named("img") == []
    assert [a for _, a in page.tags if any(key.startswith("on") for key in a)] == []
    assert text.count("&lt;script&gt;document.title") > 5 and "&amp;amp;&#x27;&quot;" in text


def test_ids_and_comments_of_a_figure_cannot_reach_the_page():
    figure = '<?xml version="1.0"?><svg id="a"><!-- <script> --><use href="#m"/><g clip-path="url(#p)"/></svg>'
    kept = '<svg role="img" aria-label="f" id="f-a"><use href="#f-m"/><g clip-path="url(#f-p)"/></svg>'
    assert svg(figure, "f") == kept


def test_a_number_sorts_by_what_it_is_and_text_has_none(tmp_path):
    table = {"kind": "table", "label": "Table 1", "caption": "c", "note": "", "titles": ["arm", "n"], "left": [True, 0]}
    rows = {"rows": [["a", "1,000"], ["b", "–"]], "values": [[None, 1000.0], [None, None]]}
    text = to_html({"title": "t", "sweep": "s", "blocks": [table | rows]}, tmp_path)
    assert '<td data-value="1000.0">1,000</td>' in text and "<td>–</td>" in text


def first_column(page, table="#table-1"):
    return page.run(f"[...document.querySelectorAll('{table} tbody tr')].map(row => row.cells[0].textContent)")


def test_the_browser_complains_of_nothing_and_asks_for_nothing(page, made, hostile):
    for file in (made, hostile):
        page.open(file)
        assert page.complaints() == [] and page.requests() == [file.as_uri()]
        assert page.run("document.title") != "taken"


def test_what_were_not_escaped_would_still_not_run(page, made, tmp_path):
    poisoned = tmp_path / "poisoned.html"
    poisoned.write_text(made.read_text().replace("<main>", f"<main>{HOSTILE.partition('&amp;')[0]}"))
    page.open(poisoned)
    assert page.run("document.title") != "taken" and "Content Security Policy" in str(page.complaints())


def test_a_click_on_a_header_sorts_by_its_numbers_then_the_other_way_then_not(page, made):
    page.open(made)
    before = first_column(page)
    error = {arm: float(page.run(f"document.querySelectorAll('#table-1 tbody tr')[{i}].cells[6].dataset.value"))
             for i, arm in enumerate(before)}  # fmt: skip
    button, state = "#table-1 th:nth-child(7) button", "document.querySelector('#table-1 th:nth-child(7)').ariaSort"
    page.click(button)
    assert first_column(page) == sorted(before, key=error.get) != before and page.run(state) == "ascending"
    page.click(button)
    assert first_column(page) == sorted(before, key=error.get, reverse=True) and page.run(state) == "descending"
    page.click(button)
    assert first_column(page) == before and page.run(state) == "none"


def test_what_has_no_number_comes_last_both_ways(page, made):
    page.open(made)
    for _ in range(2):
        page.click("#table-1 th:nth-child(9) button")
        assert first_column(page)[-1] == "resnet11_1x8d"


def test_the_keyboard_sorts_too(page, made):
    page.open(made)
    page.run("document.querySelector('#table-3 th:nth-child(7) button').focus()")
    page.press("Enter", "\r")
    assert first_column(page, "#table-3")[0] == "resnext11_6x2-4-9d"


def test_a_figure_opens_large_and_escape_closes_it(page, made):
    page.open(made)
    small = page.run("document.querySelector('#figure-1 svg').getBoundingClientRect().width")
    page.click("#figure-1 button")
    assert page.run("document.querySelector('dialog').open")
    assert page.run("document.querySelector('dialog svg').getBoundingClientRect().width") > 1.5 * small
    assert page.run("document.querySelector('dialog').textContent").count("Figure 1.") == 1
    page.press("Escape")
    assert not page.run("document.querySelector('dialog').open") and page.complaints() == []


@pytest.mark.parametrize("width", [400, 1200])
def test_nothing_is_wider_than_the_window(page, hostile, made, width):
    for file in (made, hostile):
        page.open(file, width=width)
        assert page.run("document.documentElement.scrollWidth") == width


def test_dark_rooms_get_a_dark_page_and_paper_stays_white(page, made):
    background = "getComputedStyle(document.body).backgroundColor"
    page.open(made, scheme="dark")
    assert page.run(background) == "rgb(23, 25, 28)"
    page.send("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert page.run(background) == "rgb(255, 255, 255)"
