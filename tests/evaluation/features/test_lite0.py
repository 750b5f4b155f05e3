"""Features of lite0: what they are, that each is of its image alone, and the two distances against a library."""

import numpy as np
import pytest
import torch

from data.pairs.errors import UserError
from data.pretrained import lite0
from evaluation.features.config import FeaturesConfig, ScoresConfig
from evaluation.features.extractors import extract_features
from evaluation.features.images import Images
from evaluation.features.lite0 import SIDE_PX, lite0_features
from evaluation.scores.by_extractor import lite0_entries


def test_they_are_what_the_classifier_sees(draw) -> None:
    network = lite0.lite0_network()
    images = draw(1, 0, size=SIDE_PX)[0]
    found = lite0_features(network, images)
    assert (found.shape, found.dtype) == ((1, 1280), np.float32)
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        logits = network(lite0.normalised(x))
        torch.testing.assert_close(network.classifier(torch.from_numpy(found)), logits)


def test_each_is_of_its_image_alone(draw) -> None:
    network = lite0.lite0_network()
    images = draw(5, 0)[0]
    together = lite0_features(network, images)
    np.testing.assert_array_equal(lite0_features(network, images[::-1].copy()), together[::-1])
    np.testing.assert_array_equal(lite0_features(network, images[3:4]), together[3:4])


def test_distances_are_those_of_the_libraries(draw, images_of) -> None:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric

    train, holdout, synthetic = (images_of(*draw(12, seed), name) for seed, name in enumerate(("t", "h", "s")))
    parts = {"train": train, "holdout": holdout, "codec": train, "synthetic": synthetic}
    features = extract_features("lite0", train.set, parts, FeaturesConfig(), {})
    entries = lite0_entries(features, ScoresConfig(extractors=("lite0",)))
    x, y = (torch.from_numpy(features[part]["features"]).double() for part in ("train", "synthetic"))
    kid = kid_features_to_metric(y, x, kid_subsets=1, kid_subset_size=12, verbose=False)
    assert entries["lite0_kernel"]["value"] == pytest.approx(kid["kernel_inception_distance_mean"], rel=1e-9)
    fid = fid_statistics_to_metric(*(fid_features_to_statistics(one) for one in (y, x)), verbose=False)
    assert entries["lite0_frechet"]["value"] == pytest.approx(fid["frechet_inception_distance"], rel=1e-5)


def test_without_the_package_nothing_is_read(draw, save, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(lite0, "PACKAGE", "not-here-at-all")
    pairs = save(tmp_path / "set", *draw(1, 0), "p")
    (tmp_path / "set/images/p000.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="needs the package not-here-at-all"):
        extract_features("lite0", pairs, {"train": Images(pairs)}, FeaturesConfig(), {})
