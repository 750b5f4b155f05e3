"""What a row of every method can say of its own training."""

from typing import Annotated, Any

from pydantic import Field

from data.pairs.config import Config


class GeneratorRow(Config):
    """Values of the training section that a method needs otherwise, such as ArSDM's steps or an adapter's rate."""

    steps: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="in place of training.steps and steps_of"
    )
    batch: Annotated[int, Field(ge=1)] | None = Field(default=None, description="in place of training.batch")
    lr: Annotated[float, Field(gt=0)] | None = Field(default=None, description="in place of training.lr")

    def own_training(self) -> dict[str, Any]:
        """Return the values that this row gives."""
        return {name: value for name in ("steps", "batch", "lr") if (value := getattr(self, name)) is not None}
