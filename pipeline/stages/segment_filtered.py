"""segment_filtered: segment for a set that a filter has passed, named by its generator and the filter."""

from pipeline.stages import segment

READS = segment.READS


def run(item: dict, params) -> None:
    """Write what `segment` writes. Raises: UserError as `segment`."""
    segment.run(as_segment(item), params)


def as_segment(item: dict) -> dict:
    """Return the same run as options of `segment`."""
    named = {key: value for key, value in item.items() if key not in ("generator", "filter")}
    return {**named, "source": f"{item['generator']}-{item['filter']}", "multiple": 1}
