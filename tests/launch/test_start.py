"""What comes before the ranks happens once, and leaves nothing behind where it fails."""

import json
import os
from pathlib import Path

import pytest
from llama_gpt4_launch.start import prepare_run
from llama_gpt4_launch.watch import Pulse

from llama_gpt4.compose import compose_training
from llama_gpt4.errors import InputError
from llama_gpt4.frozen_config import load_resolved
from llama_gpt4.program import ExitReport, hold

from .test_local import handlers_put_back  # noqa: F401


def test_the_directory_is_taken_and_ready(tmp_path: Path) -> None:
    run_dir, cache = tmp_path / "run", tmp_path / "cache"
    config = compose_training([f"run_dir={run_dir}", f"data.cache_dir={cache}"])
    run_dir.mkdir()
    (run_dir / "exit.json").write_text("{}")
    Pulse(run_dir, "rank-7").beat()
    report = ExitReport()
    lock = prepare_run(config, report)
    assert report.run_dir == run_dir
    assert load_resolved(run_dir / "config.yaml") == config
    assert sorted(os.listdir(run_dir)) == [".lock", "config.yaml"]
    assert any(cache.glob("*/train/tokens.bin"))
    with pytest.raises(InputError, match="in use"):
        hold(run_dir)
    os.close(lock)


def test_bad_data_leave_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    records = tmp_path / "records.json"
    records.write_text(json.dumps([{"instruction": "x"}]))
    arguments = [f"run_dir={tmp_path}/run", f"data.cache_dir={tmp_path}/cache"]
    config = compose_training([*arguments, f"data.files=[{records}]"])
    with pytest.raises(SystemExit) as end:
        prepare_run(config, ExitReport())
    assert end.value.code == 2
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("llama-gpt4 train: ") and "records.json" in line
    assert not (tmp_path / "run").exists()
