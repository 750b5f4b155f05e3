"""Pair sets: folders of images and masks with a manifest, the one format between all stages."""
