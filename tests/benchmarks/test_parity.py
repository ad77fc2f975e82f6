"""A comparison with published scorers fails where something differs, or nothing was compared."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[2] / "benchmarks" / "parity"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("difference", "published", "words"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(HERE))


def test_a_difference_fails() -> None:
    from difference import Check

    check = Check("a figure", "a package")
    assert check.failed  # nothing was compared
    check.compare("text", 1.0, 1.004, within=0.005)
    check.compare("text", "a", "a")
    check.compare("documented", 1.0, 2.0, known=True)
    assert (check.cases, check.known, check.differ, check.failed) == (2, 1, 0, False)
    check.compare("text", None, 1.0)
    check.compare("text", 1.0, 1.1, within=0.005)
    assert (check.differ, check.failed, len(check.examples)) == (2, True, 2)
    assert not Check("a figure", "a package", agrees=False, cases=1, differ=1).failed


def test_cases_are_made_by_the_seed_and_vary() -> None:
    from words import Words

    def drawn(seed: int) -> list[object]:
        words = Words(seed, ["dont", "don't"])
        people = words.people()
        return [words.answer(), people, words.given(people), words.letter(3), words.share()]

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


def test_a_module_is_imported_without_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from published import published

    inner = tmp_path / "outer_" / "inner_"
    inner.mkdir(parents=True)
    (tmp_path / "outer_" / "__init__.py").write_text("raise RuntimeError('heavy')\n")
    (inner / "part.py").write_text("from outer_.inner_ import other\nVALUE = other.VALUE\n")
    (inner / "other.py").write_text("VALUE = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert published("outer_.inner_.part").VALUE == 3
    with pytest.raises(ModuleNotFoundError, match="'nowhere_' is not installed"):
        published("nowhere_.part")
