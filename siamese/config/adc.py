"""Adaptively Distilled ControlNet as a row under `generators`."""

from typing import Literal

from pydantic import Field, model_validator

from siamese.config.rows import HintRow


class AdcRow(HintRow):
    """Adaptively Distilled ControlNet: a teacher that sees the image, left behind after training."""

    method: Literal["adc"]
    image_share: float = Field(default=1.0, ge=0, description="weight of the image's residuals in the teacher's sum")
    w_t: float = Field(default=1.0, ge=0, description="weight of the teacher's loss; 0 leaves the teacher untrained")
    w_d: float = Field(default=1.0, ge=0, description="weight of the distillation; w_t and w_d 0: a ControlNet")
    distill_weights: Literal["ratio", "uniform"] = Field(
        default="ratio", description="ratio weighs lesion and background of the distillation by the other's share"
    )
    distill_normalize: bool = Field(
        default=False, description="divide these weights by their mean; else small lesions are hardly distilled"
    )
    detach_mask: bool = Field(default=False, description="the teacher's loss does not train the mask's ControlNet")
    teacher_init: Literal["pretrained", "random"] = Field(
        default="pretrained", description="start of the teacher's ControlNet: the UNet's encoder, or random weights"
    )

    @model_validator(mode="after")
    def _reads_every_switch(self) -> "AdcRow":
        switches = {"snr_gamma": self.snr_gamma, "layout_loss": self.layout_loss}
        asked = [name for name, value in switches.items() if value]
        asked += ["loss_reweight: law"] if self.loss_reweight == "law" else []
        if asked:
            raise ValueError(f"{', '.join(asked)}: the step of adc does not read it; the other methods do")
        return self

    @model_validator(mode="after")
    def _weights_to_normalize(self) -> "AdcRow":
        if self.distill_normalize and self.distill_weights == "uniform":
            raise ValueError("distill_normalize does nothing with distill_weights: uniform; set distill_weights: ratio")
        return self
