"""Downloads as rows of params.yaml: where the files of a data set come from, and on which terms."""

import re
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from pydantic import Field, model_validator

from data.pairs.config import Config

SUMS = "SHA256SUMS"


class DownloadFile(Config):
    """One file: fetched from `url`, or brought by the user as `manual` tells."""

    url: str | None = None
    name: str | None = Field(default=None, description="file name; without it the last part of url")
    sha256: str | None = Field(default=None, description="as published; without it that of the first time is kept")
    to: str = Field(default="", description="sub-folder that it is unpacked to")
    manual: str | None = Field(default=None, description="how to get the file, where no url can be fetched")

    @property
    def file_name(self) -> str:
        """Return the name of the file in data/downloads/<name>/."""
        return self.name or PurePosixPath(unquote(urlsplit(self.url or "").path)).name

    @model_validator(mode="after")
    def _can_be_got_and_stored(self) -> "DownloadFile":
        if (self.url is None) == (self.manual is None):
            raise ValueError("must have either url, or manual with a text that tells how to get the file")
        if self.url is not None and (
            urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname
        ):
            raise ValueError(f"url must begin with https:// or http://, got '{self.url}'")
        if self.name is None and "." not in self.file_name:
            raise ValueError(f"needs name, since {'url ends in no file name' if self.url else 'there is no url'}")
        if not re.fullmatch(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*", self.file_name) or self.file_name == SUMS:
            raise ValueError(f"name must be a plain file name, got '{self.file_name}'")
        if self.sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 must be 64 hexadecimal digits in small letters, got '{self.sha256}'")
        if PurePosixPath(self.to).is_absolute() or not re.fullmatch(r"[^\\\x00-\x1f]*", self.to) or ".." in self.to:
            raise ValueError(f"to must be a sub-folder, got '{self.to}'")
        return self


class DownloadRow(Config):
    """What is fetched, or brought, and unpacked to data/raw/<name>."""

    files: tuple[DownloadFile, ...] = Field(min_length=1)
    licence: str = Field(min_length=1, description="the terms in a sentence")
    licence_url: str = Field(min_length=1, description="where the terms can be read")
    accept_licence: bool = Field(default=False, description="nothing is fetched before this is true")
    nested: bool = Field(default=False, description="also unpack archives within the archives, one level")
    max_gib: float = Field(default=50.0, gt=0, description="most that all files may come to once unpacked")

    @model_validator(mode="after")
    def _names_differ(self) -> "DownloadRow":
        names = [file.file_name for file in self.files]
        twice = sorted({name for name in names if sum(name.casefold() == other.casefold() for other in names) > 1})
        if twice:
            raise ValueError(f"files: two are called {', '.join(twice)}; give them a name each")
        return self
