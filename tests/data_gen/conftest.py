"""Fixtures of this folder: servers to ask, each started once for all tests that need it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .answering import KEY, Answering
from .judging import Judging
from .local_teacher import LocalTeacher, running_local_teacher, write_tiny_model
from .quota_server import QuotaServer, running_quota_server
from .reward_runs import write_tiny_opt
from .teacher import Teacher, running_teacher


@pytest.fixture(scope="session")
def teacher_process() -> Iterator[Teacher]:
    with running_teacher() as teacher:
        yield teacher


@pytest.fixture
def teacher(teacher_process: Teacher) -> Teacher:
    """The fault server, answering at once and well until `behaves` says otherwise."""
    teacher_process.behaves()
    return teacher_process


@pytest.fixture
def answering(
    teacher: Teacher,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Answering:
    """`llama-gpt4 data answer` against the fault server, with a key that nobody may see."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return Answering(teacher, tmp_path, capfd)


@pytest.fixture
def judging(
    teacher: Teacher,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Judging:
    """`llama-gpt4 evaluate metric=judge` against the fault server."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return Judging(teacher, tmp_path, capfd)


@pytest.fixture(scope="session")
def local_teacher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTeacher]:
    """`transformers serve` with a model of two layers; it talks nonsense, always the same."""
    folder = tmp_path_factory.mktemp("local_teacher")
    write_tiny_model(folder / "model")
    with running_local_teacher(folder / "model", folder) as server:
        yield server


@pytest.fixture(scope="module")
def quota_server() -> Iterator[QuotaServer]:
    """`llmock`, which allows 600 requests a minute and judges who asked it."""
    with running_quota_server(requests_per_minute=600) as server:
        yield server


@pytest.fixture(scope="session")
def opt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny OPT in Hugging Face format."""
    return write_tiny_opt(tmp_path_factory.mktemp("opt") / "model")
