"""The statistics against closed forms, naive loops and two libraries."""

import numpy as np
import pytest
import torch

from evaluation.scores.distances import clip_i, frechet, mmd2_subsets, mmd2_u, mmd2_v, poly, rbf


def _sets(n: int, m: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (n, d)) @ rng.normal(0, 1, (d, d)), rng.normal(0.3, 1.2, (m, d))


@pytest.mark.parametrize(("n", "m", "d"), [(30, 30, 64), (40, 25, 64), (200, 150, 16), (100, 12, 16), (12, 100, 16)])
def test_frechet_equals_torch_fidelity(n: int, m: int, d: int) -> None:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    x, y = _sets(n, m, d)
    statistics = [fid_features_to_statistics(torch.from_numpy(z)) for z in (x, y)]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet(x, y) == pytest.approx(theirs, rel=1e-5)


def test_frechet_of_one_dimension_is_the_closed_form() -> None:
    x, y = _sets(50, 70, 1)
    expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet(x, y) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("n", [10, 200])
def test_frechet_of_copies_is_zero_in_any_order(n: int) -> None:
    x = _sets(n, n, 32)[0] / 32
    assert abs(frechet(x, x[::-1])) < 1e-9


@pytest.mark.parametrize("kernel", [poly, rbf])
def test_mmd_equals_a_double_loop(kernel) -> None:
    x, y = _sets(9, 7, 5)

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (a @ b / 5 + 1) ** 3 if kernel is poly else np.exp(-((a - b) ** 2).sum() / 200)

    def within(z: np.ndarray, diagonal: bool) -> float:
        values = [k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if diagonal or i != j]
        return sum(values) / len(values)

    cross = sum(k(a, b) for a in x for b in y) / (len(x) * len(y))
    assert mmd2_u(x, y, kernel)[0] == pytest.approx(within(x, False) + within(y, False) - 2 * cross, rel=1e-9)
    assert mmd2_v(x, y, kernel) == pytest.approx(within(x, True) + within(y, True) - 2 * cross, rel=1e-9)


def test_kid_equals_torch_fidelity_and_torchmetrics() -> None:
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    class Identity(torch.nn.Module):
        num_features = 16

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    x, y = _sets(60, 60, 16)
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    value = mmd2_u(x, y, poly)[0]
    options = {"kid_subsets": 1, "kid_subset_size": 60, "kid_kernel": "poly", "rng_seed": 0, "verbose": False}
    theirs = kid_features_to_metric(a, b, **options)["kernel_inception_distance_mean"]
    assert value == pytest.approx(theirs, rel=1e-6)

    kid = KernelInceptionDistance(feature=Identity(), subsets=1, subset_size=60).set_dtype(torch.float64)
    fid = FrechetInceptionDistance(feature=Identity()).set_dtype(torch.float64)
    for metric in (kid, fid):
        metric.update(a, real=True)
        metric.update(b, real=False)
    assert value == pytest.approx(float(kid.compute()[0]), rel=1e-5)
    assert frechet(x, y) == pytest.approx(float(fid.compute()), rel=1e-5)


@pytest.mark.parametrize("kernel", [poly, rbf])
def test_jackknife_equals_leaving_each_image_out(kernel) -> None:
    x, y = _sets(8, 11, 4)
    without_x = np.array([mmd2_u(np.delete(x, i, 0), y, kernel)[0] for i in range(8)])
    without_y = np.array([mmd2_u(x, np.delete(y, i, 0), kernel)[0] for i in range(11)])
    variance = sum((len(w) - 1) / len(w) * ((w - w.mean()) ** 2).sum() for w in (without_x, without_y))
    assert mmd2_u(x, y, kernel)[1] == pytest.approx(np.sqrt(variance), rel=1e-6)


def test_unbiased_estimate_of_equal_distributions_is_zero_on_average_and_not_clipped() -> None:
    rng = np.random.default_rng(0)
    values, errors = zip(*(mmd2_u(*rng.normal(0, 1, (2, 40, 8)), poly) for _ in range(200)), strict=True)
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)
    assert min(values) < 0 < max(values)
    assert np.std(values) < np.mean(errors) < 1.7 * np.std(values)


def test_jackknife_error_is_the_spread_over_data_sets_where_the_distributions_differ() -> None:
    rng = np.random.default_rng(0)
    draws = [mmd2_u(rng.normal(0, 1, (40, 8)), rng.normal(0.8, 1, (40, 8)), poly) for _ in range(200)]
    values, errors = zip(*draws, strict=True)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.2)


def test_bias_of_cmmd_is_what_the_specification_predicts() -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.normal(0.5, 1, (n, 64)) for n in (40, 60))
    x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    bias = 1000 * (mmd2_v(x, y, rbf) - mmd2_u(x, y, rbf)[0])
    predicted = sum(10 * (1 - (z.mean(0) ** 2).sum()) / (len(z) - 1) for z in (x, y))
    assert bias == pytest.approx(predicted, rel=0.01)


def test_subsets_of_the_whole_set_are_the_whole_set() -> None:
    x, y = _sets(20, 20, 6)
    mean, sd = mmd2_subsets(x, y, poly, subsets=5, size=20, rng=np.random.default_rng(0))
    assert mean == pytest.approx(mmd2_u(x, y, poly)[0], rel=1e-9)
    assert sd < 1e-9 * abs(mean)
    mean, sd = mmd2_subsets(x, y, poly, subsets=400, size=10, rng=np.random.default_rng(0))
    assert mean == pytest.approx(mmd2_u(x, y, poly)[0], abs=5 * sd / 20)
    assert sd > 0


def test_clip_i_equals_the_mean_over_all_pairs() -> None:
    x, y = _sets(9, 7, 5)
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a in x for b in y]
    assert clip_i(x, y) == pytest.approx(np.mean(cosines), rel=1e-12)


@pytest.mark.parametrize("statistic", [frechet, clip_i, lambda x, y: mmd2_u(x, y, poly)[0]])
def test_order_does_not_matter(statistic) -> None:
    x, y = _sets(30, 20, 8)
    rng = np.random.default_rng(1)
    assert statistic(rng.permutation(x), rng.permutation(y)) == pytest.approx(statistic(x, y), rel=1e-9)
