"""The copy audit: planted copies are found, fresh images are not, and the rates mean what they say."""

import itertools

import cv2
import numpy as np
import pytest

from data.prepare.phantom_styles import draw_pair
from evaluation.audit import nearest
from evaluation.audit.copies import audit, chance_of_closer
from evaluation.audit.thumbnails import WINDOWS, thumbnails


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def phantoms() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return 48 phantoms to train on, 120 held out, 48 fresh ones: unlike `pictures` they have more than grain."""
    images = [draw_pair("endoscopy", "same", 0, f"p{number}", 64)[0] for number in range(216)]
    return np.stack(images[:48]), np.stack(images[48:168]), np.stack(images[168:])


@pytest.fixture
def pictures(draw):
    """Real images of one source: 60 to train on, 120 held out, 60 fresh ones."""
    images, _ = draw(240, 7)
    return images[:60], images[60:180], images[180:]


def run(train, holdout, synthetic, parents=None, **more):
    ids = [f"r{i}" for i in range(len(train))]
    parents = ids[: len(synthetic)] if parents is None else parents
    return audit(*(thumbnails(one) for one in (train, holdout, synthetic)), train_ids=ids, parents=parents, **more)


PLANTED = {
    "as it is": lambda x, rng: x,
    "noise": lambda x, rng: (x + rng.normal(0, 8, x.shape)).clip(0, 255).round().astype(np.uint8),
    "mirrored": lambda x, rng: x[:, :, ::-1],
    "turned": lambda x, rng: np.rot90(x, 1, (1, 2)),
    "turned and mirrored": lambda x, rng: np.rot90(x[:, :, ::-1], 3, (1, 2)),
    "recoloured": lambda x, rng: (x * rng.uniform(0.9, 1.1, (len(x), 1, 1, 3))).clip(0, 255).round().astype(np.uint8),
    "darker": lambda x, rng: (x * 0.6).round().astype(np.uint8),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_planted_copies_are_flagged_and_their_originals_named(pictures, rng, kind: str) -> None:
    train, holdout, _ = pictures
    found = run(train, holdout, PLANTED[kind](train, rng))
    assert found.copy_rate == 1
    assert found.copy_rate_parent == 1
    assert found.copy_rate_other == 0
    assert found.self_retrieval == 1
    np.testing.assert_array_equal(found.nearest, np.arange(len(train)))


def test_the_training_set_itself_is_at_distance_zero(pictures) -> None:
    train, holdout, _ = pictures
    found = run(train, holdout, train)
    assert (found.distance == 0).all()
    assert found.copy_rate == 1
    assert found.closer_to_train == 1


def test_few_held_out_images_lower_what_copies_reach(draw) -> None:
    images, _ = draw(150, 3)
    found = run(images[:120], images[120:], images[:120])
    assert found.closer_of_copies == 0.625
    assert found.closer_to_train == pytest.approx(0.625, abs=0.08)


def test_fresh_images_are_not_copies(pictures) -> None:
    found = run(*pictures)
    assert found.expected_rate == pytest.approx(1 / 121)
    assert found.copy_rate <= 0.05
    assert found.closer_to_train == pytest.approx(0.5, abs=0.12)
    assert found.self_retrieval < 0.2


def test_the_expected_rate_is_kept_whatever_the_data(rng) -> None:
    """Exchangeable images are flagged at k / (n + 1), also where a quantile of so few must be coarse."""
    rates = []
    for _ in range(200):
        train, holdout, fresh = (rng.normal(size=(n, 6)) for n in (15, 25, 60))
        found = audit(train, holdout, fresh, train_ids=["a"] * 15, parents=[""] * 60, quantile=0.1)
        rates.append(found.copy_rate)
        assert found.expected_rate == pytest.approx(2 / 26)
    assert np.mean(rates) == pytest.approx(2 / 26, abs=4 * np.std(rates) / 200**0.5)


def test_copies_of_the_parent_are_told_from_copies_of_others(pictures) -> None:
    train, holdout, fresh = pictures
    mixed = np.concatenate([train[:20], train[30:40], fresh[:10]])
    parents = [f"r{i}" for i in [*range(20), *range(10), *range(10)]]
    found = run(train, holdout, mixed, parents)
    assert found.copy_rate_parent == 0.5
    assert found.copy_rate_other >= 0.25
    assert found.copy_rate == pytest.approx(found.copy_rate_parent + found.copy_rate_other)
    assert found.nearest_is_parent[:30].tolist() == [True] * 20 + [False] * 10


def plain_tile(small: np.ndarray, side: float, down: float, right: float) -> np.ndarray:
    """Return the tile of one thumbnail by another way: enlarged until windows and tiles are whole cells, then means."""
    fine = np.kron(small.astype(float), np.ones((10, 10, 1)))
    top, left = (round(320 * (0.5 + way - side / 2)) for way in (down, right))
    size = round(320 * side)
    tile = fine[top : top + size, left : left + size].reshape(16, size // 16, 16, size // 16, 3).mean((1, 3))
    tile -= tile.mean((0, 1))
    return tile / np.maximum(tile.std((0, 1)), 1)


@pytest.mark.heavy
def test_distance_equals_a_plain_loop(pictures) -> None:
    train, holdout, fresh = (thumbnails(one[:25]) for one in pictures)
    found = audit(train, holdout, fresh, train_ids=list(map(str, range(25))), parents=[""] * 25)
    tiles = [[plain_tile(point, *window) for window in WINDOWS] for point in train]

    def distances(query: np.ndarray) -> list[float]:
        middle = plain_tile(query, 0.9, 0, 0)
        views = np.stack([np.rot90(flipped, turns) for flipped in (middle, middle[::-1]) for turns in range(4)])
        return [min(((views - tile) ** 2).mean((1, 2, 3)).min() ** 0.5 for tile in of_point) for of_point in tiles]

    table, calibration = (np.array([distances(query) for query in one]) for one in (fresh, holdout))
    np.testing.assert_allclose(found.distance, table.min(1) / np.sort(table)[:, 2], rtol=1e-5)
    np.testing.assert_array_equal(found.nearest, table.argmin(1))
    assert found.threshold == pytest.approx((calibration.min(1) / np.sort(calibration)[:, 2]).min(), rel=1e-5)


def blurred(images: np.ndarray, sd: float) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(image, (0, 0), sd) for image in images])


def soft(images: np.ndarray, sd: float) -> np.ndarray:
    mean = images.mean((1, 2), keepdims=True)
    return (mean + 0.6 * (blurred(images, sd) - mean)).clip(0, 255).round().astype(np.uint8)


CHANGED = {
    "blurred": lambda x: blurred(x, 3),
    "moved": lambda x: np.roll(x, (3, -3), (1, 2)),
    "moved by less than a step": lambda x: np.roll(x, 2, 1),
    "cropped": lambda x: np.stack([cv2.resize(image[3:-3, 3:-3], (64, 64)) for image in x]),
    "cropped at two sides": lambda x: np.stack([cv2.resize(image[6:, :-6], (64, 64)) for image in x]),
    "moved, mirrored": lambda x: np.roll(x, 3, (1, 2))[:, :, ::-1],
}


@pytest.mark.parametrize("kind", CHANGED)
def test_moved_cropped_and_blurred_copies_are_flagged(phantoms, kind: str) -> None:
    train, holdout, _ = phantoms
    found = run(train, holdout, CHANGED[kind](train))
    assert found.copy_rate == 1
    assert found.self_retrieval == 1


@pytest.mark.parametrize("sd", [1, 2, 3])
def test_soft_fresh_images_are_no_copies_and_soft_copies_are(phantoms, sd: int) -> None:
    """Without detail an image is near to every training image, which says nothing of one of them."""
    train, holdout, fresh = phantoms
    assert run(train, holdout, soft(fresh, sd)).copy_rate <= 0.05
    assert run(train, holdout, soft(train, sd)).copy_rate == 1


@pytest.mark.parametrize(("n_train", "n_holdout"), [(7, 4), (4, 7), (5, 5)])
def test_closer_to_train_is_the_mean_over_all_subsets(rng, n_train: int, n_holdout: int) -> None:
    train, holdout, fresh = (rng.normal(size=(n, 3)) for n in (n_train, n_holdout, 11))
    ours, theirs = (np.linalg.norm(fresh[:, None] - one, axis=2) for one in (train, holdout))
    size = min(n_train, n_holdout)
    shares = [
        (ours[:, list(a)].min(1) < theirs[:, list(b)].min(1)).mean()
        for a in itertools.combinations(range(n_train), size)
        for b in itertools.combinations(range(n_holdout), size)
    ]
    assert chance_of_closer(ours, theirs).mean() == pytest.approx(np.mean(shares))


def test_block_size_does_not_matter(pictures, monkeypatch) -> None:
    whole = run(*pictures)
    monkeypatch.setattr(nearest, "BLOCK", 25)
    parts = run(*pictures)
    np.testing.assert_allclose(parts.distance, whole.distance, rtol=1e-6)
    assert parts.closer_to_train == pytest.approx(whole.closer_to_train)


def test_small_holdouts_say_so(pictures) -> None:
    train, holdout, fresh = pictures
    coarse = run(train, holdout[:30], fresh)
    assert coarse.expected_rate == pytest.approx(1 / 31)
    assert "30 held-out" in coarse.note
    none = run(train, holdout[:19], fresh)
    assert none.copy_rate is None
    assert none.copy_rate_parent is None
    assert "19 held-out" in none.reason
    assert none.self_retrieval is not None
    assert run(*pictures).note is None  # 120 images give 1 / 121, which is no more than 1 %


def test_no_parents_no_self_retrieval(pictures) -> None:
    assert run(*pictures, parents=[""] * 60).self_retrieval is None


def test_flat_images_are_no_copies_and_no_nan(pictures) -> None:
    train, holdout, _ = pictures
    flat = np.full_like(train[:5], 0)
    flat[1:] = np.arange(4)[:, None, None, None] * 60
    found = run(train, holdout, flat)
    assert not found.flagged.any()
    assert np.isfinite(found.distance).all()


def test_embeddings_know_no_scale(rng) -> None:
    train, holdout = rng.normal(size=(40, 16)), rng.normal(size=(120, 16))
    found = audit(train, holdout, 3 * train, train_ids=["x"] * 40, parents=["x"] * 40)
    assert found.copy_rate == 1
    np.testing.assert_allclose(found.distance, 0, atol=1e-7)
    turned = np.roll(train, 1, axis=1)
    cosine = (turned / np.linalg.norm(turned, axis=1, keepdims=True)) @ (
        train / np.linalg.norm(train, axis=1, keepdims=True)
    ).T
    found = audit(train, holdout, turned, train_ids=["x"] * 40, parents=["x"] * 40)
    cosine.sort(1)  # of 40 training images a tenth are 4
    np.testing.assert_allclose(found.distance**2, (1 - cosine[:, -1]) / (1 - cosine[:, -5]), rtol=1e-9)


def test_one_training_image_says_too_little(rng) -> None:
    found = audit(
        rng.normal(size=(1, 4)), rng.normal(size=(30, 4)), rng.normal(size=(5, 4)), train_ids=["a"], parents=[""] * 5
    )
    assert found.copy_rate is None
    assert "one training image" in found.reason


def test_the_same_image_twice_among_the_training_images_hides_no_copy(pictures) -> None:
    train, holdout, _ = pictures
    found = run(np.concatenate([train, train[:30]]), holdout, train)
    assert found.copy_rate == 1
    assert (found.distance == 0).all()
