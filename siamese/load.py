"""The door of sampling: a trained generator of any method, by what its folder says."""

from collections.abc import Callable
from pathlib import Path

from siamese.anomaly.sampler import load_anomaly_sampler
from siamese.arsdm.sampler import load_pixel_sampler
from siamese.config.sections import SamplingConfig
from siamese.dfmgan.sampler import load_dfmgan_sampler
from siamese.method.checkpoint import read_config
from siamese.method.registry import METHODS
from siamese.sampling.requests import Sampler
from siamese.sampling.sampler import load_latent_sampler
from siamese.singan_seg.sampler import load_pyramid_sampler

# each reads a trained generator of one method
LOAD: dict[str, Callable[[Path, Path, SamplingConfig], Sampler]] = {
    **dict.fromkeys(METHODS, load_latent_sampler),
    "arsdm": load_pixel_sampler,
    "singan_seg": load_pyramid_sampler,
    "dfmgan": load_dfmgan_sampler,
    "anomaly_diffusion": load_anomaly_sampler,
}


def load(folder: Path, base_dir: Path, cfg: SamplingConfig) -> Sampler:
    """Return a trained generator, ready to sample. Raises: UserError when the folder holds none that fits."""
    return LOAD[read_config(folder)["generator"]["method"]](folder, base_dir, cfg)
