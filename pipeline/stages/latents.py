"""latents: VAE posteriors of the training images and embeddings of the prompt, computed once for all generators."""

from data.pairs.files import whole_folder
from pipeline.params import paths

READS = {"row": "datasets.{dataset}"}


def run(item: dict, params) -> None:
    """Write outputs/latents/<dataset>/. Raises: UserError when the image size does not fit the base model."""
    from data.pairs.manifest import read_pairs
    from data.pairs.prepared import read_lone_images
    from siamese.base.latents import cache_latents

    real, lone = (
        read_pairs(paths.processed(item["dataset"], "train"), empty=False),
        read_lone_images(paths.unlabelled(item["dataset"])),
    )
    with whole_folder(paths.latents(item["dataset"])) as out:
        cache_latents(real, params.row.prompt, paths.base(item["dataset"]), out, lone=lone)
