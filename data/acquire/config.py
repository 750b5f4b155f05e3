"""Where the archives of a data set come from, as rows of params.yaml."""

import re

from pydantic import Field, field_validator

from data.pairs.config import Config


def leads_out(path: str) -> bool:
    """Return whether a path from a row or an archive may point outside the folder that it is meant for."""
    return bool(re.match(r"[/\\]|[A-Za-z]:", path)) or ".." in re.split(r"[/\\]", path) or "\0" in path


class Archive(Config):
    """One file to download, or to get by hand, and to unpack."""

    name: str = Field(pattern=r"^[A-Za-z0-9][\w.() -]*$", description="plain name of the file on disk")
    url: str = Field(
        default="", pattern=r"^(https?://\S+)?$", description="where it is downloaded; empty if it is got by hand"
    )
    sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-fA-F]{64}$", description="as published; else that of the first download counts"
    )
    into: str = Field(default="", description="sub-folder that it is unpacked into")

    @field_validator("into")
    @classmethod
    def _into_stays_inside(cls, into: str) -> str:
        if leads_out(into):
            raise ValueError(f"into must be a sub-folder such as images, got {into!r}")
        return into


class Download(Config):
    """The archives of a data set and the terms that they come under."""

    page: str = Field(description="web page where a person finds the data set")
    licence: str = Field(description="its terms in a sentence")
    accept_licence: bool = Field(default=False, description="true once the terms are read; nothing is fetched before")
    archives: tuple[Archive, ...] = Field(min_length=1, description="what is fetched and unpacked, in this order")
    max_gb: float = Field(
        default=50, gt=0, description="most that may be unpacked, all archives together, in 10**9 bytes"
    )

    @field_validator("archives")
    @classmethod
    def _names_are_unique(cls, archives: tuple[Archive, ...]) -> tuple[Archive, ...]:
        names = [archive.name for archive in archives]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"archives: the same name twice: {', '.join(twice)}")
        return archives
