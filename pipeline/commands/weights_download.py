"""Download weight files, apart from `evaluation.features.weights` so that no score depends on this code."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from data.acquire.fetch import Known, fetch
from data.pairs.errors import UserError
from evaluation.features.weights import WEIGHTS, Found, WeightFile, elsewhere, look, record, record_path, recorded

REACH_S = 3  # to connect to a server before anything is downloaded


def fetch_weights(names: Iterable[str], folder: Path) -> None:
    """Download what is missing or altered, each file whole or not at all; an altered one is kept as <file>.wrong.

    Raises: UserError that lists every file that could not be had, after all have been tried.
    """
    found = {name: look(WEIGHTS[name], folder) for name in names}
    wanted = {name: one for name, one in found.items() if one.state in ("missing", "altered")}
    # Downloads try again for half a minute each; someone who is offline should hear of it at once.
    with ThreadPoolExecutor() as pool:
        reasons = dict(zip(wanted, pool.map(_unreachable, (WEIGHTS[name].url for name in wanted)), strict=True))
    problems = []
    for name, one in wanted.items():
        try:
            if reason := reasons[name]:
                raise UserError(f"the server cannot be reached: {reason}")
            _download(WEIGHTS[name], one)
        except UserError as error:
            problems += [f"{name}: {error.title}", *(f"  {problem}" for problem in error.problems)]
        except OSError as error:
            problems.append(f"{name}: {one.path} could not be written: {error}")
        else:
            continue
        problems.append(elsewhere(WEIGHTS[name], one.path))
    if problems:
        raise UserError("weight files that could not be had", problems)


def _unreachable(url: str) -> str | None:
    """Return why no connection can be made; an answer of any kind is one."""
    import requests

    try:
        requests.head(url, timeout=REACH_S)
    except requests.ConnectionError as error:
        return str(error)
    except requests.RequestException:
        pass
    return None


def _download(file: WeightFile, found: Found) -> None:
    """Put the right file in place. Raises: UserError and OSError."""
    path, first = found.path, recorded(found.path)
    if found.state == "altered":
        path.replace(path.with_name(f"{path.name}.wrong"))
    there = PurePosixPath(urlsplit(file.url).path).name
    page = file.page if there == file.name else f"{file.page} (there it is called {there})"
    sha256 = fetch(file, path.parent, Known(first, record_path(path)) if first else None, page)
    if file.sha256 is None:
        record(Found("unverified", path, sha256))
