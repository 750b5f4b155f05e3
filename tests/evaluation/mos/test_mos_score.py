"""Scores of a deck: textbook values, closed forms, and every fault of a rater file named."""

import argparse
import csv
import json

import numpy as np
import pytest
from scipy.stats import norm

from data.pairs.errors import UserError
from evaluation.mos.ratings import COLUMNS, Ratings, read_key, read_ratings
from evaluation.mos.score import (
    as_lines,
    balanced_accuracy,
    cluster_bootstrap,
    d_prime,
    fleiss_kappa,
    mcnemar,
    score,
    wilson,
)
from pipeline.commands import mos
from tests.evaluation.mos.sets import write_toy_deck

IMAGES = 4


def share(count, total):
    return np.arange(total) < count


@pytest.mark.parametrize(("count", "low", "high"), [(88, 0.507, 0.662), (73, 0.408, 0.566)])
def test_wilson_of_the_paper_read_as_150_answers(count, low, high):
    z, share_ = norm.ppf(0.975), count / 150
    middle, half = share_ + z**2 / 300, z * np.sqrt(share_ * (1 - share_) / 150 + z**2 / (4 * 150**2))
    assert wilson(share(count, 150)) == pytest.approx(
        ((middle - half) / (1 + z**2 / 150), (middle + half) / (1 + z**2 / 150))
    )
    assert wilson(share(count, 150)) == pytest.approx((low, high), abs=5e-4)


def test_the_bootstrap_counts_raters_and_images_as_drawn():
    rng = np.random.default_rng(0)
    raters, images = rng.normal(0, 1, 40), rng.normal(0, 1, 60)
    values = raters[:, None] + images  # its mean under both resamplings has the variance of two independent means
    low, high = cluster_bootstrap(values, rng, draws=20000)
    expected = 2 * norm.ppf(0.975) * np.sqrt(raters.var() / 40 + images.var() / 60)
    assert high - low == pytest.approx(expected, rel=0.04)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.05 * expected)


def test_raters_who_disagree_make_the_bootstrap_wider_than_wilson():
    judged = np.repeat([[True], [False], [True], [False]], 100, axis=1)
    low, high = cluster_bootstrap(judged, np.random.default_rng(0))
    wilson_low, wilson_high = wilson(judged)
    assert (low, high) == (0, 1)
    assert wilson_high - wilson_low < 0.1
    same = np.ones((3, 10), bool)
    assert cluster_bootstrap(same, np.random.default_rng(0)) == pytest.approx((1, 1))


def test_d_prime_and_balanced_accuracy():
    real, synthetic = share(84, 100), share(16, 100)
    assert balanced_accuracy(real, synthetic) == pytest.approx(0.84)
    assert d_prime(real, synthetic) == pytest.approx(2 * norm.ppf(84.5 / 101))
    assert d_prime(real, synthetic) == -d_prime(synthetic, real)
    always = np.ones(100, bool)
    assert balanced_accuracy(always, always) == 0.5
    assert d_prime(always, always) == 0
    assert np.isfinite(d_prime(always, ~always))


def test_fleiss_kappa_of_the_textbook():
    counts = [  # Fleiss 1971 as worked on Wikipedia: 10 subjects, 14 raters, 5 categories
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    assert fleiss_kappa(np.array(counts)) == pytest.approx(0.210, abs=5e-4)
    assert fleiss_kappa(np.array([[3, 0], [0, 3]])) == 1
    assert fleiss_kappa(np.array([[3, 0], [3, 0]])) is None


def test_mcnemar_is_the_sign_test_on_the_discordant():
    first, second = np.repeat([True, False, True], [5, 1, 20]), np.repeat([False, True, True], [5, 1, 20])
    assert mcnemar(first, second) == (pytest.approx(2 * (1 + 6) / 2**6), 5, 1)
    assert mcnemar(first, first) == (1, 0, 0)


@pytest.fixture(scope="module")
def key_folder(tmp_path_factory):
    return write_toy_deck(tmp_path_factory.mktemp("mos"), IMAGES)[1]


@pytest.fixture(scope="module")
def key(key_folder):
    return read_key(key_folder)


def answers(key, rater, says_real, confidence=7):
    """Return the rows of a rater of tests: `says_real` lists the sets that this one always takes for real."""
    return [
        [key.deck, rater, card.image, "real" if card.set in says_real else "synthetic", confidence, 1.5]
        for card in key.rated()
    ]


def write(path, rows, columns=COLUMNS):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def command(key_folder, ratings, out):
    parser = argparse.ArgumentParser()
    mos.add_arguments(parser)
    mos.run(vars(parser.parse_args(["score", "--key", str(key_folder), "--ratings", str(ratings), "--out", str(out)])))
    return json.loads(out.read_text())


def test_scores_of_three_raters(key, key_folder, tmp_path, capsys):
    """One sees through alpha only, one through both, one always says real."""
    for number, says_real in enumerate((["real", "omega-plain"], ["real"], ["real", "alpha-plain", "omega-plain"])):
        write(tmp_path / f"in/ratings-{number}.csv", answers(key, f"R{number}", says_real, confidence=4 + number))
    found = command(key_folder, tmp_path / "in", tmp_path / "out.json")
    alpha, omega = (found["sets"][name] for name in ("alpha-plain", "omega-plain"))
    assert alpha["mos"]["value"] == pytest.approx(1 / 3)
    assert omega["mos"]["value"] == pytest.approx(2 / 3)
    assert omega["mos"]["by_rater"] == [1, 0, 1]
    assert omega["mos"]["wilson_95"] == pytest.approx(wilson(share(8, 12)))
    assert omega["mos"]["bootstrap_95"] == [0, 1]
    assert (omega["mos"]["n_raters"], omega["mos"]["n_synthetic"], omega["mos"]["n_real"]) == (3, IMAGES, 0)
    assert (omega["d_prime"]["n_synthetic"], omega["d_prime"]["n_real"]) == (IMAGES, IMAGES)
    assert omega["mos_confidence"]["value"] == 5
    assert found["controls"]["judged_real"]["value"] == 1
    assert found["all"]["balanced_accuracy"]["by_rater"] == [0.75, 1, 0.5]
    assert found["all"]["balanced_accuracy"]["value"] == pytest.approx(0.75)
    assert found["all"]["d_prime"]["by_rater"][2] == pytest.approx(norm.ppf(4.5 / 5) - norm.ppf(8.5 / 9))
    (compared,) = found["comparisons"]
    assert compared["mcnemar"]["judged_real_only"] == [0, IMAGES]
    assert compared["mcnemar"]["value"] == pytest.approx(2 / 2**IMAGES)
    assert compared["mcnemar"]["difference"] == pytest.approx(-1 / 3)
    assert "alpha-plain: 0.333 (5.00)" in capsys.readouterr().out
    assert "R1" not in (tmp_path / "out.json").read_text()


def test_kappa_is_of_all_images(key, tmp_path):
    for number, says_real in enumerate((["real"], ["alpha-plain", "omega-plain"])):
        write(tmp_path / f"{number}.csv", answers(key, f"R{number}", says_real))
    found = score(key, read_ratings(tmp_path, key), np.random.default_rng(0))
    assert found["all"]["fleiss_kappa"]["value"] == pytest.approx(-1)  # both halves used equally, never alike
    assert found["all"]["fleiss_kappa"]["n_images"] == 3 * IMAGES


def test_one_rater_has_no_kappa_and_a_warning_on_the_interval(key, tmp_path):
    write(tmp_path / "a.csv", answers(key, "R", ["real"]))
    found = score(key, read_ratings(tmp_path, key), np.random.default_rng(0))
    assert found["all"]["fleiss_kappa"]["value"] is None
    assert found["all"]["fleiss_kappa"]["reason"] == "needs two raters"
    assert "With one rater" in found["sets"]["alpha-plain"]["mos"]["note"]
    assert as_lines(found)[0] == "1 raters, 3 were planned"


def test_sets_without_a_shared_mask_are_not_compared(key, tmp_path):
    moved = key._replace(
        cards=tuple(card._replace(mask_sha256="other") if card.set == "omega-plain" else card for card in key.cards)
    )
    write(tmp_path / "a.csv", answers(key, "R", ["real"]))
    found = score(moved, read_ratings(tmp_path, moved), np.random.default_rng(0))
    assert found["comparisons"][0]["mcnemar"]["value"] is None
    assert found["comparisons"][0]["mcnemar"]["reason"] == "the sets share no mask"


@pytest.mark.parametrize("made", [True, False])
def test_without_a_rater_every_value_is_null_with_the_reason(key_folder, tmp_path, made):
    if made:
        (tmp_path / "in").mkdir()
    found = command(key_folder, tmp_path / "in", tmp_path / "out.json")
    rows = [row for part in (*found["sets"].values(), found["controls"], found["all"]) for row in part.values()]
    rows += [one["mcnemar"] for one in found["comparisons"]]
    assert len(rows) == 2 * 4 + 2 + 3 + 1
    assert {row["value"] for row in rows} == {None}
    assert {row["reason"] for row in rows} == {f"no rater file in {tmp_path / 'in'}"}


def test_the_same_answers_give_the_same_bytes(key, key_folder, tmp_path):
    rng = np.random.default_rng(0)
    for rater in "abc":
        rows = [[*row[:3], rng.choice(["real", "synthetic"]), *row[4:]] for row in answers(key, rater, [])]
        write(tmp_path / f"in/{rater}.csv", rng.permutation(np.array(rows, object)).tolist())
    for name in "12":
        command(key_folder, tmp_path / "in", tmp_path / f"{name}.json")
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


def test_the_order_of_rows_and_a_byte_order_mark_do_not_matter(key, tmp_path):
    rows = answers(key, "R", ["real", "omega-plain"])
    write(tmp_path / "a/r.csv", rows)
    write(tmp_path / "b/r.csv", rows[::-1])
    path = tmp_path / "b/r.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    first, second = (read_ratings(tmp_path / name, key) for name in "ab")
    assert isinstance(first, Ratings)
    np.testing.assert_array_equal(first.real, second.real)


def test_every_fault_of_every_file_is_named_at_once(key, tmp_path):
    right = answers(key, "good", ["real"])
    practice = next(card.image for card in key.cards if card.use == "practice")
    faults = {
        "double": ([*right, right[0]], "1 images answered twice: " + right[0][2]),
        "missing": (right[1:], "1 images without an answer: " + right[0][2]),
        "unknown": ([*right, [*right[0][:2], "ffff", *right[0][3:]]], "1 unknown images: ffff"),
        "practice": ([*right, [*right[0][:2], practice, *right[0][3:]]], f"1 unknown images: {practice}"),
        "answer": ([[*right[0][:3], "maybe", 5, 1], *right[1:]], f"{right[0][2]} (maybe)"),
        "confidence": ([[*right[0][:4], 11, 1], *right[1:]], f"{right[0][2]} (11)"),
        "half": ([[*right[0][:4], 5.5, 1], *right[1:]], f"{right[0][2]} (5.5)"),
        "deck": ([["other", *row[1:]] for row in right], f"wrong deck: other, the key is that of {key.deck}"),
        "mixed": ([[right[0][0], "guest", *right[0][2:]], *right[1:]], "the rater must be one and the same"),
        "empty": ([], "holds no answer"),
    }
    for name, (rows, _) in faults.items():
        named = [[row[0], name if row[1] == "good" else row[1], *row[2:]] for row in rows]
        write(tmp_path / f"{name}.csv", named)
    write(tmp_path / "columns.csv", [row[:4] for row in right], COLUMNS[:4])
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    for twin in "ab":
        write(tmp_path / f"twin-{twin}.csv", answers(key, "twin", []))
    with pytest.raises(UserError) as caught:
        read_ratings(tmp_path, key)
    lines = caught.value.problems
    for name, (_, expected) in faults.items():
        assert any(f"{name}.csv" in line and expected in line for line in lines), name
    assert any("columns.csv lacks the columns confidence, seconds" in line for line in lines)
    assert any("binary.csv is no UTF-8 text" in line for line in lines)
    assert any("rater twin has 2 files" in line for line in lines)
    assert len(lines) == len(faults) + 3


def test_a_folder_that_is_no_key_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not the key of a deck"):
        read_key(tmp_path)


def test_all_answers_add_up(key, tmp_path):
    """Balanced accuracy, MOS and the control rate are three views of one table."""
    rng = np.random.default_rng(1)
    for number in range(3):
        rows = [[*row[:3], rng.choice(["real", "synthetic"]), *row[4:]] for row in answers(key, f"R{number}", [])]
        write(tmp_path / f"{number}.csv", rows)
    found = score(key, read_ratings(tmp_path, key), np.random.default_rng(0))
    rate = found["controls"]["judged_real"]["value"]
    passed = np.mean([rows["mos"]["value"] for rows in found["sets"].values()])
    assert found["all"]["balanced_accuracy"]["value"] == pytest.approx((rate + 1 - passed) / 2)
