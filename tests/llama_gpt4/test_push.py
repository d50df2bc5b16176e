"""`llama-gpt4 push`: a model and its card to a hub, past a gate of licences."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from llama_gpt4.export import run as export
from llama_gpt4.program import ExitReport
from llama_gpt4.push import main

from ..command import CLI, ENVIRONMENT
from ..hub_server import TOKEN, Hub, running_hub
from .finished_run import finished_run

RECORD = {"instruction": "Why is the sky blue, and what has the air to do with it?", "output": "x"}


@pytest.fixture(scope="module")
def running() -> Iterator[Hub]:
    with running_hub() as server:
        yield server


@pytest.fixture
def hub(running: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """What this process takes for the hub."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", running.url)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return running


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """On GPT-4's answers."""
    folder = tmp_path_factory.mktemp("trained")
    data = folder / "en" / "data.json"
    data.parent.mkdir()
    data.write_text(json.dumps([RECORD]))
    (data.parent / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    return finished_run(folder / "run", f"data.files=[{data}]")


@pytest.fixture
def run_dir(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def refusal(run_dir: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that it ends with."""
    capsys.readouterr()
    assert main([f"run_dir={run_dir}", "repo=me/model", *words]) == 2
    shown = capsys.readouterr()
    assert not shown.out
    [line] = shown.err.splitlines()
    return line.removeprefix("llama-gpt4 push: ")


def test_model_and_card_arrive_whole_and_private(hub: Hub, run_dir: Path) -> None:
    folder = run_dir / "model"
    (folder / "LICENSE.txt").write_text("the base model's")
    for name in ("optimizer.pt", ".lock", "model.safetensors.partial"):
        (folder / name).write_text("not for others")
    run = subprocess.run(
        [*CLI, "push", f"run_dir={run_dir}", "repo=me/model", "licence=cc-by-nc-4.0"],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, **hub.environment(run_dir.parent / "home")},
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"{folder} is at {hub.url}/me/model\n" and not run.stderr
    assert hub.private["me/model"] and hub.kinds["me/model"] == "models"
    files = hub.files["me/model"]
    shards = sorted(path.name for path in folder.glob("*.safetensors"))
    assert len(shards) > 2
    assert sorted(files) == sorted(
        ["LICENSE.txt", "README.md", "chat_template.jinja", "config.json", "tokenizer.model",
         "generation_config.json", "model.safetensors.index.json", "tokenizer.json",
         "tokenizer_config.json", *shards]
    )  # fmt: skip
    assert all(content == (folder / name).read_bytes() for name, content in files.items())
    assert b"license: cc-by-nc-4.0" in files["README.md"]


def test_shards_of_an_earlier_upload_do_not_stay(hub: Hub, run_dir: Path) -> None:
    line = [f"run_dir={run_dir}", "repo=me/twice", "licence=CC-BY-NC-4.0"]
    assert main(line) == 0
    hub.files["me/twice"]["LICENSE"] = b"put there by hand"
    assert len([name for name in hub.files["me/twice"] if "safetensors" in name]) > 3
    export([f"run_dir={run_dir}"], ExitReport())
    assert main(line) == 0
    files = hub.files["me/twice"]
    assert [name for name in files if "safetensors" in name] == ["model.safetensors"]
    assert "LICENSE" in files and b"license: cc-by-nc-4.0" in files["README.md"]


def test_a_token_that_the_hub_refuses_is_one_line_without_it(
    hub: Hub, run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong_and_secret")
    line = refusal(run_dir, capsys, "licence=cc-by-nc-4.0", "repo=me/other")
    assert line.startswith("repo=me/other did not take it: ")
    assert "401" in line and "secret" not in line
    assert "me/other" not in hub.files


def test_a_hub_that_is_not_there_is_one_line(
    hub: Hub, run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    line = refusal(run_dir, capsys, "licence=cc-by-nc-4.0")
    assert line.startswith("repo=me/model did not take it: ")


def test_a_public_push_is_accepted_by_name(
    hub: Hub, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("licence=cc-by-nc-4.0", "private=false")
    line = refusal(run_dir, capsys, *words)
    card = run_dir / "model" / "README.md"
    assert f"read `Licence and terms` in {card}" in line and "accept_terms=true" in line
    assert "## Licence and terms" in card.read_text()
    assert main([f"run_dir={run_dir}", "repo=me/public", *words, "accept_terms=true"]) == 0
    assert not hub.private["me/public"]
    line = refusal(run_dir, capsys, "licence=cc-by-nc-4.0", "repo=me/public")
    assert line == "repo=me/public is public already: private=false says that it may be"


def test_nobody_is_known_without_a_token(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(run_dir / "none"))
    line = refusal(run_dir, capsys, "licence=cc-by-nc-4.0")
    assert line == "the hub knows nobody here: `hf auth login`, or export HF_TOKEN=…"


def test_a_licence_that_allows_too_much_is_refused(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(run_dir, capsys, "licence=apache-2.0")
    assert line == (
        "licence=apache-2.0, but en/data.json is under cc-by-nc-4.0, which allows no commercial "
        "use: licence=cc-by-nc-4.0 would do"
    )
    # Nor can it be talked away.
    words = ("licence=apache-2.0", "data_licences={en/data.json: mit}")
    assert "is under cc-by-nc-4.0" in refusal(run_dir, capsys, *words)
    assert not (run_dir / "model" / "README.md").exists()


def test_without_terms_nothing_goes_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tasks.json").write_text(json.dumps([RECORD]))
    (tmp_path / "llama").mkdir()
    run_dir = finished_run(
        tmp_path / "run", f"data.files=[{tmp_path}/tasks.json,sample:en]", "model=from_path",
        f"model.path={tmp_path}/llama",
    )  # fmt: skip
    assert refusal(run_dir, capsys, "licence=cc-by-nc-4.0") == (
        "no licence is stated for tasks.json, llama: find out, and say so by "
        "'data_licences={tasks.json: …}' base_licence=…"
    )
    words = ("data_licences={tasks.json: mit}", "base_licence=llama1")
    assert "llama is under llama1, which allows no c" in refusal(
        run_dir, capsys, *words, "licence=mit"
    )


def test_a_card_of_ones_own_stays_if_it_says_what_binds(
    hub: Hub, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [f"run_dir={run_dir}", "repo=me/mine", "licence=cc-by-nc-4.0"]
    assert main(line) == 0
    card = run_dir / "model" / "README.md"
    card.write_text(card.read_text() + "\n## More\n\nMy own words.\n")
    assert main(line) == 0
    assert hub.files["me/mine"]["README.md"].endswith(b"My own words.\n")
    card.write_text("# Mine\n")
    said = refusal(run_dir, capsys, "licence=cc-by-nc-4.0")
    assert said.startswith(f"{card} does not say `license: cc-by-nc-4.0` in its head: ")


@pytest.mark.parametrize(
    "removed, words",
    [
        ("config.json", "has no config.json: it is no model"),
        ("tokenizer.*", "has no tokenizer.json: it is no model"),
        ("model.safetensors.index.json", "index.json cannot be read"),
        ("model-00002*", "lacks model-00002-of-"),
    ],
)
def test_half_a_model_is_refused(
    run_dir: Path, capsys: pytest.CaptureFixture[str], removed: str, words: str
) -> None:
    for path in (run_dir / "model").glob(removed):
        path.unlink()
    assert words in refusal(run_dir, capsys, "licence=cc-by-nc-4.0")


def test_a_cut_file_is_refused(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard = sorted((run_dir / "model").glob("*.safetensors"))[-1]
    shard.write_bytes(shard.read_bytes()[:-10])
    assert "is damaged" in refusal(run_dir, capsys, "licence=cc-by-nc-4.0")


def test_another_export_of_the_run_can_go_up(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(run_dir, capsys, "licence=mit", f"folder={tmp_path}/there")
    assert line.startswith(f"{tmp_path}/there has no config.json")


@pytest.mark.parametrize(
    "words, said",
    [
        (("licence=mit", "repo=model"), "repo=model is no name of a repository: write owner/name"),
        (("licence=free",), "licence=free is no licence that can be weighed here"),
        (("licence=llama1",), "licence=llama1 is for its maker's own model"),
        (("licence=mit", "data_licences={a.json: free}"), "data_licences.a.json=free is no lic"),
        (("licence=mit", "base_licence=free"), "base_licence=free is no licence"),
        (("licence=mit", "datasets=[a/b/c]"), "datasets: a/b/c is no name of the hub"),
        ((), "licence has no value"),
    ],
)
def test_bad_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert said in refusal(tmp_path, capsys, *words)


def test_a_folder_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(tmp_path, capsys, "licence=mit")
    assert (
        line == f"{tmp_path}/config.yaml does not exist: it is the config.yaml of a run directory"
    )
