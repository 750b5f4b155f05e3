"""The door of generating: images for any masks with a trained generator, which its folder alone names.

from siamese import load_generator

generator = load_generator("outputs/generators/phantom/siamese-g0")
images = generator(["polyp.png", mask], seed=0)
"""

import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data.given_masks.read import Given, Mask, Wanted, how_to_read
from data.given_masks.sets import given_folder, given_masks, write_given
from data.pairs.assemble import BOX, drawn_files
from data.pairs.errors import UserError
from data.pairs.files import code_fingerprint, copy_file, sha256_file, sha256_tree, whole_folder, work_folder
from data.pairs.image_io import png_text
from data.pairs.manifest import Pair, PairSet, file_names, read_pairs, write_manifest
from siamese.base.devices import computing_on
from siamese.found import Found, find_generator
from siamese.load import load
from siamese.method.checkpoint import read_config
from siamese.sampling.requests import Pools, Sampler
from siamese.sampling.sample import generator_provenance, sample_draws


class Generator:
    """A trained generator, ready to make images for masks; `load_generator` returns it.

    `size_px` is the side of its images, `classes` are the names of the labels 1, 2, ... of its masks, `settings` what
    changes its images beside the weights, such as the steps.
    """

    def __init__(self, found: Found, sampler: Sampler) -> None:
        self.found, self.sampler = found, sampler
        self.name, self.size_px, self.classes = found.name, found.size_px, found.classes
        self.settings = dict(sampler.settings)
        self.row = read_config(found.folder)["generator"]  # some of its keys change images and no weight
        self.pool_digest = sha256_tree(found.pool.folder) if found.pool else ""
        self.provenance = generator_provenance(found.folder, found.base_dir, sampler)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        return f"<generator {self.name}: {self.size_px}x{self.size_px} px, {', '.join(self.classes)}; {settings}>"

    def __call__(
        self,
        masks: str | Path | Sequence[Mask],
        seed: int = 0,
        *,
        ids: Sequence[str] | None = None,
        per_mask: int = 1,
        reading: Mapping[str, Any] | None = None,
        progress: bool = True,
    ) -> list[Image.Image]:
        """Return RGB images, `per_mask` for each mask after one another, in the order of the masks.

        masks: a folder, which gives its masks in the order of their names, or a list of paths, PIL images and arrays:
        booleans or labels 0 to K of (H, W), or the values 0 to 255 of a picture. Of another size, they are resized by
        nearest neighbour, and a line on stderr says so.
        seed: of the noise, as `sampling.seed` in params.yaml: the training seed is added. An image depends on the
        generator, its settings, the mask, the seed and the mask's id alone: not on the other masks. `batch` is one of
        the settings: another one moves single values by one of 255, and a batch that is not full is filled up, so that
        load_generator(..., batch=1) is fastest for one image at a time.
        ids: of the masks; without them the stems of files, and mask-0001, mask-0002, ... by place for others.
        reading: how masks are read, by keys of a data-set row: mask_threshold, classes, as_background, inverted_masks,
        fit.

        An image's `text` says what made it: generator, base, mask, seed, steps, ...

        Raises: UserError with every mask that is not read as it should be, and when memory does not suffice.
        """
        _check_numbers(per_mask, seed)
        given = self.read(masks, ids, reading)
        with tempfile.TemporaryDirectory() as folder:
            mask_set = write_given(given, Path(folder) / "masks")
            drawn = self._draw(mask_set, Path(folder), seed, per_mask, quiet=not progress)
            files = [drawn_files(images, mask.pair.id)[0] for mask in given for images in drawn]
            return [_opened(path) for path in files]

    def write(
        self,
        masks: str | Path | Sequence[Mask],
        out: str | Path,
        seed: int = 0,
        *,
        ids: Sequence[str] | None = None,
        per_mask: int = 1,
        reading: Mapping[str, Any] | None = None,
    ) -> PairSet:
        """Write images and masks as a pair set, a folder with images/, masks/ and manifest.csv, and return it.

        Arguments are those of a call. A pair has the id of its mask, or of several ID-1, ID-2, ... The folder appears
        whole or not at all; what an interrupted run has drawn waits beside it, and the same call goes on from there.

        Raises: UserError as a call does, and when `out` is there already.
        """
        _check_numbers(per_mask, seed)
        out = Path(out).expanduser().resolve()
        if out.is_file() or (out.is_dir() and any(out.iterdir())):
            raise UserError(f"{out} is there already and stays as it is: name another folder, or remove it")
        given = self.read(masks, ids, reading)
        fingerprint = {**self.provenance, "row": self.row, "seed": self._seed(seed), "pool": self.pool_digest}
        fingerprint |= {"batch": self.found.sampling.batch, "code": code_fingerprint("data.pairs", "siamese")}
        unfinished = out.with_name(f".{out.name}.unfinished")
        with work_folder(str(unfinished), fingerprint) as work:
            shutil.rmtree(work / "masks", ignore_errors=True)
            mask_set = write_given(given, work / "masks")
            drawn = self._draw(mask_set, work, seed, per_mask)
            with whole_folder(out) as folder:
                _assemble(mask_set, drawn, self.name, folder)
        shutil.rmtree(unfinished)
        return read_pairs(out)

    def read(
        self,
        masks: str | Path | Sequence[Mask],
        ids: Sequence[str] | None = None,
        reading: Mapping[str, Any] | None = None,
    ) -> list[Given]:
        """Return masks as the generator takes them, in the order of their images; what was done goes to stderr."""
        wanted = Wanted(self.size_px, self.classes, how_to_read(reading or {}, self.classes))
        if isinstance(masks, str | Path) and not Path(masks).expanduser().is_file():
            given, notes = given_folder(Path(masks).expanduser(), wanted, self.found.train)
        else:
            one = isinstance(masks, str | Path | Image.Image | np.ndarray)
            given, notes = given_masks([masks] if one else list(masks), wanted, ids)  # type: ignore[list-item, arg-type]
        sys.stderr.write("".join(f"{note}\n" for note in notes))
        return given

    def _seed(self, seed: int) -> int:
        return seed + self.found.training_seed

    def _draw(self, masks: PairSet, work: Path, seed: int, per_mask: int, *, quiet: bool = False) -> list[Path]:
        """Return the folders of the first, second, ... images of all masks, drawn in `work` where they lack."""
        cfg, digest = self.found.sampling.model_copy(update={"seed": self._seed(seed)}), sha256_tree(masks.folder)[:16]
        folders = {draw: work / f"{digest}-{draw}" for draw in range(1, per_mask + 1)}
        if there := sum(len(list(folder.glob("*.png"))) for folder in folders.values()):
            sys.stderr.write(f"going on: {there} of {len(masks) * per_mask} images are there\n")
        pools = Pools(normal=self.found.pool)
        sample_draws(masks, self.sampler, cfg, folders, self.provenance, pools, quiet=quiet)
        return list(folders.values())


def _check_numbers(per_mask: int, seed: int) -> None:
    if per_mask < 1 or seed < 0:
        raise UserError(
            f"per_mask is {per_mask} and seed {seed}: give at least 1 image for each mask, and a seed from 0"
        )


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


def _assemble(masks: PairSet, drawn: Sequence[Path], source: str, folder: Path) -> None:
    """Write the pairs of all draws; masks and images are copied byte by byte."""
    rows: list[Pair] = []
    for draw, images in enumerate(drawn, 1):
        for pair in masks.pairs:
            name = pair.id if len(drawn) == 1 else f"{pair.id}-{draw}"
            image, mask = file_names(name)
            copy_file(drawn_files(images, pair.id)[0], folder / image)
            copy_file(masks.folder / pair.mask, folder / mask)
            digest, box = sha256_file(folder / image), png_text(folder / image).get(BOX, pair.box)
            rows.append(replace(pair, id=name, image=image, mask=mask, source=source, image_sha256=digest, box=box))
    write_manifest(folder, rows)


def load_generator(
    folder: str | Path,
    *,
    base: str | Path | None = None,
    normal: str | Path | None = None,
    device: str | None = None,
    **sampling: Any,
) -> Generator:
    """Return the generator of a folder, such as outputs/generators/phantom/siamese-g0, ready to make images.

    All else is found beside that folder: the base model that it names, the size and classes of its masks, and how it is
    sampled, `sampling` in the params.yaml of its project (the paper's 50 steps and guidance 9 where there is none).
    base, normal: folders of the base model, and of images without a lesion where a method needs some, if elsewhere.
    device: such as cpu or cuda:1; without it a GPU where there is one.
    sampling: in place of what params.yaml says: steps, guidance, batch, solver, ...

    Raises: UserError that says what lacks and where it was looked for, and for a method that takes no masks.
    """
    found = find_generator(folder, base, normal, **sampling)
    with computing_on(device):
        return Generator(found, load(found.folder, found.base_dir, found.sampling))
