"""What a model was made from, and what its papers say of licences."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest

from llama_gpt4 import materials
from llama_gpt4.compose import compose_run
from llama_gpt4.errors import InputError
from llama_gpt4.materials import PUBLISHED_TERMS, Material, materials_of, with_stated

from .finished_run import finished_run

RECORD = {"instruction": "Why is the sky blue, and what has the air to do with it?", "output": "x"}
CARD = """---
license: cc-by-nc-4.0
---

# Data

## Licence and terms

- The replies of the model: cc-by-nc-4.0.
"""


def made_from(*overrides: str, program: str = "train") -> list[Material]:
    return materials_of(compose_run(program, list(overrides)))


def data_file(folder: Path, name: str = "tasks.json", *records: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(json.dumps(records or [RECORD]), encoding="utf-8")
    return path


def test_the_shipped_sample_is_ours() -> None:
    [en, zh] = made_from("data.files=[sample:en,sample:zh]")
    assert (en.name, en.licences, en.languages) == ("sample:en", ("apache-2.0",), ("en",))
    assert (zh.name, zh.licences, zh.languages) == ("sample:zh", ("apache-2.0",), ("zh",))


def test_a_file_without_papers_states_nothing(tmp_path: Path) -> None:
    path = data_file(tmp_path / "anna")
    [found] = made_from(f"data.files=[{path}]")
    assert found == Material(
        name="tasks.json",
        is_data=True,
        licences=(),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        languages=("en",),
    )
    assert not found.has_known_licence


def test_provenance_in_the_records_states_each_licence_once(tmp_path: Path) -> None:
    records = [
        RECORD | {"provenance": {"prompt_sha256": "0", "licence": licence}}
        for licence in ("mit", "cc-by-nc-4.0", "mit")
    ]
    [found] = made_from(f"data.files=[{data_file(tmp_path, 'tasks.json', *records)}]")
    assert found.licences == ("mit", "cc-by-nc-4.0")


def test_the_card_beside_a_file_counts(tmp_path: Path) -> None:
    path = data_file(tmp_path / "taught", "data.json")
    (path.parent / "README.md").write_text(CARD)
    [found] = made_from(f"data.files=[{path}]")
    assert (found.name, found.licences) == ("taught/data.json", ("cc-by-nc-4.0",))
    assert found.terms == "- The replies of the model: cc-by-nc-4.0."


def test_the_papers_files_are_known_by_content_whatever_stands_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = data_file(tmp_path, "renamed.json")
    (tmp_path / "README.md").write_text(CARD.replace("cc-by-nc-4.0", "mit"))
    content = path.read_bytes()
    git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    monkeypatch.setitem(materials.PUBLISHED, git, "alpaca_gpt4_data.json")
    [found] = made_from(f"data.files=[{path}]")
    assert (found.licences, found.terms) == (("cc-by-nc-4.0",), PUBLISHED_TERMS)


@pytest.mark.parametrize("content", [None, b"PAR1\xff\xfe", b"[{"], ids=["gone", "damaged", "cut"])
def test_a_file_that_cannot_be_read_states_nothing(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "tasks.parquet"
    if content is not None:
        path.write_bytes(content)
    [found] = made_from(f"data.files=[{path}]")
    assert (found.name, found.licences, found.languages) == ("tasks.parquet", (), ())


def test_a_folder_of_arrow_files_has_its_card_in_it(tmp_path: Path) -> None:
    datasets.Dataset.from_list([RECORD]).save_to_disk(str(tmp_path / "taught"))
    (tmp_path / "taught" / "README.md").write_text(CARD)
    [found] = made_from(f"data.files=[{tmp_path}/taught]")
    assert (found.name, found.licences) == ("taught", ("cc-by-nc-4.0",))
    assert found.languages == ("en",)


def test_data_of_the_hub_have_their_card_there(tmp_path: Path) -> None:
    """In a process whose hub is its cache and nothing else."""
    repository = tmp_path / "hub" / "datasets--owner--tasks"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "README.md").write_text(CARD)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    program = (
        "from llama_gpt4.hub import hub_card\n"
        "print(hub_card('owner/tasks', 'dataset') + '|' + hub_card('owner/other', 'dataset'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"{CARD}|\n" and "owner/other: the hub gives us no card" in done.stderr
    assert materials.file_name("hub:owner/tasks:test") == "owner/tasks"


def test_a_base_model_is_known_by_its_card_and_never_by_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "anna" / "llama-7b"
    folder.mkdir(parents=True)
    line = ("model=from_path", f"model.path={folder}", "data.files=[sample:en]")
    assert made_from(*line)[1] == Material(name="llama-7b", is_data=False, licences=())
    (folder / "README.md").write_text("---\nlicense: llama2\n---\n")
    assert made_from(*line)[1].licences == ("llama2",)


def test_a_base_that_is_neither_here_nor_on_the_hub_states_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for path, name in (("owner/model", "owner/model"), (f"{tmp_path}/gone", "gone")):
        found = made_from("model=from_path", f"model.path={path}", "data.files=[sample:en]")[1]
        assert (found.name, found.licences) == (name, ())


def test_a_run_inherits_what_the_run_before_it_was_made_from(tmp_path: Path) -> None:
    base = tmp_path / "llama"
    base.mkdir()
    first = finished_run(
        tmp_path / "first", "model=from_path", f"model.path={base}",
        f"data.files=[{data_file(tmp_path)}]",
    )  # fmt: skip
    found = made_from(f"model.path={first}/model", program="dpo")
    assert [material.name for material in found] == [
        "sample:comparisons_en", "sample:comparisons_zh", "tasks.json", "llama",
    ]  # fmt: skip


def test_what_is_stated_comes_beside_what_papers_say() -> None:
    data = Material(name="a.json", is_data=True, licences=("cc-by-nc-4.0",))
    base = Material(name="llama", is_data=False, licences=("other",))
    [a, b] = with_stated([data, base], {"a.json": "mit"}, "llama1")
    assert (a.licences, b.licences) == (("cc-by-nc-4.0", "mit"), ("other", "llama1"))
    assert b.has_known_licence
    assert with_stated([data, base], {}, None) == [data, base]


def test_a_licence_for_nothing_is_refused() -> None:
    data = Material(name="a.json", is_data=True, licences=())
    with pytest.raises(InputError, match=r"data_licences names b\.json; the model's data are a\.j"):
        with_stated([data], {"b.json": "mit"}, None)
    with pytest.raises(InputError, match="base_licence=llama1, but the model was not made from"):
        with_stated([data], {}, "llama1")
