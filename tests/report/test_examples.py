"""The page of differences: complete, harmless, and with its pictures inside."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from qvlm.data import open_source
from qvlm.evaluation.tasks import load_task
from qvlm.pipeline.examples import differences_page
from qvlm.report.examples import Example, examples_page
from tiny.scienceqa import edit_problem, write_scienceqa


class Page(HTMLParser):
    """Collects tags, sources of pictures and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_differences_by_hand(tmp_path: Path) -> None:
    root = write_scienceqa(tmp_path)
    edit_problem(root, "1", question="<script>alert(1)</script> Which?")
    samples = open_source(str(root), "test")
    right = {sample.key: "B" for sample in samples}
    scorer = load_task("scienceqa").load_scorer()
    page = Page(
        differences_page(
            "A & B",
            samples,
            {"FP": {**right, "test/3": "A"}, "W4A4": {**right, "test/1": "<b>?", "test/2": "C"}},
            scorer,
        )
    )
    assert page.tags.count("article") == 3
    assert page.tags.count("script") == page.tags.count("b") == 0
    assert "<script>alert(1)</script> Which?" in page.words
    assert "A & B" in page.words
    assert "FP gets more credit for 2 and W4A4 for 1" in " ".join(page.words.split())
    assert "unparsed, counts as wrong" in page.words
    assert "B. the second" in page.words
    assert len(page.sources) == 2  # 1 and 2 have pictures, 3 has none
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert page.words.index("test/2") < page.words.index("test/3")


def test_no_differences_are_a_page_too(tmp_path: Path) -> None:
    samples = open_source(str(write_scienceqa(tmp_path)), "test")
    right = {sample.key: "B" for sample in samples}
    scorer = load_task("scienceqa").load_scorer()
    page = Page(differences_page("t", samples, {"x": right, "y": right}, scorer))
    assert "article" not in page.tags


def test_part_credits_are_numbers() -> None:
    one = Example("val/1", "q", (), "a", (("FP", "", 0.3), ("W4A4", "x", 0.9)))
    words = Page(examples_page("t", "s", [one])).words
    assert "credit 0.30" in words and "credit 0.90" in words and "(nothing)" in words
