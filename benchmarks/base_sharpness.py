"""How much fine detail the autoencoder of a pretrained base keeps: trained on pixels alone, and as params.yaml says.

    python benchmarks/base_sharpness.py [PICTURES]

Both autoencoders are trained in turn on the training images of the phantoms in params.yaml, on one thread, and
reconstruct the held-out test images. For each, the CPU seconds of its training, the PSNR (mean over images, dB), and
for the Laplacian bands of 2, 4 and 8 px what the reconstruction has of the original's energy (sum of squares), and the
root of it (amplitude), and the kernel distance of lite0 features, times 1000, to the training images: what a generator
that did all else right would have. PICTURES is a folder for originals and reconstructions. The last line is JSON.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATASET = "phantom"
PIXELS_ALONE = {"channels": (16, 32, 64), "latent_channels": 4, "crop_px": 32, "steps": 900, "batch": 8, "lr": 1e-3}
BANDS = 3
SHOWN = 8


def _kernel_distance(train, decoded) -> float:
    from data.pretrained.lite0 import lite0_network
    from evaluation.features.lite0 import lite0_features
    from evaluation.scores.distances import mmd2_u, poly

    network, pixels = lite0_network(), ((decoded + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return 1000 * mmd2_u(lite0_features(network, train), lite0_features(network, pixels), poly)[0]


def _measured(vae, train, images) -> tuple[dict, list]:
    """Return what is left of images, uint8 (N, H, W, 3), and [originals, reconstructions] in [-1, 1]."""
    import torch

    from siamese.base.latents import to_signed
    from siamese.base.sharpness import laplacian_bands

    originals = to_signed(images)
    with torch.inference_mode():
        decoded = torch.cat([vae.decode(vae.encode(image).latent_dist.mode()).sample for image in originals.split(1)])
    decoded = decoded.clamp(-1, 1)
    pairs = zip(*(laplacian_bands(x, BANDS)[:-1] for x in (decoded, originals)), strict=True)
    energy = [float(ours.square().sum() / theirs.square().sum()) for ours, theirs in pairs]
    squares = ((decoded - originals) / 2).square().mean((1, 2, 3))
    values = {"psnr": float((-10 * squares.log10()).mean()), "energy": energy, "amplitude": [x**0.5 for x in energy]}
    return values | {"kernel": _kernel_distance(train, decoded)}, [originals, decoded]


def _write_picture(images, path: Path) -> None:
    import torch
    from PIL import Image

    rows = torch.cat([torch.cat(list(part[:SHOWN]), 2) for part in images], 1)
    pixels = ((rows / 2 + 0.5) * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).resize((2 * pixels.shape[1], 2 * pixels.shape[0]), Image.Resampling.NEAREST).save(path)


def main(folder: Path | None) -> None:
    """Train, measure and print both."""
    sys.path.insert(0, str(ROOT))
    import torch

    from data.prepare.prepare import prepare
    from pipeline.params.read import read_params
    from siamese.base.autoencoder import train_autoencoder
    from siamese.config.base import VaeShape

    torch.set_num_threads(1)
    params, found = read_params(ROOT / "params.yaml"), {}
    with tempfile.TemporaryDirectory() as scratch:
        splits = prepare(params.datasets[DATASET], Path(scratch) / "pairs")
        train, test = splits["train"].images(), splits["test"].images()
        for name, shape in (("pixels alone", VaeShape(**PIXELS_ALONE)), ("params.yaml", params.base.vae)):
            work, start = Path(scratch) / name, time.process_time()
            vae = train_autoencoder(train, shape, params.base.seed, shape.steps, work)
            seconds = time.process_time() - start
            found[name], pictures = _measured(vae, train, test)
            found[name]["cpu_s"] = seconds
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
                _write_picture(pictures, folder / f"{name.replace(' ', '-')}.png")
    for name, values in found.items():
        shares = ", ".join(f"{e:.3f} ({a:.2f})" for e, a in zip(values["energy"], values["amplitude"], strict=True))
        quality = f"PSNR {values['psnr']:.2f}, energy (amplitude) at 2/4/8 px: {shares}"
        sys.stdout.write(f"{name}: {values['cpu_s']:.0f} s, {quality}, kernel distance {values['kernel']:.0f}\n")
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
