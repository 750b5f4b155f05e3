"""sample_second_volume: sample_volume for the multiples of the block second_volume."""

from pipeline.stages.sample_volume import run

READS = {"sampling": "sampling", "multiples": "second_volume.multiples"}

__all__ = ["READS", "run"]
