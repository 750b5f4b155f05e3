"""Errors that a user can mend."""

import contextlib
import errno
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence


class UserError(Exception):
    """A title and every problem of one kind, one line each; the command line prints it and exits 2."""

    def __init__(self, title: str, problems: Iterable[str] = ()) -> None:
        self.title = title
        self.problems = tuple(problems)
        super().__init__(str(self))

    def __str__(self) -> str:
        return "\n".join([self.title, *(f"  {problem}" for problem in self.problems)])


class BadImageError(ValueError):
    """A file that cannot be used as it is; the message says why and what to do, `code` is the fault's name."""

    def __init__(self, message: str, code: str) -> None:
        self.code = code
        super().__init__(message)


def to_mend(what: str, problems: Sequence[str]) -> str:
    """Return the title of an error with all problems of a data set."""
    return f"{what}: {len(problems)} problem{'s' if len(problems) > 1 else ''} to mend, then run again"


def few(problems: Sequence[str], most: int = 10) -> list[str]:
    """Return the first problems, and a line that says how many more there are."""
    left = len(problems) - most
    return [*problems[:most], f"and {left} more"] if left > 0 else list(problems)


@contextlib.contextmanager
def naming(where: object) -> Iterator[None]:
    """Put the file, or the place in it, in front of the message of a BadImageError that the block raises."""
    try:
        yield
    except BadImageError as error:
        raise BadImageError(f"{where}: {error}", error.code) from error


MEANINGS = {
    errno.ENOSPC: "the disk is full: free some space and run again, what is finished is kept",
    errno.EDQUOT: "the disk quota is used up: free some space and run again, what is finished is kept",
    errno.EACCES: "there is no permission: let your user read it, and write where results go",
    errno.EPERM: "there is no permission: let your user read it, and write where results go",
    errno.EROFS: "the disk can only be read: write to another place",
    errno.ENAMETOOLONG: "the name is too long for this disk: rename the file, or take a folder higher up",
    errno.EMFILE: "too many files are open at a time: raise the limit (ulimit -n 4096) and run again",
    errno.ENFILE: "too many files are open on this machine: close some programs and run again",
    errno.ENOENT: "there is no such file or folder: it was moved or removed, or a link leads nowhere",
    errno.EISDIR: "it is a folder where a file is needed: name a file",
    errno.ENOTDIR: "it is a file where a folder is needed: name a folder",
    errno.EEXIST: "it is there already: move it away",
    errno.ENOTEMPTY: "another program writes into this folder: wait for it, then run again",
    errno.ELOOP: "links lead in a circle: put the file itself there",
    errno.EIO: "the disk or the network drive failed: check it, then run again",
    errno.ESTALE: "the network drive was lost: mount it again, then run again",
    errno.ENOMEM: "there is not enough memory: close some programs, or take smaller batches or images",
}


def system_problem(error: OSError) -> str:
    """Return what a refusal of the system means and what to do, in one line; the file is the caller's to name."""
    if error.errno is None:
        return one_line(str(error)) or type(error).__name__
    return MEANINGS.get(error.errno, f"{one_line(error.strerror or str(error))} (error {error.errno} of the system)")


def one_line(text: str, most: int = 300) -> str:
    """Return a text on one line that can be printed everywhere, cut where it is longer than `most` letters."""
    plain = " ".join(text.encode(errors="surrogateescape").decode(errors="backslashreplace").split())
    return plain if len(plain) <= most else f"{plain[:most]}..."


def redacted(text: str) -> str:
    """Return a text without the secrets of addresses in it: users, passwords, and what follows a question mark."""
    text = re.sub(r"(\w+://)[^\s/'\"]*@", r"\1***@", text)
    return re.sub(r"(\w+://[^\s?#'\"]+|url: /[^\s?#]*)[?#][^\s'\")>]+", r"\1?***", text)


def as_user_error(error: Exception) -> UserError | None:
    """Return what an error of the system or of a codec means to the user, or None for what is a fault of ours."""
    if isinstance(error, OSError) and error.errno is not None:
        places = [one_line(str(place)) for place in (error.filename, error.filename2) if isinstance(place, str | bytes)]
        return UserError(f"{' to '.join(places) or 'the output'}: {system_problem(error)}")
    if isinstance(error, UnicodeEncodeError):
        name = one_line(str(error.object))
        return UserError(f"{name}: holds signs that are not UTF-8, such as a name in Latin-1: rename the file")
    if isinstance(error, UnicodeDecodeError):
        return UserError(f"a file is no UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8")
    if isinstance(error, zipfile.BadZipFile | zlib.error):
        return UserError(f"a packed file is damaged ({one_line(str(error))}): remove it and run again")
    if isinstance(error, BadImageError):
        return UserError(one_line(str(error)))
    if isinstance(error, MemoryError):
        return UserError(MEANINGS[errno.ENOMEM], [one_line(str(error))] if str(error) else [])
    return None
