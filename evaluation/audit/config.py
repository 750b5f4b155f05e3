"""The rows under `filters` in params.yaml."""

import itertools
from typing import Literal

from pydantic import Field, model_validator

from data.pairs.config import Config, Probability

CRITERIA = ("mask_fidelity", "colour_drift", "copy")  # columns of the table that the score stage writes
Match = Literal["parent", "domain"]
BAND = (0.5, 0.95)


class FilterRow(Config):
    """What a synthetic pair must satisfy to be kept, or how one of several is chosen, and what colours it gets."""

    min_mask_fidelity: Probability | None = Field(
        default=None, description="Dice of the judge on the image against its mask: at least this, 0-1"
    )
    max_colour_drift: float | None = Field(
        default=None, gt=0, description="1 is the edge within which 95 % of the real training images lie"
    )
    drop_copies: bool = Field(default=False, description="drop what the copy audit takes for a training image")

    best_of: int | None = Field(
        default=None, ge=2, description="so many images are drawn for each mask and one is kept, so no pair is dropped"
    )
    fidelity: tuple[Probability, Probability] | None = Field(
        default=None,
        description="for best_of: [low, high] of the judge's Dice, within which an image is preferred; where none lies "
        f"in it, the nearest to it is kept. Left out: {list(BAND)}",
    )
    prefer: Literal["far", "near"] | None = Field(
        default=None,
        description="for best_of, of the images within the band: that farthest from its nearest training image, which "
        "adds most, or that nearest to one, which looks most real. Left out: far",
    )
    match_colour: Match | None = Field(
        default=None,
        description="mean and deviation of each Lab channel become those of parent: the real image of the mask; "
        "domain: the mean over the training images of its domain",
    )

    @model_validator(mode="after")
    def _filters_something(self) -> "FilterRow":
        if not (self.criteria() or self.best_of or self.match_colour):
            raise ValueError(
                "needs at least one of min_mask_fidelity, max_colour_drift, drop_copies: true, best_of and match_colour"
            )
        if self.best_of and self.criteria():
            raise ValueError("best_of keeps the number of pairs, so nothing that drops pairs goes with it")
        if (self.fidelity or self.prefer) and not self.best_of:
            raise ValueError("fidelity and prefer are for best_of, which is left out")
        if self.band[0] >= self.band[1]:
            raise ValueError(f"fidelity must be [low, high] with low < high, got {list(self.band)}")
        return self

    @property
    def band(self) -> tuple[float, float]:
        """Return the judge's Dice that best_of looks for, low and high."""
        return self.fidelity or BAND

    def criteria(self) -> tuple[str, ...]:
        """Return the columns of the table that are looked at, in the order of CRITERIA."""
        needed = (self.min_mask_fidelity is not None, self.max_colour_drift is not None, self.drop_copies)
        return tuple(itertools.compress(CRITERIA, needed))
