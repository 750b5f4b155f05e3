"""What is known of cards without one: peak arithmetic by name, and which measured peaks of memory fit which size."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

GIB = 2**30
SIZES_GIB = (12, 16, 24, 48, 80)
RESERVED_GIB, FRAGMENTED = 1.0, 0.05  # context and libraries; what an allocator cannot use


class Peak(NamedTuple):
    """Peak arithmetic without sparsity, FLOP/s, of NVIDIA's data sheets; None where a card has no such unit."""

    bf16: float | None
    tf32: float | None
    fp32: float


_A100 = Peak(312e12, 156e12, 19.5e12)
PEAKS = {  # by the exact name that the driver gives: cards of like names differ
    "NVIDIA H200": Peak(989e12, 494e12, 67e12),
    "NVIDIA H100 80GB HBM3": Peak(989e12, 494e12, 67e12),
    "NVIDIA H100 PCIe": Peak(756e12, 378e12, 51e12),
    **dict.fromkeys(("NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-80GB"), _A100),
    **dict.fromkeys(("NVIDIA A100-PCIE-40GB", "NVIDIA A100 80GB PCIe"), _A100),
    "NVIDIA L40S": Peak(362e12, 183e12, 91.6e12),
    "NVIDIA L4": Peak(121e12, 60e12, 30.3e12),
    "NVIDIA A10": Peak(125e12, 62.5e12, 31.2e12),
    "NVIDIA RTX A6000": Peak(154.8e12, 77.4e12, 38.7e12),
    "NVIDIA GeForce RTX 4090": Peak(165.2e12, 82.6e12, 82.6e12),
    "NVIDIA GeForce RTX 3090": Peak(71e12, 35.6e12, 35.6e12),
    **dict.fromkeys(("Tesla V100-SXM2-16GB", "Tesla V100-SXM2-32GB"), Peak(None, None, 15.7e12)),
    "Tesla T4": Peak(None, None, 8.1e12),
}

Row = Mapping[str, Any]


def peak_of(card: str, precision: str, *, tf32: bool) -> tuple[str, float] | None:
    """Return the unit that a precision runs on, at best, and its peak; None for a card that is not in the table."""
    peak = PEAKS.get(card)
    if peak is None:
        return None
    wanted = "bf16" if precision == "bf16" else "tf32" if tf32 else "fp32"
    value = getattr(peak, wanted)
    return (wanted, value) if value else ("fp32", peak.fp32)


def limit_bytes(size_gib: int) -> int:
    """Return the peak of allocated memory up to which a run is said to fit a card of that size."""
    return int(((1 - FRAGMENTED) * size_gib - RESERVED_GIB) * GIB)


def setting(row: Row) -> str:
    """Return what a row of the memory part was measured with, without its batch."""
    named = [f"{row['size_px']} px", row["precision"]]
    if row["what"] == "train":
        named += ["gradient checkpointing"] * row["checkpointing"]
        named += [row["optimizer"]] * (row["optimizer"] != "adamw") + ["ema"] * row["ema"]
    return ", ".join(named)


def _largest(rows: Sequence[Row], limit: int) -> dict[str, Any]:
    """Return the largest measured batch within the limit, or null with the reason; no batch is reckoned."""
    measured = [row for row in rows if row["peak_bytes"] is not None]
    if not measured:
        return {"batch": None, "reason": rows[0]["reason"]}
    fitting = [row for row in measured if row["peak_bytes"] <= limit]
    if not fitting:
        least = min(measured, key=lambda row: row["peak_bytes"])
        return {"batch": None, "reason": f"batch {least['batch']} takes {least['peak_bytes'] / GIB:.1f} GiB"}
    best = max(fitting, key=lambda row: row["batch"])
    return {"batch": best["batch"], "peak_bytes": best["peak_bytes"]}


def memory_table(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return for each size of card what trains and samples: setting -> the largest measured batch that fits.

    Batches of training are micro-batches: training.batch costs no memory beyond them.
    """
    kinds: dict[str, dict[str, list[Row]]] = {"train": {}, "sample": {}}
    for row in rows:
        if row.get("what") in kinds:
            kinds[row["what"]].setdefault(setting(row), []).append(row)
    return [
        {"card_gib": size, "limit_bytes": limit_bytes(size)}
        | {
            kind: {name: _largest(found, limit_bytes(size)) for name, found in settings.items()}
            for kind, settings in kinds.items()
        }
        for size in SIZES_GIB
    ]


def one_line(table: Sequence[Mapping[str, Any]], size_px: int) -> str:
    """Return what a card of 24 GB does at a size, in one line."""
    card = next(card for card in table if card["card_gib"] == 24)

    def listed(kind: str) -> str:
        found = {name: fit for name, fit in card[kind].items() if name.startswith(f"{size_px} px")}
        texts = [
            f"{name.partition(', ')[2]}: {fit['batch'] or 'none, ' + fit['reason']}" for name, fit in found.items()
        ]
        return "; ".join(texts) or "nothing was measured"

    return (
        f"kvasir at {size_px} px on a 24 GB card: trains siamese with training.micro_batch up to {listed('train')}. "
        f"Samples with sampling.batch up to {listed('sample')}."
    )
