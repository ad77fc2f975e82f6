from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qvlm.artefacts.scores import Scores
from qvlm.data import Sample, open_source
from qvlm.errors import ArtefactError, DataError, OutputError
from qvlm.evaluation import evaluate
from qvlm.evaluation.answers import read_answers
from tiny.scienceqa import sample, write_scienceqa
from tiny.scripted import Scripted

TESTS = Path(__file__).resolve().parents[1]


def many(count: int) -> list[Sample]:
    picture = Path("x.png")
    return [
        sample(str(n), question="why? " * (1 + n % 5), image=picture if n % 3 else None)
        for n in range(count)
    ]


def run(samples: Sequence[Sample], generator: Scripted | None = None, **options: object) -> Scores:
    arguments = {"batch_size": 4, "model_fingerprint": "m", **options}
    return evaluate(generator or Scripted(), samples, **arguments)  # type: ignore[arg-type]


def timeless(scores: Scores) -> Scores:
    return scores.model_copy(update={"seconds": 0.0, "generation_seconds": 0.0, "resumed": 0})


def test_scores_of_the_folder_checked_by_hand(tmp_path: Path) -> None:
    samples = open_source(str(write_scienceqa(tmp_path)), "test")
    scores = run(samples)
    # ids 1..6 -> "B", "?", "A", "B", "?", "A": 1 and 4 are right
    assert {n: (c.correct, c.count) for n, c in scores.columns.items()} == {
        "NAT": (1, 2),
        "SOC": (0, 2),
        "LAN": (1, 2),
        "TXT": (2, 3),
        "IMG": (1, 3),
        "NO": (0, 2),
        "G1-6": (1, 3),
        "G7-12": (1, 3),
        "Avg": (2, 6),
    }
    assert (scores.total, scores.unparsed, scores.split, scores.task) == (6, 2, "test", "scienceqa")
    assert scores.overall.accuracy == pytest.approx(100 / 3)
    assert Scores.model_validate_json(scores.model_dump_json()) == scores


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 9), st.randoms(use_true_random=False))
def test_order_does_not_matter(count: int, batch_size: int, rng: random.Random) -> None:
    samples = many(count)
    scores = run(samples, batch_size=batch_size)
    shuffled = rng.sample(samples, count)
    assert timeless(run(shuffled, batch_size=batch_size)) == timeless(scores)
    for column in scores.columns.values():
        assert 0 <= column.correct <= column.count <= count
        if column.accuracy is None:
            assert column.count == 0
            continue
        assert column.low is not None and column.high is not None
        assert 0 <= column.low <= column.accuracy + 1e-9
        assert column.accuracy - 1e-9 <= column.high <= 100


def test_batches_do_not_depend_on_the_order_of_the_samples() -> None:
    plain, shuffled = Scripted(), Scripted()
    run(many(20), plain)
    run(random.Random(0).sample(many(20), 20), shuffled)
    assert shuffled.batches == plain.batches


def test_batches_hold_one_modality() -> None:
    generator = Scripted()
    samples = {s.key: s for s in many(20)}
    run(list(samples.values()), generator)
    for batch in generator.batches:
        assert len({samples[key].image is None for key in batch}) == 1
        assert len(batch) <= 4


@pytest.mark.parametrize("stop_after", [0, 1, 3])
def test_a_resumed_run_equals_an_undisturbed_one(tmp_path: Path, stop_after: int) -> None:
    samples = many(20)
    plain = run(samples, answers=tmp_path / "plain")
    path = tmp_path / "resumed"
    with pytest.raises(KeyboardInterrupt):
        run(samples, Scripted(stop_after), answers=path)
    assert len(read_answers(path)) == 4 * stop_after
    resumed = run(samples, answers=path)
    assert resumed.resumed == 4 * stop_after
    assert timeless(resumed) == timeless(plain)
    assert path.read_bytes() == (tmp_path / "plain").read_bytes()


def test_a_cut_inside_a_batch_asks_the_same_batch_again(tmp_path: Path) -> None:
    samples, path = many(20), tmp_path / "answers"
    first = Scripted()
    run(samples, first, answers=path)
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:7]))
    second = Scripted()
    run(samples, second, answers=path)
    assert path.read_bytes() == whole
    assert second.batches == first.batches[1:]


def test_a_finished_run_asks_nothing(tmp_path: Path) -> None:
    run(many(5), answers=tmp_path / "answers")
    generator = Scripted()
    scores = run(many(5), generator, answers=tmp_path / "answers")
    assert generator.batches == []
    assert (scores.resumed, scores.generation_seconds) == (5, 0.0)


def test_kill_9_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    code = textwrap.dedent(
        f"""
        import os, signal, sys
        from pathlib import Path
        sys.path[:0] = [{str(TESTS)!r}, {str(TESTS / "evaluation")!r}]
        from test_run import many, run
        from tiny.scripted import Scripted
        class Killed(Scripted):
            def generate(self, samples):
                if len(self.batches) == 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().generate(samples)
        run(many(20), Killed(), answers=Path({str(tmp_path / "answers")!r}))
        """
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    scores = run(many(20), answers=tmp_path / "answers")
    assert scores.resumed == 8
    run(many(20), answers=tmp_path / "plain")
    assert (tmp_path / "answers").read_bytes() == (tmp_path / "plain").read_bytes()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"model_fingerprint": "n"}, "model"),
        ({"task": "picoscience"}, "task"),
        ({"batch_size": 5}, "batch_size"),
        ({"limit": 3}, "data_sha"),
        ({"generator": Scripted(max_new_tokens=9)}, "max_new_tokens"),
    ],
)
def test_answers_of_another_run_are_refused(
    tmp_path: Path, options: dict[str, object], field: str
) -> None:
    path = tmp_path / "answers"
    run(many(5), answers=path)
    before = path.read_bytes()
    with pytest.raises(OutputError, match=f"are of another run: {field} is"):
        run(many(5), answers=path, **options)  # type: ignore[arg-type]
    assert path.read_bytes() == before


def test_an_answer_to_an_unasked_question_is_corruption(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    run(many(5), answers=path)
    with path.open("a") as file:
        file.write('{"id": "test/99", "text": "A"}\n')
    with pytest.raises(ArtefactError, match="they hold 'test/99', which was not asked"):
        run(many(5), answers=path)


def test_limit_draws_by_seed() -> None:
    drawn = run(many(20), limit=6, seed=1)
    assert (drawn.total, drawn.settings.limit, drawn.settings.seed) == (6, 6, 1)
    assert run(many(20), limit=6, seed=1).settings == drawn.settings
    assert run(many(20), limit=6, seed=2).settings.data_sha != drawn.settings.data_sha
    with pytest.raises(DataError, match="30 samples were asked for"):
        run(many(20), limit=30)


def test_progress_counts_to_the_end() -> None:
    seen: list[tuple[int, int]] = []
    run(many(10), progress=lambda done, total, _note: seen.append((done, total)))
    assert seen[0] == (0, 10)
    assert seen[-1] == (10, 10)
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        ([], {}, "there are no samples"),
        ([sample("1"), sample("1")], {}, "sample test/1 occurs twice"),
        ([sample("1")], {"batch_size": 0}, "batch size 0"),
        ([sample("1")], {"task": "vqa"}, "task 'vqa' is unknown"),
    ],
)
def test_bad_input(samples: list[Sample], options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        run(samples, **options)  # type: ignore[arg-type]
