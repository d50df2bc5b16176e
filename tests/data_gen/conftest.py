"""Fixtures of this folder: servers to ask, each started once for all tests that need it."""

from collections.abc import Iterator

import pytest

from .local_teacher import LocalTeacher, running_local_teacher, write_tiny_model
from .quota_server import QuotaServer, running_quota_server
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
