"""What DVC would do under a params.yaml, found out without touching the working tree."""

import contextlib
import logging
import os
import shlex
from collections.abc import Iterator, Set
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Literal, NamedTuple

from data.pairs.errors import UserError
from pipeline.params.blocks import NUMBERS
from pipeline.params.presets import composed
from pipeline.record.dvc_locks import held_locks, locked
from pipeline.record.recording import file_system
from pipeline.stages.segment_filtered import as_segment

State = Literal["up to date", "cached", "to run"]
ADVICE = {
    "is not a git repository": (
        "DVC looks for git: `git init` here, or `dvc config core.no_scm true` to work without it"
    ),
    "not inside of a DVC repository": (
        "run from the folder that holds dvc.yaml; if its .dvc was not copied along: `dvc init --no-scm`"
    ),
}
CHECK = "check"  # the stage that all others come after, when params.yaml has changed: it takes a second


Item = dict[str, str | int | None]


class Planned(NamedTuple):
    """A stage, what it waits for, and what is known of its outputs.

    `cached`: its outputs come out of the DVC cache. `bytes` is their size when they were last made, as in dvc.lock.
    """

    name: str
    verb: str
    item: Item
    state: State
    needs: set[str]
    bytes: int | None


def verb_and_item(command: str, name: str) -> tuple[str, Item]:
    """Return what `python -m pipeline VERB --key value ...` names, where it is the command of the stage `name`."""
    _, _, _, verb, *options = shlex.split(command.replace("$DVC_STAGE", name.partition("@")[2]))
    pairs = zip(options[::2], options[1::2], strict=True)
    texts = {key[2:]: value for key, value in pairs}
    numbers = {key: int(texts[key]) if texts[key] else None for key in NUMBERS if key in texts}
    item: Item = {**texts, **numbers}
    return ("segment", as_segment(item)) if verb == "segment_filtered" else (verb, item)


def _restorable(repo, stage) -> bool:
    """Return whether DVC would find an earlier run with the same inputs, whose outputs lie in its cache."""
    from dvc.exceptions import DvcException
    from dvc_data.hashfile.hash_info import HashInfo

    try:
        stage.save_deps()  # in memory alone: the hashes by which an earlier run with the same inputs is found
        for out in stage.outs:
            out.hash_info = HashInfo()  # or else what dvc.lock says of them is taken
        repo.stage_cache.restore(stage, dry=True)
    except DvcException:
        return False
    return True


def _when_only_files_lack(stage, changes: list, made: list[str]) -> State | None:
    """Return the state of a stage when only files in `made` or of its own are gone; None when more has changed."""
    if not all(isinstance(change, dict) for change in changes):
        return None
    deps = {path: how for change in changes for path, how in change.get("changed deps", {}).items()}
    ours = all(any(stage.repo.fs.overlaps(os.path.abspath(path), out) for out in made) for path in deps)
    if not ours or any(how != "deleted" for how in deps.values()):
        return None
    if not stage.outs_cached():
        return "to run"
    return "cached" if any("changed outs" in change for change in changes) else "up to date"


def plan_stages(params: Path) -> list[Planned]:
    """Return every stage of dvc.yaml under `params`, each after those that it needs.

    A stage after one with other inputs than before counts as "to run", although DVC skips it when the outputs turn out
    to be the same, or finds it in the cache then. One that must run again with the same inputs, because its outputs are
    lost or were never pulled, is taken to make the same bytes.

    Raises: UserError when dvc.yaml and the file do not fit.
    """
    logging.getLogger("dvc").setLevel(logging.ERROR)  # "is cached - skipping run": nothing is checked out here
    with _locked_repo(composed(params), str(params)) as repo:  # a preset may take sections from others
        graph = repo.index.graph  # an edge leads from a stage to one that it needs
        status = repo.status()
        made = [out.fs_path for stage in graph for out in stage.outs]
        planned: list[Planned] = []
        moved: set[str] = set()  # whose outputs will be others than those in dvc.lock
        for stage in TopologicalSorter({stage: list(graph.successors(stage)) for stage in graph}).static_order():
            name, changes = stage.addressing, status.get(stage.addressing, [])
            if name == CHECK:
                continue
            needs = {other.addressing for other in graph.successors(stage)} - {CHECK}
            size = sum(out.meta.size or 0 for out in stage.outs) or None
            state: State | None = "to run" if needs & moved else "up to date" if not changes else None
            state = state or _when_only_files_lack(stage, changes, made)
            if state is None or needs & moved:
                moved.add(name)
            state = state or ("cached" if _restorable(repo, stage) else "to run")
            planned.append(Planned(name, *verb_and_item(stage.cmd, name), state, needs, size))
    return planned


@contextlib.contextmanager
def _locked_repo(params: str | None, what: str) -> Iterator[Any]:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(fs=file_system(params)) as repo, locked(repo):
            yield repo
    except DvcException as error:
        advice = [text for words, text in ADVICE.items() if words in str(error)]
        raise UserError(f"dvc cannot plan {what}: {error}", [*advice, *held_locks()]) from error


def _with_those_after(changed: set[str], needs: dict[str, set[str]]) -> set[str]:
    while after := {name for name, others in needs.items() if name not in changed and others & (changed - {CHECK})}:
        changed = changed | after
    return changed


def stages_to_run(targets: list[str], running: Set[str] = frozenset()) -> dict[str, set[str]]:
    """Return the stages that are not up to date or come after one that is not -> those of them that each waits for.

    `running` are stages that are at work already; they and those after them count as not up to date.

    Raises: UserError when a target is no stage of dvc.yaml, or dvc.yaml and params.yaml do not fit.
    """
    from networkx import descendants

    with _locked_repo(None, "the run") as repo:
        graph = repo.index.graph  # an edge leads from a stage to one that it needs
        named = [stage for target in targets for stage in repo.stage.collect(target)] if targets else list(graph)
        wanted = set(named).union(*(descendants(graph, stage) for stage in named))
        needs = {stage.addressing: {other.addressing for other in graph.successors(stage)} for stage in wanted}
        changed = _with_those_after({*running} & needs.keys(), needs)
        if others := [name for name in needs if name not in changed]:  # DVC does not answer for what is at work
            changed |= set(repo.status(others))
    changed = _with_those_after(changed, needs)
    return {name: others & changed for name, others in needs.items() if name in changed}
