"""What a run says at its end is read as it was written."""

from pathlib import Path

from llama_gpt4.summary import Summary, Table, read_summary, store_summary


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_summary(tmp_path) is None
    said = Summary({"share": 0.5}, {"table": Table(["a"], [[1], [2]])}, {"curve": "curve.png"})
    store_summary(tmp_path, said)
    assert read_summary(tmp_path) == said
