"""SANet's probability correction, which makes the smaller side of a map as sure as the larger one."""

import numpy as np


def probability_correction(logit: np.ndarray) -> np.ndarray:
    """Return the logit (H, W) divided by the share of positive pixels where positive, of negative ones where negative.

    Signs stay, so that nothing changes at z > 0 or a probability above 0.5; measures over many thresholds do. Source:
    spec/segmenters.md 1.4.
    """
    positive, negative = logit > 0, logit < 0
    share = np.where(positive, positive.mean(), np.where(negative, negative.mean(), 1.0))
    return (logit / share).astype(logit.dtype)
