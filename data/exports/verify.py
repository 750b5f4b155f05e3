"""The files of a pair set against its manifest."""

from functools import partial

from data.pairs.errors import BadImageError, UserError
from data.pairs.files import sha256_file
from data.pairs.image_io import read_image, read_labels
from data.pairs.manifest import PairSet, class_names


def verify(pair_set: PairSet) -> None:
    """Check that every file is there, readable, of its recorded hash and of the size of its partner.

    Raises: UserError that names every file at fault.
    """
    problems = []
    for pair in pair_set.pairs:
        shapes = []
        for name, digest, read in (
            (pair.image, pair.image_sha256, read_image),
            (pair.mask, pair.mask_sha256, partial(read_labels, classes=len(class_names(pair)))),
        ):
            path = pair_set.folder / name
            if not name:
                continue
            if not path.is_file():
                problems.append(f"{name}: missing")
            elif digest and sha256_file(path) != digest:
                problems.append(f"{name}: its bytes are not those of the manifest")
            else:
                try:
                    shapes.append(read(path).shape[:2])
                except BadImageError as error:
                    problems.append(f"{name}: {error}")
        if len(set(shapes)) > 1:
            problems.append(f"{pair.id}: image is {shapes[0]}, mask is {shapes[1]}")
    if problems:
        raise UserError(f"{pair_set.folder}: {len(problems)} files cannot be used", problems)
