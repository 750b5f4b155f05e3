"""How synthetic pair sets are scored, as a section of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from data.pairs.config import Config


class ScoresConfig(Config):
    """Settings of the scores."""

    profile: Literal["demo", "full"] = Field(
        default="demo", description="demo needs no pretrained weights; full computes the paper's metrics"
    )
    weights_dir: str = Field(
        default="weights",
        description="folder of the full profile's weights; the variable METRIC_WEIGHTS wins",
    )
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(0, 1, 2), min_length=1, description="seeds of the demo's random encoders and projections"
    )
    batch: int = Field(default=32, ge=1, description="images a forward pass; changes memory, never a score")
    kid_subsets: int = Field(default=100, ge=1, description="random subsets of the KID that libraries print")
    kid_subset_size: Literal["auto"] | Annotated[int, Field(ge=3)] = Field(
        default="auto", description="images a subset; auto is 1000, or half of the smaller set when that has fewer"
    )
    max_unpaired_pairs: int = Field(default=2000, ge=1, description="random image pairs behind each unpaired LPIPS")

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds must differ, or their spread means nothing; got {list(seeds)}")
        return seeds
