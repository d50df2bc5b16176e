"""`llama-gpt4 data push`: data and card to a hub, and never one without the other."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from llama_gpt4_data import cli
from llama_gpt4_data.push import require_card

from llama_gpt4.errors import InputError

from ..command import CLI, ENVIRONMENT
from ..hub_server import TOKEN, Hub, running_hub

CARD = "---\nlicense: mit\n---\n\n# Data\n\n## Licence and terms\n\n- MIT\n"


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with running_hub() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "output"
    (folder / "arrow").mkdir(parents=True)
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    (folder / "data.json").write_text('[\n{"instruction": "为什么？"}\n]\n', encoding="utf-8")
    (folder / "arrow" / "state.json").write_text("{}")
    for name in ("report.json", "failed.jsonl", ".lock", "data.json.partial"):
        (folder / name).write_text("not for others")
    return folder


def push(
    hub: Hub, folder: Path, *words: str, token: str = TOKEN
) -> subprocess.CompletedProcess[str]:
    """In a process of its own, for the hub's client reads its address when it is imported."""
    home = hub.environment(folder.parent / "home", token)
    return subprocess.run(
        [*CLI, "data", "push", f"output_dir={folder}", *words],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, **home},
    )


def test_data_and_card_arrive_whole_and_private(hub: Hub, folder: Path) -> None:
    run = push(hub, folder, "repo=me/data")
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"{folder} is at {hub.url}/datasets/me/data\n" and not run.stderr
    assert hub.private["me/data"]
    files = hub.files["me/data"]
    assert sorted(files) == ["README.md", "arrow/state.json", "data.json"]
    assert all(content == (folder / name).read_bytes() for name, content in files.items())


def test_private_data_do_not_go_where_others_see_them(hub: Hub, folder: Path) -> None:
    hub.kinds["me/known"], hub.private["me/known"] = "datasets", False
    hub.files["me/known"] = {}
    run = push(hub, folder, "repo=me/known")
    assert run.returncode == 2 and not hub.files["me/known"]
    assert run.stderr == (
        "llama-gpt4 data push: repo=me/known is public already: private=false says that it may be\n"
    )


def test_a_token_that_the_hub_refuses_is_one_line_without_it(hub: Hub, folder: Path) -> None:
    run = push(hub, folder, "repo=me/other", "private=false", token="hf_wrong_and_secret")
    assert run.returncode == 2 and not run.stdout
    [line] = run.stderr.splitlines()
    assert line.startswith("llama-gpt4 data push: repo=me/other did not take it: ")
    assert "401" in line and "secret" not in line
    assert "me/other" not in hub.files


def test_nobody_is_known_without_a_token(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import huggingface_hub.constants

    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(folder / "none"))
    assert cli.main(["push", f"output_dir={folder}", "repo=me/data"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("the hub knows nobody here: `hf auth login`, or export HF_TOKEN=…")


@pytest.mark.parametrize(
    "card, words",
    [
        (None, r"has no card, README\.md"),
        ("# Data\n\n## Licence and terms\n\n- MIT\n", "names no `license`"),
        (CARD.replace("license: mit", "license:"), "names no `license`"),
        (CARD.replace("license: mit", "license: [mit"), "names no `license`"),
        (CARD.removesuffix("- MIT\n"), "has nothing below `## Licence and terms`"),
        (CARD.replace("## Licence and terms", "## Other"), "has nothing below"),
    ],
    ids=["none", "no head", "empty", "no yaml", "no terms", "no heading"],
)
def test_no_card_no_push(folder: Path, card: str | None, words: str) -> None:
    require_card(folder)
    (folder / "README.md").unlink()
    if card is not None:
        (folder / "README.md").write_text(card, encoding="utf-8")
    with pytest.raises(InputError, match=words) as error:
        require_card(folder)
    assert "\n" not in str(error.value)


def test_a_folder_without_its_card_is_never_sent(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    (folder / "README.md").unlink()
    assert cli.main(["push", f"output_dir={folder}", "repo=me/data"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "has no card, README.md: the line that made the data set writes it anew" in line


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no data\.json"):
        require_card(tmp_path)


@pytest.mark.parametrize("repo", ["data", "/data", "me/", "me/data/more"])
def test_a_repository_has_an_owner(
    folder: Path, capsys: pytest.CaptureFixture[str], repo: str
) -> None:
    assert cli.main(["push", f"output_dir={folder}", f"repo={repo}"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"repo={repo} is no name of a repository: write owner/name" in line
