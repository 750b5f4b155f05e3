"""latents: VAE posteriors of the training images and embeddings of the prompt, computed once for all generators."""

from data.pairs.files import whole_folder
from pipeline.params import paths

READS = {"row": "datasets.{dataset}"}


def run(item: dict, params) -> None:
    """Write outputs/latents/<dataset>/. Raises: UserError when the image size does not fit the base model."""
    from data.pairs.prepared import Prepared, read_lone_images
    from siamese.base.latents import cache_latents

    dataset = item["dataset"]
    real, lone = Prepared(paths.processed(dataset)).train, read_lone_images(paths.unlabelled(dataset))
    with whole_folder(paths.latents(dataset)) as out:
        cache_latents(real, params.row.prompt, paths.base(dataset), out, lone=lone)
