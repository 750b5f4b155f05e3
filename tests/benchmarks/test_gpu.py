"""The GPU benchmark at toy size on the CPU: every part reports, one that ends badly ends alone, time is kept."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.gpu import PARTS
from benchmarks.on_gpu.cards import GIB, PEAKS, limit_bytes, memory_table, one_line, peak_of
from benchmarks.on_gpu.runner import ROOT, run_part

pytestmark = pytest.mark.heavy

CPU = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "DVC_NO_ANALYTICS": "1"}
TIMES = {"median", "least", "most", "rounds"}


def benchmark(out, *options):
    command = [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--out", str(out), *options]
    done = subprocess.run(command, cwd=ROOT, env=CPU, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["out"] == str(out)
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """Every part but the compiler's, with a first one that fails."""
    kept = [name for name in PARTS if name != "compile"]
    out = tmp_path_factory.mktemp("gpu") / "gpu.json"
    return benchmark(out, "--minutes", "60", "--repro", "no-such-stage", "--parts", *kept)


def rows(result, part, what):
    found = [row for row in result["parts"][part]["rows"] if row["what"] == what]
    assert found, f"{part} has no row of {what}"
    return found


def test_every_part_is_there_with_its_end(result):
    assert set(result["parts"]) == set(PARTS)
    assert {"device", "card", "driver", "versions", "cores"} <= set(result["machine"])
    assert result["device"] == "cpu"
    for name, part in result["parts"].items():
        assert set(part) >= {"status", "reason", "seconds", "limit_s", "rows"}, name
        assert (part["status"] == "done") == (part["reason"] is None), (name, part["reason"])


def test_a_part_that_fails_leaves_the_others(result):
    status = {name: part["status"] for name, part in result["parts"].items()}
    skipped = {"compile": "skipped", "default_run_whole": "skipped"}
    assert status == dict.fromkeys(PARTS, "done") | {"default_run": "failed"} | skipped
    assert "no-such-stage" in result["parts"]["default_run"]["reason"]


def test_null_has_a_reason(result):
    nullable = {"reserved_bytes", "device", "reason", "mfu_reason"}
    for name, part in result["parts"].items():
        for row in part["rows"]:
            empty = {key for key, value in row.items() if value is None} - nullable
            assert not empty or row.get("reason") or row.get("mfu_reason"), (name, row)


def test_step(result):
    speed = rows(result, "step", "speed")
    sides = {(row["side"], row["precision"], row["batch"]) for row in speed}
    assert sides >= {(side, precision, 2) for side in ("ours", "official") for precision in ("fp32", "bf16")}
    assert {row["batch"] for row in speed} == {1, 2}
    assert all(set(row["seconds_a_step"]) == TIMES and row["peak_bytes"] > 0 for row in speed)
    ours, official = rows(result, "step", "flops")
    assert (ours["side"], official["side"]) == ("ours", "official")
    assert official["flops_a_sample"] > ours["flops_a_sample"]
    again = {row["side"]: row["flops_a_sample_augmented"] - row["flops_a_sample"] for row in (ours, official)}
    assert again["ours"] == again["official"]  # one pass on the mask more, on both sides
    gradients = {row["precision"]: row["grad_rel_diff"] for row in rows(result, "step", "gradients")}
    assert gradients["fp32 without TF32"] < 1e-4
    assert 1e-5 < gradients["bf16"] < 0.1


def test_sampling(result):
    found = {(row["precision"], row["batch"]): row for row in rows(result, "sampling", "sampling")}
    assert set(found) == {(precision, batch) for precision in ("fp32", "bf16") for batch in (1, 2)}
    assert all(set(row["images_a_second"]) == {"ours", "pipeline"} for row in found.values())
    assert found["fp32", 2]["max_abs_diff"] < 1e-3


def test_switches(result):
    steps = {row["switch"]: row for row in rows(result, "switches", "step")}
    assert set(steps) >= {"as shipped", "channels_last off", "cudnn.benchmark", "expandable_segments"}
    assert steps["as shipped"]["speed_to_shipped"] == 1
    assert 0 < steps["channels_last off"]["grad_rel_diff"] < 1e-3  # it was another layout, and the same step
    assert "GPU" in steps["cudnn.benchmark"]["reason"]


def test_memory(result):
    trained = rows(result, "memory", "train")
    assert any(row["checkpointing"] for row in trained)
    assert any(row["ema"] for row in trained)
    assert any(row["optimizer"] == "adamw_8bit" for row in trained)
    part = result["parts"]["memory"]
    assert [card["card_gib"] for card in part["cards"]] == [12, 16, 24, 48, 80]
    assert part["line"].startswith("kvasir at 64 px on a 24 GB card: trains")


def test_the_default_run_gives_times_and_values_beside_those_of_the_commit(tmp_path):
    options = ("--minutes", "10", "--parts", "default_run", "--repro", "refiner@phantom-siamese")
    part = benchmark(tmp_path / "gpu.json", *options)["parts"]["default_run"]
    assert part["status"] == "done", part["reason"]
    first, *others = part["rows"]
    assert first["wall_s"] > 0
    assert {row["stage"] for row in others if row["what"] == "stage"} == {"prepare@phantom", "refiner@phantom-siamese"}
    values = {row["name"]: row for row in others if row["what"] == "value"}
    fidelity = values["scores/phantom/siamese-g0-random mask_fidelity"]
    recorded = json.loads((ROOT / "results/scores/phantom/siamese-g0-random.json").read_text())["mask_fidelity"]
    assert (fidelity["value"], fidelity["recorded_cpu"]) == (None, recorded)
    assert "not of the targets" in fidelity["reason"]


def test_no_part_begins_that_has_no_time(tmp_path):
    start = time.monotonic()
    found = benchmark(tmp_path / "gpu.json", "--minutes", "0.1")
    assert time.monotonic() - start < 30
    for name, part in found["parts"].items():
        assert part["status"] == "skipped", name
        assert "0.1 minutes" in part["reason"] or "make repro" in part["reason"]


WRITE_ONE = "import json, os, sys, time; open(sys.argv[1], 'a').write(json.dumps({'what': 'one'}) + '\\n'); "


@pytest.mark.parametrize(
    ("then", "status", "reason"),
    [
        ("time.sleep(600)", "stopped", "not done after 2 s"),
        ("os.kill(os.getpid(), 9)", "failed", "SIGKILL"),
        ("open(sys.argv[1], 'a').write('{\"what\": \"cut'); raise MemoryError('too large')", "failed", "too large"),
        ("pass", "done", None),
    ],
)
def test_rows_of_a_part_outlive_it(tmp_path, then, status, reason):
    path = tmp_path / "part.jsonl"
    outcome = run_part([sys.executable, "-c", WRITE_ONE + then, str(path)], path, 2)
    assert outcome["status"] == status
    assert outcome["rows"] == [{"what": "one"}]
    assert outcome["reason"] is None if reason is None else reason in outcome["reason"]


def test_what_a_stopped_part_has_started_ends_with_it(tmp_path):
    child = "import subprocess, sys, time; p = subprocess.Popen(['sleep', '600'], start_new_session=True); "
    child += "print(p.pid, file=open(sys.argv[1], 'w')); time.sleep(600)"
    pid = tmp_path / "pid"
    assert run_part([sys.executable, "-c", child, str(pid)], tmp_path / "rows.jsonl", 2)["status"] == "stopped"
    status = Path("/proc") / pid.read_text().strip() / "status"
    assert not status.exists() or "Z (zombie)" in status.read_text()


def train_row(batch, gib, **setting):
    row = {"what": "train", "size_px": 384, "precision": "fp32", "checkpointing": False, "optimizer": "adamw"}
    peak = None if gib is None else int(gib * GIB)
    return row | {"ema": False, "batch": batch, "peak_bytes": peak} | setting


def test_cards_take_the_largest_measured_batch_that_leaves_the_margin():
    assert limit_bytes(24) == int(21.8 * GIB)
    measured = [train_row(1, 14.0), train_row(2, 18.0), train_row(4, 21.9)]
    measured += [train_row(1, None, optimizer="adamw_8bit", reason="not installed")]
    cards = {card["card_gib"]: card["train"] for card in memory_table(measured)}
    assert {size: card["384 px, fp32"]["batch"] for size, card in cards.items()} == {
        12: None, 16: 1, 24: 2, 48: 4, 80: 4,
    }  # fmt: skip
    assert cards[12]["384 px, fp32"]["reason"] == "batch 1 takes 14.0 GiB"
    assert cards[80]["384 px, fp32, adamw_8bit"] == {"batch": None, "reason": "not installed"}
    line = one_line(memory_table(measured), 384)
    assert "fp32: 2;" in line
    assert "fp32, adamw_8bit: none, not installed" in line


def test_peaks_are_of_cards_by_their_exact_name():
    assert peak_of("NVIDIA H200", "bf16", tf32=True) == ("bf16", PEAKS["NVIDIA H200"].bf16)
    assert peak_of("NVIDIA A100-SXM4-80GB", "fp32", tf32=True) == ("tf32", 156e12)
    assert peak_of("NVIDIA A100-SXM4-80GB", "fp32", tf32=False) == ("fp32", 19.5e12)
    assert peak_of("Tesla T4", "bf16", tf32=True) == ("fp32", 8.1e12)
    assert peak_of("NVIDIA H200 NVL", "bf16", tf32=True) is None


@pytest.mark.slow
def test_compiled_blocks_give_the_same(tmp_path):
    part = benchmark(tmp_path / "gpu.json", "--minutes", "30", "--parts", "compile")["parts"]["compile"]
    assert part["status"] == "done", part["reason"]
    compiled = {row["what"]: row for row in part["rows"] if row["switch"].startswith("torch.compile")}
    assert compiled["step"]["grad_rel_diff"] < 1e-3
    assert compiled["sampling"]["max_abs_diff"] < 1e-3
