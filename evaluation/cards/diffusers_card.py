"""The card of a generator in the layout of diffusers, with the lines that load it and draw an image."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.cards.cards import card_environment, hub_licence, told_as

DRAWN = {"license": "apache-2.0"}
SNIPPET = """\
import torch
from diffusers import StableDiffusionControlNetPipeline
from PIL import Image

folder = "."
pipeline = StableDiffusionControlNetPipeline.from_pretrained({load})
pipeline = pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
mask = Image.open("{mask}").convert("RGB").resize(({size}, {size}), Image.Resampling.NEAREST)

generator = torch.Generator().manual_seed(0)
noise = torch.randn({noise}, generator=generator)
drawn = pipeline(
    {prompt},
    image=mask,
    latents=noise,
    generator=generator,
{options}
)
drawn.images[0].save("image.png")"""


@dataclass(frozen=True)
class DiffusersFacts:
    """What is known of an exported generator, in plain values; rows and sections are those of params.yaml."""

    name: str
    dataset: str
    prompt: str
    size_px: int
    pairs: int  # that it was trained on; 0 for imported weights
    row: Mapping[str, Any]
    training: Mapping[str, Any]
    sampling: Mapping[str, Any]
    lacking: Mapping[str, Any]  # options of sampling that diffusers has not
    latent_shape: Sequence[int]
    dense: str  # module of the dense hint encoder, empty for none
    mask: str  # file of the example
    classes: Sequence[str]
    greys: Sequence[int]  # of the classes
    base: Mapping[str, Any]
    base_on_hub: bool
    generator_sha256: str
    drawn: bool  # whether the data set is drawn by code
    licence: str | None = None
    page: str | None = None
    citation: str | None = None


def snippet(facts: DiffusersFacts) -> str:
    """Return lines of Python that draw the example mask with the exported folder, run within it."""
    sampling, size = facts.sampling, facts.size_px
    options = {"num_inference_steps": sampling["steps"], "guidance_scale": sampling["guidance"]}
    options |= {"eta": sampling["eta"]} if sampling["eta"] else {}
    return SNIPPET.format(
        load="folder, trust_remote_code=True" if facts.dense else "folder",
        mask=facts.mask,
        size=size,
        noise=(1, *facts.latent_shape),
        prompt=json.dumps(facts.prompt, ensure_ascii=False),
        options="\n".join(f"    {name}={value}," for name, value in {**options, "height": size, "width": size}.items()),
    )


def _front(facts: DiffusersFacts) -> dict[str, Any]:
    foreign = facts.base["kind"] != "pretrain"
    licence = DRAWN if facts.drawn else hub_licence(facts.licence, facts.page, "terms-of-the-source")
    if foreign:
        licence = {"license": "other", "license_name": "terms-of-the-source-and-of-the-base-model"}
    return {
        **licence,
        "library_name": "diffusers",
        "pipeline_tag": "image-to-image",
        **({"base_model": facts.base["name"]} if facts.base_on_hub else {}),
        "tags": ["controlnet", "stable-diffusion", "diffusers", "medical", "synthetic", facts.row["method"]],
    }


def render_diffusers_card(facts: DiffusersFacts) -> str:
    """Return README.md in Markdown, its front matter the keys of the Hugging Face Hub."""
    from huggingface_hub import ModelCardData

    environment = card_environment()
    environment.filters["told"] = told_as
    greys = ", ".join(f"{grey} {name}" for grey, name in zip(facts.greys, facts.classes, strict=True))
    settings = {**facts.row, **facts.training, **{f"sampling {key}": value for key, value in facts.sampling.items()}}
    told = [(name, told_as(value)) for name, value in settings.items() if value not in (None, "", {}, [], ())]
    front = ModelCardData(**_front(facts)).to_yaml()
    text = environment.get_template("diffusers_card.md.j2").render(
        facts=facts, snippet=snippet(facts), greys=greys, settings=told
    )
    return f"---\n{front}\n---\n\n{text}"
