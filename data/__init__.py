"""Floor 2: pairs of images and masks. The code is in data/pairs, so that stages can depend on it."""
