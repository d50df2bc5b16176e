"""What offline runs of Weights & Biases hold, for tests."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def offline_records(file: Path) -> Iterator[Any]:
    """The records of an offline run: a header of 7 bytes, then blocks of 32 KiB in LevelDB's log
    format."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, whole = file.read_bytes(), 7, b""
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # the whole record, or its last part
            record = Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def tracked(run_dir: Path) -> tuple[set[str], str, dict[int, float]]:
    """Ids, group and losses by step of all offline runs below `run_dir`."""
    ids, group, losses = set(), "", {}
    for file in sorted(run_dir.glob("wandb/offline-run-*/run-*.wandb")):
        for record in offline_records(file):
            if record.HasField("run"):
                ids.add(record.run.run_id)
                group = record.run.run_group
        losses |= {step: row["loss"] for step, row in history(file).items()}
    return ids, group, losses


def history(file: Path) -> dict[int, dict[str, Any]]:
    """What an offline run has logged, by step."""
    rows: dict[int, dict[str, Any]] = {}
    for record in offline_records(file):
        row = {i.key or i.nested_key[0]: json.loads(i.value_json) for i in record.history.item}
        if row:
            rows.setdefault(row["_step"], {}).update(row)
    return rows


def summarised(file: Path) -> dict[str, Any]:
    """What an offline run has put into its summary itself."""
    found: dict[str, Any] = {}
    for record in offline_records(file):
        for item in record.summary.update:
            found[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    return found
