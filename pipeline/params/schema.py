"""The schema of params.yaml, composed from the sections that each package declares."""

from typing import Annotated

from pydantic import Field, StringConstraints

from data.acquire.config import Download
from data.baselines.config import Baseline
from data.masks.config import Masks
from data.pairs.config import Config
from data.prepare.config import Dataset
from evaluation.audit.config import FilterRow
from evaluation.features.config import FeaturesConfig, ScoresConfig
from segmentation.config.architectures import ArchitectureRow
from siamese.config.base import Base
from siamese.config.sections import Generator, SamplingConfig, TrainingSection

# DVC splits names at dots, stage names at @, and reads results/<source>-<masks>-x<multiple> back from the right.
LONGEST = 40  # letters of a name: five of them make the name of one stage and its log, which may have 255
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=LONGEST)]
MaskName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=LONGEST)]
Seed = Annotated[int, Field(ge=0)]


class Grid(Config):
    """Which rows are run, as short lists of their names; every combination is one run."""

    datasets: tuple[Name, ...]
    generators: tuple[Name, ...]
    generator_seeds: tuple[Seed, ...] = Field(description="of training: each generator is trained once for each")
    masks: tuple[MaskName, ...]
    architectures: tuple[Name, ...]
    seeds: tuple[Seed, ...] = Field(description="of the segmenters' training")


class Comparison(Grid):
    """What is compared at 1x: every data set with every source, architecture and pair of seeds."""

    references: tuple[Name, ...] = Field(description="of real and duplicate: what synthetic sets are compared with")
    baselines: tuple[Name, ...] = Field(description="other ways of making pairs, trained on and scored like generators")
    against: tuple[Name, ...] = Field(
        default=(), description="of these and of generators: tested against, as references"
    )


class Volume(Grid):
    """Further multiples of some of the comparison's generators, or 1x of further masks; trained on, not scored."""

    multiples: tuple[Annotated[int, Field(ge=1)], ...] = Field(description="1 only for masks that comparison lacks")


class Filtered(Grid):
    """Which 1x sets are also compared without the pairs that a filter drops; empty lists for none."""

    filters: tuple[Name, ...]


class Params(Config):
    """The whole of params.yaml."""

    comparison: Comparison
    volume: Volume
    filtered: Filtered
    downloads: dict[Name, Download] = Field(default={}, description="archives that `acquire` fetches and unpacks")
    datasets: dict[Name, Dataset]
    base: Base
    baselines: dict[Name, Baseline] = Field(description="pair sets that need no generator of ours")
    generators: dict[Name, Generator]
    training: TrainingSection
    masks: dict[MaskName, Masks]
    sampling: SamplingConfig
    architectures: dict[Name, ArchitectureRow]
    judge: ArchitectureRow = Field(description="the segmenter that measures mask fidelity, trained on real pairs only")
    features: FeaturesConfig
    scores: ScoresConfig
    filters: dict[Name, FilterRow] = Field(default={}, description="what a synthetic pair must satisfy")
