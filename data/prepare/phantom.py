"""The phantom data set: endoscopy-like images with one lesion, drawn by the project so that nothing needs a download.

Every image is a function of (seed, id, size): mucosa with uneven light and folds, branching vessels, a lesion with its
own colour, pits and a soft edge, harmless patches that look like lesions without pits, specular highlights, noise. The
mask is exact: a pixel is lesion when more than half of it lies within the outline.
"""

import cv2
import numpy as np

from data.pairs.seeds import item_seed

Array = np.ndarray
SUPERSAMPLING = 4
RADII = (0.13, 0.27)  # of a lesion, shares of the side


def smooth_noise(rng: np.random.Generator, size_px: int, cells: float) -> Array:
    """Return float32 (size, size) of zero mean and unit deviation that varies over about size / cells pixels."""
    coarse = rng.standard_normal((int(np.ceil(cells)) + 3,) * 2).astype(np.float32)
    field = cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_CUBIC)
    return (field - field.mean()) / (field.std() + 1e-6)


def outline(rng: np.random.Generator, size_px: int, radius: float, center: tuple[float, float]) -> Array:
    """Return float (200, 2) points of a closed, smooth, star-shaped curve in pixels, x before y."""
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    bend = np.ones_like(angle)
    for order in range(2, 6):
        bend += rng.normal(0, 0.16 / order) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    stretch, turn = rng.uniform(0.75, 1.0), rng.uniform(0, np.pi)
    x, y = radius * bend * np.cos(angle), radius * bend * np.sin(angle) * stretch
    turned = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=1)
    return (turned + center) * size_px


def coverage(points: Array, size_px: int) -> Array:
    """Return float32 (size, size): the share of each pixel that lies within the outline, 0-1."""
    big = np.zeros((size_px * SUPERSAMPLING,) * 2, np.uint8)
    cv2.fillPoly(big, [np.round(points * SUPERSAMPLING).astype(np.int32)], 1)
    return cv2.resize(big.astype(np.float32), (size_px, size_px), interpolation=cv2.INTER_AREA)


def _vessels(rng: np.random.Generator, size_px: int) -> Array:
    """Return float32 (size, size) in 0-1: how strongly thin branching vessels show."""
    big = np.zeros((size_px * SUPERSAMPLING,) * 2, np.float32)
    width = max(1, round(0.012 * size_px * SUPERSAMPLING))
    starts = [(rng.uniform(0, 1, 2), rng.uniform(0, 2 * np.pi), 1.0) for _ in range(rng.integers(3, 6))]
    while starts:
        place, heading, strength = starts.pop()
        for _ in range(int(rng.integers(8, 16))):
            heading += rng.normal(0, 0.35)
            nearby = place + 0.045 * np.array([np.cos(heading), np.sin(heading)])
            ends = [tuple(int(v) for v in np.round(p * size_px * SUPERSAMPLING)) for p in (place, nearby)]
            cv2.line(big, ends[0], ends[1], float(strength), max(1, round(width * strength)), cv2.LINE_AA)
            place = nearby
            if strength > 0.5 and rng.random() < 0.12:
                starts.append((place, heading + rng.choice([-0.8, 0.8]), strength * 0.6))
    return np.clip(cv2.resize(big, (size_px, size_px), interpolation=cv2.INTER_AREA), 0, 1)


def highlights(rng: np.random.Generator, size_px: int, center: tuple[float, float], radius: float) -> Array:
    """Return float32 (size, size) in 0-1: small bright reflections, most of them on the lesion."""
    big = np.zeros((size_px * SUPERSAMPLING,) * 2, np.float32)
    for number in range(int(rng.integers(2, 6))):
        on_lesion = number < 2
        place = np.array(center) + rng.normal(0, 0.35 * radius, 2) if on_lesion else rng.uniform(0.05, 0.95, 2)
        axes = rng.uniform(0.008, 0.028, 2) * size_px * SUPERSAMPLING
        where = tuple(int(v) for v in place * size_px * SUPERSAMPLING)
        cv2.ellipse(big, where, tuple(int(max(1, v)) for v in axes), rng.uniform(0, 180), 0, 360, 1.0, -1, cv2.LINE_AA)
    return cv2.GaussianBlur(cv2.resize(big, (size_px, size_px), interpolation=cv2.INTER_AREA), (0, 0), 0.006 * size_px)


def _pits(rng: np.random.Generator, size_px: int) -> Array:
    """Return float32 (size, size) in about -1 to 1: the pits that only lesions have, 10 across the frame."""
    pitch = size_px / 10
    y, x = np.mgrid[:size_px, :size_px].astype(np.float32)
    turn = rng.uniform(0, np.pi)
    wobble = 0.8 * smooth_noise(rng, size_px, 6)
    u = (x * np.cos(turn) + y * np.sin(turn)) / pitch * 2 * np.pi + wobble
    v = (-x * np.sin(turn) + y * np.cos(turn)) / pitch * 2 * np.pi + wobble
    return (np.sin(u) * np.sin(v)).astype(np.float32)


def draw_lesion(
    rng: np.random.Generator, size_px: int, radii: tuple[float, float] | None
) -> tuple[float, tuple[float, float], Array]:
    """Return radius and centre of a lesion as shares of the side, and its coverage, which lies wholly in the frame.

    radii None: the coverage is empty.
    """
    radius = rng.uniform(*(radii or RADII))
    x, y = rng.uniform(1.25 * radius, 1 - 1.25 * radius, 2)
    inside = coverage(outline(rng, size_px, radius, (x, y)), size_px)
    return radius, (x, y), inside if radii else np.zeros_like(inside)


def finished(rng: np.random.Generator, image: Array, inside: Array, noise: float) -> tuple[Array, Array]:
    """Return image and mask as uint8 from values of 0-1: the image with noise, the mask where most is lesion."""
    image += rng.normal(0, noise, image.shape)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8), (inside > 0.5).astype(np.uint8)


def draw_phantom(
    seed: int, pair_id: str, size_px: int, radii: tuple[float, float] | None = RADII
) -> tuple[Array, Array]:
    """Return the image, uint8 (size, size, 3), and the mask, uint8 (size, size) in {0, 1}, of one phantom.

    radii: smallest and largest radius of a lesion as shares of the side; None draws none.
    """
    rng = np.random.default_rng(item_seed("phantom", seed, pair_id))
    y, x = np.mgrid[:size_px, :size_px].astype(np.float32) / size_px

    tint = np.array([0.74, 0.42, 0.34], np.float32) + rng.normal(0, [0.04, 0.04, 0.04]).astype(np.float32)
    lamp = rng.uniform(0.25, 0.75, 2)
    light = 1.12 - 0.9 * ((x - lamp[0]) ** 2 + (y - lamp[1]) ** 2)
    folds = np.exp(-((smooth_noise(rng, size_px, 2.5) - rng.uniform(-0.5, 0.5)) ** 2) / 0.02)
    shade = light + 0.05 * smooth_noise(rng, size_px, 5) - 0.13 * folds
    image = tint * shade[..., None]
    image += 0.018 * smooth_noise(rng, size_px, 24)[..., None]
    image -= _vessels(rng, size_px)[..., None] * np.array([0.16, 0.17, 0.12], np.float32)

    for _ in range(int(rng.integers(0, 3))):
        patch = coverage(outline(rng, size_px, rng.uniform(0.05, 0.1), tuple(rng.uniform(0.1, 0.9, 2))), size_px)
        soft = cv2.GaussianBlur(patch, (0, 0), 0.02 * size_px)[..., None]
        image = image * (1 - 0.55 * soft) + 0.55 * soft * np.array([0.80, 0.56, 0.36], np.float32) * shade[..., None]

    radius, center, inside = draw_lesion(rng, size_px, radii)
    soft = cv2.GaussianBlur(inside, (0, 0), 0.014 * size_px)[..., None]
    dome = 1 - ((x - center[0] + 0.3 * radius) ** 2 + (y - center[1] + 0.3 * radius) ** 2) / (2.2 * radius) ** 2
    flesh = 0.35 * tint + rng.normal([0.55, 0.18, 0.19], 0.04).astype(np.float32)
    relief = (0.55 + 0.5 * dome) * (0.35 + 0.65 * shade) + rng.uniform(0.07, 0.12) * _pits(rng, size_px)
    image = image * (1 - soft) + soft * flesh * relief[..., None]
    edge = np.clip(4 * soft[..., 0] * (1 - soft[..., 0]), 0, 1)
    image -= 0.10 * edge[..., None] * np.array([1.0, 0.8, 0.7], np.float32)

    bright = np.clip(highlights(rng, size_px, center, radius), 0, 1)[..., None]
    image = image * (1 - 0.85 * bright) + 0.85 * bright
    return finished(rng, image, inside, 0.008)
