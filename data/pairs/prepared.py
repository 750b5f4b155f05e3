"""The splits of a prepared data set, one pair set a folder: training pairs, maybe validation pairs, test sets."""

from dataclasses import dataclass
from pathlib import Path

from data.pairs.errors import UserError
from data.pairs.manifest import MANIFEST, PairSet, read_pairs

TRAIN, VAL = "train", "val"
NATIVE = "native"  # folder of test sets at their own sizes


@dataclass(frozen=True)
class Prepared:
    """What lies in data/processed/<dataset>, or in another folder of splits."""

    folder: Path

    def names(self) -> list[str]:
        """Return the names of the splits, sorted. Raises: UserError when no sub-folder is a pair set."""
        if names := sorted(path.parent.name for path in self.folder.glob(f"*/{MANIFEST}")):
            return names
        expected = f"sub-folders such as train and test, each with {MANIFEST}, which dvc repro prepares"
        raise UserError(f"{self.folder} holds no splits: expected {expected}")

    def test_names(self) -> list[str]:
        """Return the names of the test sets, sorted. Raises: UserError when there is none."""
        names = self.names()
        if tests := [name for name in names if name not in (TRAIN, VAL)]:
            return tests
        raise UserError(f"{self.folder} holds no test set, only {names}: run dvc repro, which prepares it first")

    def splits(self) -> dict[str, PairSet]:
        """Return the pair set of every split by name, sorted. Raises: UserError when there is none."""
        return {name: read_pairs(self.folder / name) for name in self.names()}

    @property
    def train(self) -> PairSet:
        """The training pairs. Raises: UserError when there are none."""
        return read_pairs(self.folder / TRAIN)

    @property
    def val(self) -> PairSet | None:
        """The validation pairs, or None where the data set has none."""
        return read_pairs(self.folder / VAL) if (self.folder / VAL / MANIFEST).is_file() else None

    def tests(self) -> dict[str, PairSet]:
        """Return the test sets by name, at their own sizes where these were kept. Raises: UserError for none."""
        own = {name: self.folder / NATIVE / name for name in self.test_names()}
        return {name: read_pairs(path if path.is_dir() else self.folder / name) for name, path in own.items()}
