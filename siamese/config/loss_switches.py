"""Switches of the training loss that every method on latents has, none of them the paper's; all are off by default."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from data.pairs.config import Config


class LossSwitches(Config):
    """Weights of cells and samples in the denoising losses."""

    loss_reweight: Literal["none", "arsdm"] = Field(
        default="none", description="arsdm weighs lesion and background of the denoising losses as ArSDM does"
    )
    reweight_normalize: bool = Field(
        default=False,
        description="divide these weights by their mean; ArSDM does not, and an empty mask teaches nothing",
    )
    snr_gamma: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="weigh samples in L_m and L_i by min(SNR, gamma) / SNR; min-SNR takes 5"
    )

    @model_validator(mode="after")
    def _weights_are_there(self) -> "LossSwitches":
        if self.reweight_normalize and self.loss_reweight == "none":
            raise ValueError("reweight_normalize does nothing with loss_reweight: none; set loss_reweight: arsdm")
        return self
