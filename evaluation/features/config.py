"""How synthetic pair sets are scored, as sections of params.yaml."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from data.pairs.config import Config, Share


def _all_differ(values: tuple) -> tuple:
    if len(set(values)) < len(values):
        raise ValueError(f"all must differ, got {list(values)}")
    return values


def _no_demo(name: object) -> object:
    if name == "demo":
        raise ValueError("demo, the scores of random features, is no more: write `extractors: [lite0]`")
    return name


ExtractorName = Annotated[Literal["lite0", "inception", "clip_b32", "clip_l336", "lpips"], BeforeValidator(_no_demo)]


class FeaturesConfig(Config):
    """How images become features."""

    weights_dir: str = Field(
        default="weights", description="folder of the pretrained weights; the variable METRIC_WEIGHTS wins"
    )
    batch: int = Field(default=32, ge=1, description="images a forward pass; changes memory, never a score")
    max_unpaired_pairs: int = Field(default=2000, ge=1, description="random image pairs behind each unpaired LPIPS")


class ScoresConfig(Config):
    """Which features are compared, and how."""

    extractors: Annotated[tuple[ExtractorName, ...], AfterValidator(_all_differ)] = Field(
        min_length=1,
        description="[lite0] needs no download; [inception, clip_b32, clip_l336, lpips] gives the paper's scores (one "
        "can be left out: clip_l336 takes hours on a CPU); what is not extracted is null with a reason",
    )
    kid_subsets: int = Field(default=100, ge=1, description="random subsets of the KID that libraries print")
    kid_subset_size: Literal["auto"] | Annotated[int, Field(ge=3)] = Field(
        default="auto", description="images a subset; auto is 1000, or half of the smaller set when that has fewer"
    )
    neighbours: int = Field(default=5, ge=1, description="k of precision, recall, density and coverage")
    copy_quantile: Share = Field(
        default=0.01,
        description="a synthetic image is flagged as a copy when it is nearer to a training image than all but this "
        "share of held-out real images are",
    )
