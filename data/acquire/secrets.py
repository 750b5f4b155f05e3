"""Addresses without what nobody but their owner may read: users, passwords, and what follows a question mark."""

import hashlib
from urllib.parse import unquote, urlsplit

from data.pairs.errors import redacted

SECRET_LETTERS = 6  # shorter ones stand in other words too


def address(url: str) -> str:
    """Return what tells an address from others and may be written: its secrets are in it as a hash alone."""
    shown = redacted(url)
    return url if shown == url else f"{shown} {hashlib.sha256(url.encode()).hexdigest()}"


def without_secrets(text: str, url: str) -> str:
    """Return a text without the user, the password and the query of an address, wherever they stand in it."""
    parts = urlsplit(url)
    secrets = {parts.username, parts.password, parts.query, parts.fragment}
    known = {one for secret in secrets if secret for one in (secret, unquote(secret)) if len(one) >= SECRET_LETTERS}
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, "***")
    return redacted(text)
