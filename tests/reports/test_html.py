"""The HTML report: whole, self-contained, and safe with whatever a cluster calls its pods."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from chaoskit.model.history import History
from chaoskit.model.verdict import Finding, Grade, Verdict
from chaoskit.reports import html
from tests.reports.stories import killed_pod, verdict


class Page(HTMLParser):
    """The tags of a page with their attributes, and the text in each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "rect", "line", "path", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    @property
    def data(self) -> object:
        """The embedded data."""
        return json.loads(self.texts["script"][0])


def _page(story: History | None = None, judged: Verdict | None = None, name: str = "shop-survives") -> str:
    return html.render(story or killed_pod(), judged or verdict(), name)


def test_the_verdict_stands_first_with_what_was_promised_and_by_how_much() -> None:
    text = _page()
    header = text[text.index("<header") : text.index("</header>")]
    for part in (
        "FAIL",
        "a promise was broken",
        "availability &gt;= 99 %",
        "95 % of 1000",
        "4 points below the limit",
        "everything",
    ):
        assert part in header, part
    assert text.index("<header") < text.index("<main")


@pytest.mark.parametrize("grade", list(Grade))
def test_each_grade_is_told_in_words_and_by_a_sign(grade: Grade) -> None:
    header = _page(judged=verdict(grade)).partition("</header>")[0]
    assert f'class="{grade.name.lower()}"' in header
    assert grade.name in header
    assert {Grade.PASS: "✓", Grade.FAIL: "✗", Grade.INCONCLUSIVE: "?"}[grade] in header


def test_what_was_not_put_back_is_told_in_the_band() -> None:
    assert "NOT everything" in _page(judged=verdict(restored="no")).partition("</header>")[0]
    assert "NOT everything" not in _page().partition("</header>")[0]


def test_the_page_asks_nothing_of_any_network() -> None:
    text = _page()
    page = Page(text)
    assert {tag for tag, _ in page.tags} & {"link", "img", "iframe", "object", "base", "form", "a"} == set()
    assert not [attrs for _, attrs in page.tags if {"src", "href", "srcset", "xlink:href"} & attrs.keys()]
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|WebSocket", text)
    # The addresses in it are those of the run itself, as text.
    assert set(re.findall(r"https?://[\w.:-]+\w", text)) == {"https://127.0.0.1:6443"}
    assert "default-src &#x27;none&#x27;" in text


def test_a_pod_named_like_a_script_stays_text() -> None:
    evil = "</script><script>alert(1)</script>"
    text = _page(killed_pod(evil), verdict(because=f"pod {evil} was late"), name=f"claim {evil}")
    assert evil not in text
    page = Page(text)
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert any(evil in words for words in page.texts["td"])
    assert "alert(1)" in json.dumps(page.data)


def test_a_name_with_quotes_cannot_leave_its_attribute() -> None:
    text = _page(name='x" onload="alert(1)')
    assert all("onload" not in attrs for _, attrs in Page(text).tags)


def test_findings_show_numbers_and_the_bound_as_a_sum() -> None:
    text = _page()
    for part in ("95 %", "99 %", "n = 1000", "93 % to 96 %", "7 s = 5 s a pod created", "2 s observation"):
        assert part in text, part


def test_a_broken_premise_is_a_row_of_the_findings() -> None:
    premise = Finding("injected", Grade.INCONCLUSIVE, "not injected: no step was begun")
    text = _page(judged=Verdict(Grade.INCONCLUSIVE, (premise,), verdict().findings))
    assert "not injected: no step was begun" in text[text.index('class="findings"') :]


def test_there_are_three_charts_on_one_axis_with_the_windows_shaded() -> None:
    page = Page(_page())
    charts = [attrs["aria-label"] for tag, attrs in page.tags if tag == "svg" and attrs.get("class") == "chart"]
    assert charts == ["Requests and failures", "Latency", "Ready pods and ready endpoints"]
    shaded = [attrs["class"] for tag, attrs in page.tags if tag == "rect"]
    assert shaded == ["w baseline", "w fault", "w recovery"] * 3


def test_the_moments_tell_steps_and_how_the_pods_fared() -> None:
    text = _page()
    moments = text[text.index('class="moments"') :]
    for part in (
        "0.0 delete pod shop/a",
        "0.0 was accepted (200)",
        "shop/a: gone",
        "restored: yes",
        "+0.00 s",
        "+3.00 s",
    ):
        assert part in moments, part


def test_a_run_that_recorded_nothing_is_a_page_too() -> None:
    text = html.render(History(), Verdict(Grade.INCONCLUSIVE, (), ()), "nothing")
    assert "INCONCLUSIVE" in text
    assert "<svg class" not in text
    Page(text)
