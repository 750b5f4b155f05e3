"""Seeds that depend on what an item is, never on when or where it is processed."""

import hashlib


def item_seed(*parts: int | str) -> int:
    """Return a seed in [0, 2**63) that is a hash of the parts: the same on every machine and in every process."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
