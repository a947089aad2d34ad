import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console

from secagg.demo.display import show_result
from secagg.demo.report import report_html

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Outline(HTMLParser):
    """Collects tags and visible text, and refuses tags that are closed out of order."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def page(result):
    return report_html(result)


@pytest.fixture(scope="module")
def outline(page):
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    return outline


def test_page_refers_to_nothing_outside_itself(page, outline):
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert not re.search(r"https?://|//\w+\.\w|@import|url\((?!#)", without_names)
    assert {tag for tag, _ in outline.seen} & {"script", "link", "img", "iframe", "object"} == set()
    targets = [value for _, attrs in outline.seen for name, value in attrs.items() if name in ("href", "xlink:href")]
    assert all(target.startswith("#") for target in targets)


def test_ids_are_not_shared_between_pictures(outline):
    ids = [attrs["id"] for tag, attrs in outline.seen if "id" in attrs and tag in ("clippath", "path")]
    assert len(ids) == len(set(ids))


def test_page_has_the_pictures_and_a_row_for_every_round(outline, result):
    named = [attrs["aria-label"] for tag, attrs in outline.seen if tag == "svg"]
    assert len(named) == 3
    assert sum(tag == "tr" for tag, _ in outline.seen) == 1 + len(result.rounds)
    text = " ".join(outline.text)
    for outcome in result.rounds:
        assert all(f"{site} ({phase})" in text for site, phase in outcome.dropouts.items())


def test_page_says_when_a_sum_was_not_exact(result):
    wrong = replace(result, rounds=(*result.rounds[:-1], replace(result.rounds[-1], exact=False)))
    assert "2 of 3 sums exact" in report_html(wrong)
    assert "<td>NO</td>" in report_html(wrong)


def test_page_says_where_the_range_came_from(page, result):
    assert "nobody's data was needed" in page
    assert "r = 0.5 was chosen by hand" in report_html(replace(result, config=replace(result.config, range=0.5)))


def test_same_result_gives_the_same_page(page, result):
    assert report_html(result) == page


def test_table_in_a_pipe_is_plain_text(result):
    pipe = io.StringIO()
    show_result(result, Console(file=pipe, width=100))
    shown = pipe.getvalue()
    assert "\x1b" not in shown
    assert f"{100 * result.accuracy_plain:.1f} %" in shown
    assert "3 of 3" in shown
    assert "no epsilon is claimed" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 100
