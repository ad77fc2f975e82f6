"""CSV, plots and page of an analysis that was made up, so that every figure is known."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from qvlm.artefacts.analysis import (
    Analysis,
    AnalysisSample,
    ChannelRange,
    Correlation,
    LayerErrors,
    Link,
    Quality,
    SearchPoint,
)
from qvlm.artefacts.store import read_json, write_json
from qvlm.report.analysis import write_page, write_tables

MEASURED = Path(__file__).parents[2] / "benchmarks" / "analysis"
SAMPLES = 5
PLOTS = {
    "ded", "ded-entropy", "ded-quantization-error", "dependency", "depth-errors", "sweep-depth",
    "ranges",
}  # fmt: skip


def quality(correct: int) -> Quality:
    return Quality(samples=40, answer_loss=0.5, kl=0.1 / 3, correct=correct)


def made_up(**changes) -> Analysis:
    ded = tuple(0.1 * i / 3 for i in range(SAMPLES))
    fits = tuple(
        Correlation(measure=measure, proxy=proxy, over="all", samples=SAMPLES, r=r)
        for measure, proxy, r in (
            ("ded", "entropy", -0.5), ("ded", "quantization_error", 0.25),
            ("pair_ded", "entropy", None), ("pair_ded", "quantization_error", 1 / 3),
        )
    )  # fmt: skip
    fields = {
        "qvlm_version": "0",
        "model": "made-up",
        "architecture": "None",
        "recipe": {"name": "w4a4"},
        "calibration_source": "picoscience",
        "samples": [AnalysisSample(key=f"train/{i}", has_image=i < 2) for i in range(SAMPLES)],
        "held_out": "picoscience, split val",
        "held_out_ids": ["val/1"],
        "full_precision": quality(30),
        "start": quality(20),
        "layerwise_errors": [[0.2 + i / 7 for i in range(SAMPLES)]] * 3,
        "joint_errors": [[0.1 + i / 9 for i in range(SAMPLES)]] * 3,
        "blocks": [[0, 2], [2, 3]],
        "entropy": [2.0, 1.9],
        "quantization_error": [0.3, 0.1],
        "proxy_seconds": {"entropy": 0.5, "quantization_error": 1.0},
        "proxy_forward_equivalents": {"entropy": 0.0, "quantization_error": 3.0},
        "links": [
            Link(
                place="early", layer=0, ded=ded, pair_ded=ded, entropy=ded[::-1],
                quantization_error=ded, correlations=fits,
            ),
        ],
        "depth_errors": [
            LayerErrors(partition="recipe", depth=1, errors=(0.1, 0.2, 0.3)),
            LayerErrors(partition="fixed", depth=2, errors=(0.1, 0.2, 0.25)),
        ],
        "points": [
            SearchPoint(
                sweep="depth", value=d, overrides=(f"partition.depth={d}",), blocks=4 - d,
                forward_equivalents=1 / 3, seconds=d, quality=quality(20 + d),
            )
            for d in (1, 2, 3)
        ],
        "ranges": [
            ChannelRange(
                site=f"language.{layer}.attn_in", tower="language", layer=layer, role="attn_in",
                tokens=tokens, count=9, median=1.0, p99=2.0, maximum=30.0 + layer, outliers=1,
                top_channels=(3, 1), top_values=(30.0 + layer, 2.0),
            )
            for layer in range(3)
            for tokens in ("image", "text")
        ],
        "notes": ["a note"],
        "seconds": 1.0,
        "versions": {},
        "machine": {"processor": "none", "threads": "1"},
    }  # fmt: skip
    return Analysis.model_validate({**fields, **changes})


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    directory = tmp_path_factory.mktemp("analysis")
    analysis = made_up()
    write_tables(directory, analysis)
    write_page(directory, analysis)
    return directory, analysis


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_json_can_be_read_back(tmp_path):
    write_json(tmp_path / "analysis.json", made_up())
    assert read_json(tmp_path / "analysis.json", Analysis) == made_up()


def test_the_csv_files_hold_the_figures_of_the_json(written):
    directory, analysis = written
    ded = rows_of(directory / "ded.csv")
    assert [float(row["ded"]) for row in ded] == [x for layer in analysis.ded for x in layer]
    assert [float(row["joint_error"]) for row in ded] == [
        x for layer in analysis.joint_errors for x in layer
    ]
    links = rows_of(directory / "links.csv")
    (link,) = analysis.links
    for name in ("ded", "pair_ded", "entropy", "quantization_error"):
        assert tuple(float(row[name]) for row in links) == getattr(link, name)
    assert [row["sample"] for row in links] == [sample.key for sample in analysis.samples]
    fits = rows_of(directory / "correlations.csv")
    assert [float(row["r"]) if row["r"] else None for row in fits] == [
        fit.r for fit in link.correlations
    ]
    assert float(fits[0]["r_squared"]) == 0.25
    dependency = rows_of(directory / "dependency.csv")
    assert tuple(float(row["entropy"]) for row in dependency) == analysis.entropy
    depths = rows_of(directory / "depth_errors.csv")
    assert [float(row["error"]) for row in depths] == [
        error for run in analysis.depth_errors for error in run.errors
    ]
    sweeps = rows_of(directory / "sweeps.csv")
    assert [float(row["forward_equivalents"]) for row in sweeps] == [
        point.forward_equivalents for point in analysis.points
    ]
    assert [float(row["kl"]) for row in sweeps] == [point.quality.kl for point in analysis.points]
    ranges = rows_of(directory / "ranges.csv")
    assert [float(row["ratio"]) for row in ranges] == [item.ratio for item in analysis.ranges]


def test_every_plot_is_an_image_that_opens(written):
    directory, _ = written
    assert {path.stem for path in directory.glob("*.png")} == PLOTS
    assert {path.stem for path in directory.glob("*.svg")} == PLOTS
    for path in directory.glob("*.png"):
        with Image.open(path) as image:
            image.load()
            assert min(image.size) > 200
            assert len(image.convert("RGB").getcolors(1 << 24)) > 3  # not blank
    for path in directory.glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")  # noqa: S314


@pytest.mark.parametrize("name", ["pico-llava-w4a4", "smol-llava-w4a4"])
def test_nothing_reaches_the_edge_of_a_plot(tmp_path, name):
    """What was measured has ticks of all widths, beside which a label was cut off once."""
    write_page(tmp_path, read_json(MEASURED / name / "analysis.json", Analysis))
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as image:
            gray = image.convert("L")
            right, bottom = gray.width - 1, gray.height - 1
            for edge in (
                (0, 0, 1, bottom),
                (right, 0, right + 1, bottom),
                (0, 0, right, 1),
                (0, bottom, right, bottom + 1),
            ):
                assert gray.crop(edge).getextrema() == (255, 255), (path.name, edge)


@pytest.mark.parametrize(
    ("plot", "group", "count"),
    [
        ("ded", "samples-image", 3 * 2),
        ("ded", "samples-text", 3 * 3),
        ("ded-entropy", "scatter-early-ded", SAMPLES),
        ("ded-entropy", "scatter-early-pair_ded", SAMPLES),
        ("ded-quantization-error", "scatter-early-ded", SAMPLES),
    ],
)
def test_a_dot_for_every_sample(written, plot, group, count):
    directory, _ = written
    root = ElementTree.parse(directory / f"{plot}.svg").getroot()  # noqa: S314
    (dots,) = [element for element in root.iter() if element.get("id") == group]
    assert sum(element.tag.endswith("}use") for element in dots.iter()) == count


def test_the_page_shows_every_plot_with_a_sentence_and_the_tables(written):
    directory, _ = written
    text = (directory / "index.md").read_text()
    assert set(re.findall(r"\]\(([\w-]+)\.png\)", text)) == PLOTS
    for section in text.split("## ")[1:]:
        sentence = section.split("\n\n")[1]
        assert len(sentence) > 40
    assert "| 0,1 (early) | whole model | entropy | all | 5 | -0.50 | 0.25 |" in text
    assert "| 0,1 (early) | pair alone | entropy | all | 5 | - | - |" in text
    assert "- a note" in text
    assert "quantization error 3.0 forwards and 1.0 s" in text


def test_what_was_not_measured_is_not_drawn(tmp_path):
    write_page(tmp_path, made_up(links=[], points=[]))
    assert {path.stem for path in tmp_path.glob("*.png")} == PLOTS - {
        "ded-entropy", "ded-quantization-error", "sweep-depth",
    }  # fmt: skip


def test_the_same_figures_give_the_same_files(written, tmp_path):
    directory, analysis = written
    write_page(tmp_path, analysis)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (directory / path.name).read_bytes(), path.name


def test_the_report_needs_no_torch():
    program = (
        "import qvlm.report.plots, sys; assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
