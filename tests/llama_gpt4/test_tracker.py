"""A tracker beside a run: Weights & Biases, offline unless somebody is logged in, or TensorBoard;
the same run after a restart, and never a reason to wait or to fail."""

import importlib.util
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import image

from llama_gpt4 import tracker as tracker_module
from llama_gpt4.compose import compose_training
from llama_gpt4.errors import InputError
from llama_gpt4.frozen_config import freeze, load_resolved
from llama_gpt4.samples import Sample, store_samples
from llama_gpt4.summary import Summary, Table, store_summary
from llama_gpt4.tracker import CLOSE_SECONDS, Tracker, follow, require_installed, run_id

from ..command import CLI, ENVIRONMENT, FAST, metrics, train
from .offline_runs import history, offline_records, summarised, tracked

SUMMARY = Summary(
    {"share": 0.25}, {"table": Table(["name", "share"], [["a | b\nc", 0.5]])}, {"dot": "dot.png"}
)
DEAD_SERVER = "http://127.0.0.1:9"


def test_lines_are_followed_as_they_come(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    old = '{"step": 1}\n'
    file.write_text(old)
    ended = threading.Event()
    lines = follow(file, len(old), ended)
    with open(file, "a") as pen:
        pen.write('{"step": 2}\n{"ste')
    assert next(lines) == {"step": 2}
    with open(file, "a") as pen:
        pen.write('p": 3}\n')
    ended.set()
    assert list(lines) == [{"step": 3}]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run directory as it is when the training begins."""
    return begun(tmp_path / "run", "tracking.group=together", "tracking.tags=[mine]")


def begun(run_dir: Path, *overrides: str) -> Path:
    freeze(compose_training([f"run_dir={run_dir}", *overrides]))
    (run_dir / "logs").mkdir()
    (run_dir / "metrics.jsonl").touch()
    return run_dir


def tracker_of(run_dir: Path, start_step: int = 0) -> Tracker:
    return Tracker(load_resolved(run_dir / "config.yaml"), start_step)


@pytest.fixture
def nobody_logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


def dot_png() -> bytes:
    """A picture of one pixel."""
    file = io.BytesIO()
    image.imsave(file, np.zeros((1, 1, 3)), format="png")
    return file.getvalue()


def write(run_dir: Path, *steps: int) -> None:
    with open(run_dir / "metrics.jsonl", "a") as file:
        for step in steps:
            file.write(json.dumps({"step": step, "loss": 1 / step}) + "\n")


def test_the_id_in_a_checkpoint_counts_where_the_run_directory_has_none(tmp_path: Path) -> None:
    assert run_id(tmp_path, known="abc") == "abc" == run_id(tmp_path, known="def")


@pytest.mark.e2e
@pytest.mark.usefixtures("nobody_logged_in")
def test_offline_with_the_same_id_after_a_restart(run_dir: Path) -> None:
    tracker = tracker_of(run_dir)
    write(run_dir, 1, 2)
    tracker.close(has_model=False)
    again = tracker_of(run_dir, 2)
    write(run_dir, 3)
    again.close(has_model=False)
    ids, group, losses = tracked(run_dir)
    assert losses == {1: 1.0, 2: 0.5, 3: pytest.approx(1 / 3)}
    assert ids == {(run_dir / "wandb_id").read_text()}
    assert group == "together"


@pytest.mark.e2e
@pytest.mark.usefixtures("nobody_logged_in")
def test_the_offline_file_holds_all_that_there_is_to_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = tmp_path / "run"
    monkeypatch.setitem(ENVIRONMENT, "HOME", str(tmp_path / "home"))
    steps = ["train.steps=4", "train.eval_every_steps=2", "data.validation.share=0.05"]
    cache = f"data.cache_dir={tmp_path}/cache"
    wandb = ["tracking=wandb", "tracking.tags=[mine]"]
    asked = ["evaluation.questions=sample:en", "evaluation.n_questions=3"]
    train(run_dir, *steps, cache, *wandb, *asked, "evaluation.answer_tokens=8", processes=2)
    [file] = run_dir.glob("wandb/offline-run-*/run-*.wandb")
    records = list(offline_records(file))

    [run] = [record.run for record in records if record.HasField("run")]
    assert (run.project, run.job_type, list(run.tags)) == ("llama-gpt4", "train", ["tiny", "mine"])
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["optim"]["lr"] == 3e-3 and config["run_dir"] == str(run_dir)
    manifest = json.loads((run_dir / "checkpoints" / "step-4" / "manifest.json").read_text())
    assert manifest["state"]["wandb_id"] == run.run_id

    rows = history(file)
    written: dict[int, dict[str, Any]] = {}
    for line in map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines()):
        written.setdefault(line.pop("step"), {}).update(line)
    for step, values in written.items():
        assert values == {key: rows[step][key] for key in values}
    assert [step for step, row in rows.items() if "eval_loss" in row] == [0, 2, 4]
    assert any("save_stall_seconds" in row for row in rows.values())

    for step in (0, 2, 4):
        [table] = file.parent.glob(f"files/media/table/samples_{step}_*.table.json")
        shown = json.loads(table.read_text())
        stored = (run_dir / "samples" / f"step-{step}.jsonl").read_text().splitlines()
        assert len(stored) == 3
        samples = [dict(zip(shown["columns"], row, strict=True)) for row in shown["data"]]
        assert samples == [json.loads(line) for line in stored]

    compared = json.loads((run_dir / "before_after.json").read_text())
    [table] = file.parent.glob("files/media/table/before_after_4_*.table.json")
    shown = json.loads(table.read_text())
    columns = ["question", "before", "after"]
    assert (shown["columns"], shown["data"]) == (
        columns,
        [[answer[column] for column in columns] for answer in compared["answers"]],
    )
    perplexity = {f"perplexity/{when}": compared["perplexity"][when] for when in columns[1:]}
    summary = summarised(file)
    assert {key: summary[key] for key in perplexity} == perplexity

    artifacts = {r.artifact.type: r.artifact for r in records if r.HasField("artifact")}
    model = artifacts["model"]
    assert (model.name, json.loads(model.metadata)) == ("run-model", {"step": 4})
    assert {entry.path: entry.ref for entry in model.manifest.contents} == {
        f"step-4/{path.name}": path.as_uri() for path in (run_dir / "model").iterdir()
    }
    report = json.loads(artifacts["dataset"].metadata)
    assert report == json.loads((run_dir / "data.json").read_text())
    assert report["train"]["used"] + report["validation"]["used"] == 230
    # Nothing that a later `wandb sync` needs is elsewhere.
    assert not list((tmp_path / "home").rglob("staging"))


@pytest.mark.e2e
def test_tensorboard_shows_the_same_and_takes_back_what_is_trained_again(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_dir = begun(tmp_path / "run", "tracking=tensorboard")
    tracker = tracker_of(run_dir)
    store_samples(run_dir, 2, [Sample("a record", "a prompt", "an answer", "stop", None)])
    write(run_dir, 1, 2, 3)
    with open(run_dir / "metrics.jsonl", "a") as file:
        file.write('{"step": 2, "eval_loss": 7.5, "mfu": null}\n')
    store_summary(run_dir, SUMMARY)
    (run_dir / "dot.png").write_bytes(dot_png())
    tracker.close(has_model=True)
    again = tracker_of(run_dir, 2)
    write(run_dir, 3, 4)
    again.close(has_model=False)
    events = EventAccumulator(str(run_dir / "tensorboard")).Reload()
    shown = [(event.step, event.value) for event in events.Scalars("loss")]
    assert shown == [(step, pytest.approx(1 / step)) for step in (1, 2, 3, 4)]
    assert [(e.step, e.value) for e in events.Scalars("eval_loss")] == [(2, 7.5)]
    assert "mfu" not in events.Tags()["scalars"]
    [sample] = events.Tensors("samples/0/text_summary")
    assert sample.step == 2
    assert b"an answer" in sample.tensor_proto.string_val[0]
    assert [(e.step, e.value) for e in events.Scalars("share")] == [(2, 0.25)]
    [table] = events.Tensors("table/text_summary")
    assert b"| a \\| b<br>c | 0.5 |" in table.tensor_proto.string_val[0]
    [picture] = events.Images("dot")
    assert (picture.step, picture.width, picture.height) == (2, 1, 1)
    assert b"lr: 0.003" in events.Tensors("config/text_summary")[0].tensor_proto.string_val[0]


def test_a_tracker_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = compose_training(["tracking=tensorboard"]).tracking
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install tensorboard"):
        require_installed(tracking)
    require_installed(compose_training(["tracking=wandb"]).tracking)


@pytest.mark.e2e
@pytest.mark.usefixtures("nobody_logged_in")
def test_it_ends_with_its_trainer(run_dir: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from llama_gpt4.tracker import Tracker; "
        "from llama_gpt4.frozen_config import load_resolved; "
        "tracker = Tracker(load_resolved(Path(sys.argv[1]) / 'config.yaml'), 0); "
        "print(tracker._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    write(run_dir, 1)
    trainer = subprocess.run([sys.executable, "-c", code, str(run_dir)], stdout=subprocess.PIPE)
    process = Path(f"/proc/{int(trainer.stdout)}")
    until = time.monotonic() + CLOSE_SECONDS + 60
    while is_alive(process) and time.monotonic() < until:
        time.sleep(0.1)
    assert not is_alive(process)


def is_alive(process: Path) -> bool:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.e2e
def test_a_dead_server_neither_stops_nor_holds_a_run(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    environment = {key: value for key, value in ENVIRONMENT.items() if key != "WANDB_MODE"}
    environment |= {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": DEAD_SERVER}
    arguments = [*FAST, "tracking=wandb", f"run_dir={run_dir}", "train.steps=3"]
    process = subprocess.Popen(
        [*CLI, "train", *arguments, "launch.processes=1"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not list(run_dir.glob("checkpoints/step-3")):
        time.sleep(0.1)
    trained = time.monotonic()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert time.monotonic() - trained < CLOSE_SECONDS + 60
    assert "wandb" not in (out + err).replace("tracking=wandb", "")
    assert "offline" in (run_dir / "logs" / "wandb.log").read_text()
    losses = tracked(run_dir)[2]
    assert losses == {line["step"]: line["loss"] for line in metrics(run_dir)}


@pytest.mark.e2e
def test_a_server_that_never_answers_delays_the_end_by_a_bounded_time(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker_module, "CLOSE_SECONDS", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.delenv("WANDB_MODE", raising=False)
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        tracker = tracker_of(run_dir)
        write(run_dir, 1)
        began = time.monotonic()
        tracker.close(has_model=False)
        assert time.monotonic() - began < 60
    assert tracker._process.returncode is not None


@pytest.mark.e2e
def test_without_tracking_nobody_imports_it(tmp_path: Path) -> None:
    code = (
        "import sys; from llama_gpt4 import train; code = train.main(sys.argv[1:]); "
        "sys.exit('wandb' in sys.modules or code)"
    )
    arguments = [*FAST, f"run_dir={tmp_path}/run", "train.steps=1"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not os.path.exists(tmp_path / "run" / "wandb")
    assert not os.path.exists(tmp_path / "run" / "wandb_id")
