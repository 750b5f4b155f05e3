"""Switches of the training loss that every method on latents has, none of them the paper's; all are off by default."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from data.pairs.config import Config, Count

Timestep = Annotated[int, Field(ge=0, le=999)]


class LossSwitches(Config):
    """Weights of cells and samples in the denoising losses, and a loss on the layout."""

    loss_reweight: Literal["none", "arsdm", "law"] = Field(
        default="none",
        description="arsdm weighs lesion and background of the denoising losses as ArSDM does; law learns the weights",
    )
    reweight_normalize: bool = Field(
        default=False,
        description="divide these weights by their mean; ArSDM does not, and an empty mask teaches nothing",
    )
    law_ratio: float = Field(default=16.0, gt=1, description="of the largest to the smallest weight of a sample")
    law_tau: float = Field(default=1.0, ge=0, description="pull of the weights to the prior; 0: they run to a bound")
    law_prior: Literal["ratio", "uniform"] = Field(
        default="ratio", description="what the weights start as and are pulled to: ArSDM's, or 1 everywhere"
    )
    law_objective: Literal["max", "min"] = Field(
        default="max", description="whether weights go to cells of a large loss, or flee from them"
    )
    law_lr: float = Field(default=1e-3, gt=0, description="rate of the network that predicts the weights")
    law_t: tuple[Timestep, Timestep] = Field(
        default=(50, 900), description="first and last timestep with learned weights; the others have the prior"
    )
    snr_gamma: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="weigh samples in L_m and L_i by min(SNR, gamma) / SNR; min-SNR takes 5"
    )
    layout_loss: float = Field(
        default=0.0, ge=0, description="weight of a loss that finds the mask again in the denoised latents; 0: off"
    )
    layout_t_max: Timestep = Field(default=400, description="and only at timesteps up to this one, included")
    layout_steps: Count = Field(default=500, description="steps of the small segmenter on latents that judges it")

    @model_validator(mode="after")
    def _every_switch_acts(self) -> "LossSwitches":
        problems = []
        if self.reweight_normalize and self.loss_reweight != "arsdm":
            problems.append(
                f"reweight_normalize does nothing with loss_reweight: {self.loss_reweight}; set loss_reweight: arsdm"
            )
        needed = {"law_": ("loss_reweight: law", self.loss_reweight == "law")}
        needed["layout_"] = ("layout_loss above 0", self.layout_loss > 0)
        for name, field in LossSwitches.model_fields.items():
            asked, there = next((value for prefix, value in needed.items() if name.startswith(prefix)), ("", True))
            if not there and getattr(self, name) != field.default:
                problems.append(f"{name} does nothing without {asked}")
        if self.law_t[0] > self.law_t[1]:
            problems.append(f"law_t: the first timestep {self.law_t[0]} is behind the last one {self.law_t[1]}")
        if problems:
            raise ValueError("; ".join(problems))
        return self
