"""Mutate params.yaml and presets in structure, values, types, syntax and bytes: every file is read or refused in lines.

python -m tests.campaigns.params_fuzz --cases 1500 --seed 7

Most cases are checked in this process, one of SHARE through the command line. The last line is a JSON of counts, and
the exit code is 1 if any of them is a failure.
"""

import io
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from data.pairs.errors import UserError
from pipeline.params.presets import composed
from pipeline.params.read import check_text, read_params
from tests.campaigns.counts import main
from tests.contracts.imports import ROOT

SHARE = 50  # every so many cases goes through the command line
SLOW_S = 10
MOST_LINES = 102
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 10**30, 0.5, -1e308, float("nan"), float("inf"), "", " ", "zero", "0", "../../x", "a.b",
    "x; touch F; #", "\u202e", "é", "a" * 5000, [], [[]], {}, [None], [1, "1", 1.0], {"a": {"b": []}}, ["phantom"] * 3,
)  # fmt: skip
LINES = (
    "x: !!bool maybe", "x: !!int z", "x: !!float z", "x: !!timestamp z", "x: !!binary '*'",
    "x: !!python/name:os.system",
    "x: !!set {a}", "x: !!omap [a]", "? [a, b]\n: 1", "1: 2", "null: 3", "2020-01-01: 4", "x: 2020-01-01", "<<: 1",
    "<<: *nothing", "x: &a [*a]", "\tx: 1", "x: [1", "x: {", "x: '", 'x: "\\z"', "---", "...", "%YAML 9.9",
    "extends: 1",
    "extends: [1]", "extends: {a: b}", "extends:", "extends: nothing.yaml", "extends: [params.yaml]",
    "extends: '../..'",
    "datasets: {}", "seeds: zero", "x: 1:30:00", "x: 0x" + "f" * 9000, "x: " + "9" * 5000, "x: " + "[" * 3000,
    "x: |\n y\n  z", "x: \x07", "x: \u2028y", "\ufeffx: 1", "- a", "@x", "`x`", "x: %", "x: *", "x: &", "x: !",
)  # fmt: skip


def bomb(chooser: random.Random) -> str:
    """Return few letters that stand for many values."""
    names = "abcdefghij"[: chooser.randint(3, 10)]
    first = f"{names[0]}: &{names[0]} [x, x, x, x, x, x, x, x]"
    rest = [f"{two}: &{two} [{', '.join([f'*{one}'] * 9)}]" for one, two in itertools.pairwise(names)]
    return "\n".join([first, *rest])


def _places(data: Any) -> list[tuple[Any, Any]]:
    """Return (container, key) of everything in nested lists and mappings."""
    found, todo = [], [data]
    while todo:
        here = todo.pop()
        pairs = (
            list(here.items()) if isinstance(here, dict) else list(enumerate(here)) if isinstance(here, list) else []
        )
        found += [(here, key) for key, _ in pairs]
        todo += [value for _, value in pairs]
    return found


def in_structure(text: str, chooser: random.Random) -> str:
    """Delete, exchange, rename, repeat or replace a few values."""
    data = YAML(typ="safe").load(text)
    for _ in range(chooser.randint(1, 4)):
        places = _places(data)
        if not places:
            break
        here, key = chooser.choice(places)
        how = chooser.randrange(6)
        if how == 0:
            del here[key]
        elif how == 1:
            other, other_key = chooser.choice(places)
            here[key] = json.loads(json.dumps(other[other_key])) if other_key in other or isinstance(other, list) else 1
        elif how == 2 and isinstance(here, dict):
            here[chooser.choice([f"{key}_", str(key).upper(), 1, "../x", "a b", "", str(key)[:-1]])] = here.pop(key)
        elif how == 3 and isinstance(here, list):
            here *= chooser.choice([2, 3, 400])
        else:
            here[key] = chooser.choice(VALUES)
    out = io.StringIO()
    YAML(typ="safe").dump(data, out)
    return out.getvalue()


def in_lines(text: str, chooser: random.Random) -> str:
    """Insert, delete, repeat, indent or exchange lines."""
    lines = text.split("\n")
    for _ in range(chooser.randint(1, 3)):
        place = chooser.randrange(len(lines))
        how = chooser.randrange(6)
        if how == 0:
            lines.insert(place, chooser.choice(LINES))
        elif how == 1:
            del lines[place : place + chooser.randint(1, 5)]
        elif how == 2:
            lines[place:place] = lines[place : place + chooser.randint(1, 30)]
        elif how == 3:
            lines[place] = " " * chooser.randint(1, 5) + lines[place].lstrip()
        elif how == 4:
            lines.append(chooser.choice(LINES))
        else:
            lines.insert(0, chooser.choice([*LINES, bomb(chooser)]))
        lines = lines or [""]
    return "\n".join(lines)


def in_bytes(text: str, chooser: random.Random) -> bytes:
    """Flip, cut, insert or replace bytes, or save in another encoding."""
    how = chooser.randrange(6)
    if how == 0:
        return text.encode(chooser.choice(["utf-16", "utf-32", "utf-8-sig", "cp1252"]), errors="replace")
    raw = bytearray(text.encode())
    if how == 1:
        return bytes(raw[: chooser.randrange(len(raw))])
    if how == 2:
        return b""
    for _ in range(chooser.randint(1, 20)):
        place = chooser.randrange(len(raw))
        if how == 3:
            raw[place] ^= 1 << chooser.randrange(8)
        elif how == 4:
            raw[place : place + chooser.randint(0, 8)] = bytes(
                chooser.randrange(256) for _ in range(chooser.randint(1, 8))
            )
        else:
            raw[place:place] = chooser.choice(
                [b"\0", b"\r", b"\t", b"[", b"{", b"&a ", b"*a ", b"- ", b": ", b"\xff", b"'"]
            )
    return bytes(raw)


def grown(text: str, chooser: random.Random) -> str:
    """Make a list, a section, a depth or a text far too large."""
    many = chooser.choice([200, 999, 1_001, 40_000, 75_000])
    return chooser.choice(
        [
            lambda: text.replace("  seeds: [0]", f"  seeds: [{', '.join(map(str, range(many)))}]", 1),
            lambda: text.replace(
                "\ngenerators:\n", "\ngenerators:\n" + "".join(f"  g{n}: {{}}\n" for n in range(many)), 1
            ),
            lambda: f"x: {'[' * many}",
            lambda: f"x: {'{a: ' * many}",
            lambda: "- " * many,
            lambda: f"{text}\nx: {'y' * many}",
            lambda: f"{text}\n{bomb(chooser)}",
            lambda: text.replace("datasets: [phantom]", f"datasets: [{', '.join(f'd{n}' for n in range(many))}]"),
        ]
    )()


KINDS: dict[str, Callable[[str, random.Random], str | bytes]] = {
    "structure": in_structure, "lines": in_lines, "bytes": in_bytes, "size": grown,
}  # fmt: skip


def outcome_here(path: Path, *, whole: bool) -> str:
    """Return how a file is taken in this process: read, refused, or what is a failure."""
    try:
        if whole:
            read_params(path)
        else:
            check_text(path.read_text(encoding="utf-8"), path)
    except UserError as error:
        lines = str(error).splitlines()
        return "refused" if len(lines) <= MOST_LINES and all(line.strip() for line in lines) else "unreadable error"
    except UnicodeDecodeError:
        return "refused"
    except BaseException as error:  # noqa: BLE001 (a failure of any kind is what is looked for)
        return f"traceback {type(error).__name__}"
    return "read"


def outcome_of_command(path: Path) -> str:
    """Return how the command line takes a file."""
    command = [sys.executable, "-m", "pipeline", "params", "--file", str(path)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return "hang"
    if done.returncode < 0 or "Traceback" in done.stderr:
        return f"crash {done.returncode}: {done.stderr[-300:]}"
    return {0: "read", 2: "refused"}.get(done.returncode, f"crash {done.returncode}")


def run(cases: int, seed: int) -> dict[str, Any]:
    """Return the counts of all outcomes, and every failure with the number of its case."""
    files = [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("[!_]*.yaml"))]
    texts = [composed(path) for path in files]
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        for case in range(cases):
            chooser = random.Random(f"{seed} {case}")
            kind = chooser.choice(list(KINDS))
            changed = KINDS[kind](chooser.choice([texts[0], chooser.choice(texts)]), chooser)
            path.write_bytes(changed if isinstance(changed, bytes) else changed.encode(errors="surrogatepass"))
            start = time.monotonic()
            by_command = case % SHARE == 0
            outcome = outcome_of_command(path) if by_command else outcome_here(path, whole=True)
            seconds = time.monotonic() - start
            slowest = max(slowest, seconds)
            if seconds > SLOW_S and not by_command:
                outcome = f"slow, {seconds:.0f} s"
            outcomes[f"{kind}, {outcome if outcome in ('read', 'refused') else 'failed'}"] += 1
            if outcome not in ("read", "refused"):
                failures.append(f"case {case}, {kind}: {outcome}")
    kept = {"cases": cases, "seed": seed, "slowest_s": round(slowest, 2), **dict(sorted(outcomes.items()))}
    kinds = {
        name: sum(name in one for one in failures) for name in ("traceback", "crash", "hang", "slow", "unreadable")
    }
    return {**kept, **kinds, "failures": failures}


if __name__ == "__main__":
    sys.exit(main(run, __doc__, cases=1500))
