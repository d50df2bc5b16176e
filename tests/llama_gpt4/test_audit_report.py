"""The audit as people read it: a table of 80 columns, a JSON file and a picture."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llama_gpt4.audit_report import audit_lines, batchings, padding_share, write_audit
from llama_gpt4.prepare import prepare


def test_the_tables_fit_80_columns_and_count_everything(config_for, write_json) -> None:
    records = [{"instruction": "Count.", "output": "word " * n} for n in range(1, 90)]
    long_name = f"{'a' * 60}.json"
    changes = {"data.files": [write_json(records, long_name)], "data.row_tokens": 96}
    config = config_for(**changes)
    prepared = prepare(config)
    lines = list(audit_lines(prepared, batchings(prepared, config)))
    assert max(map(len, lines)) <= 80
    report = prepared.report["train"]
    assert lines[0] == f"train: 89 records = {report['used']} used + {89 - report['used']} dropped"
    table = {line.split()[0]: line.split() for line in lines if line}
    n_long = report["dropped"]["too_long"]
    assert table["too_long"][1:4] == ["drop", str(n_long), str(n_long)]
    assert table["too_long"][-1] == str(report["findings"]["too_long"]["records"][0]["record"])
    assert table["same_prompt"][1:4] == ["keep", str(report["used"] - 1), "0"]
    assert "evaluation_overlap" not in table  # nothing was looked for
    assert table["pack"][1] == str(batchings(prepared, config)["train"][0].rows)


def test_weights_are_shown_beside_what_they_weigh(config_for) -> None:
    weights = {"data.files": ["sample:en", "sample:zh"], "data.weights": [1.0, 2.5]}
    config = config_for(**weights, **{"data.validation.share": 0.2})
    prepared = prepare(config)
    found = batchings(prepared, config)
    lines = list(audit_lines(prepared, found))
    assert max(map(len, lines)) <= 80
    at = next(i for i, line in enumerate(lines) if line.startswith("by data.weights"))
    table = [line.split() for line in lines[at + 1 : at + 3]]
    used = [source["used"] for source in prepared.report["train"]["sources"]]
    in_epoch = [used[0], round(2.5 * used[1])]
    assert table == [["sample:en", "1", f"{used[0]}"], ["sample:zh", "2.5", f"{in_epoch[1]}"]]
    assert lines[at + 3].startswith(f"an epoch has {sum(in_epoch)} examples, ")
    assert found["train"][1].rows == sum(in_epoch)
    assert "by data.weights" not in "\n".join(lines[at + 1 :])  # validation has none
    write_audit(prepared, found, config)
    kept = json.loads((Path(config.run_dir) / "audit.json").read_text())
    assert [source["in_epoch"] for source in kept["train"]["sources"]] == in_epoch
    assert kept["train"]["epoch"]["examples"] == sum(in_epoch)


def test_files_of_one_name_are_told_apart(config_for, tmp_path) -> None:
    files = []
    for folder, n in (("en", 1), ("zh", 2)):
        path = tmp_path / folder / "data.json"
        path.parent.mkdir()
        path.write_text(
            json.dumps(
                [{"instruction": f"{folder} {i}", "output": ""} for i in range(n)]
                + [{"instruction": folder, "output": folder}]
            )
        )
        files.append(str(path))
    config = config_for(**{"data.files": [*files, "sample:en"]})
    prepared = prepare(config)
    lines = list(audit_lines(prepared, batchings(prepared, config)))
    table = {line.split()[0]: line.split() for line in lines if line}
    assert table["en/data.json"][1:3] == ["2", "1"]
    assert table["zh/data.json"][1:3] == ["3", "1"]
    assert table["sample:en"][1:3] == ["115", "115"]
    assert table["empty_output"][-2:] == ["en/data.json", "0"]


def test_both_parts_are_shown(config_for) -> None:
    config = config_for(**{"data.validation.share": 0.2})
    prepared = prepare(config)
    text = "\n".join(audit_lines(prepared, batchings(prepared, config)))
    assert "train: " in text and "\nvalidation: " in text


@pytest.mark.parametrize(
    ("lengths", "rows", "padded"),
    [([3, 1, 2, 2], 2, 10), ([3, 1, 2], 2, 8), ([5], 4, 5), ([4, 4, 4], 2, 12)],
)
def test_rows_are_padded_to_the_longest_beside_them(lengths, rows, padded) -> None:
    assert padding_share(np.array(lengths), rows) == pytest.approx(1 - sum(lengths) / padded)


def test_batchings_are_counted(config_for) -> None:
    config = config_for(**{"data.row_tokens": 512})
    prepared = prepare(config)
    train = prepared.train
    pack, in_order, by_length = batchings(prepared, config)["train"]
    assert pack.padding_share == pytest.approx(1 - train.lengths.sum() / (pack.rows * 512))
    assert in_order.rows == by_length.rows == train.n > pack.rows
    assert 0 <= by_length.padding_share < in_order.padding_share < 1


def test_the_audit_is_kept_in_the_run_directory(config_for) -> None:
    config = config_for()
    prepared = prepare(config)
    found = batchings(prepared, config)
    lines = write_audit(prepared, found, config)
    run_dir = Path(config.run_dir)
    assert lines[-1].endswith(f"{run_dir}/lengths.png")
    kept = json.loads((run_dir / "audit.json").read_text())
    assert kept["fingerprint"] == prepared.fingerprint
    assert kept["train"]["findings"] == prepared.report["train"]["findings"]
    assert kept["train"]["batching"]["pack"]["rows"] == found["train"][0].rows
    with Image.open(run_dir / "lengths.png") as picture:
        assert picture.format == "PNG" and min(picture.size) > 300
        assert len(picture.getcolors(1 << 20)) > 10  # something is drawn
