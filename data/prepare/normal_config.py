"""Which images without a lesion a data-set row offers to the methods that train or sample with them."""

from pathlib import Path

from pydantic import Field, model_validator

from data.pairs.config import Config, Count


class Normal(Config):
    """Images without a lesion: those of a folder, drawn ones, or squares of training images; exactly one of these."""

    path: str | None = Field(default=None, description="a folder below the data set's path that holds such images")
    limit: Count | None = Field(default=None, description="of path: at most so many of them")
    count: Count | None = Field(default=None, description="of drawn pairs: so many images drawn without a lesion")
    crops: Count | None = Field(default=None, description="so many lesion-free squares of training images, enlarged")
    side: float = Field(default=0.5, ge=0.1, le=1, description="of crops: side of a square as a share of the image's")

    @model_validator(mode="after")
    def _is_one_kind(self) -> "Normal":
        kinds = [key for key in ("path", "count", "crops") if getattr(self, key) is not None]
        if len(kinds) != 1:
            raise ValueError(f"needs one of path, count and crops, got {' and '.join(kinds) or 'none'}")
        if self.limit and self.path is None:
            raise ValueError(f"limit is of path; {kinds[0]} says how many")
        if "side" in self.model_fields_set and self.crops is None:
            raise ValueError(f"side is of crops, got {kinds[0]}")
        parts = Path(self.path or "x").parts
        if self.path is not None and (not parts or ".." in parts or self.path.startswith(("/", "~"))):
            raise ValueError(f"path: {self.path!r} must be a folder below the path of the data set, which DVC watches")
        return self
