"""Hostfiles: what DeepSpeed would take is read, what it would guess at is refused by its line."""

from pathlib import Path

import pytest
from llama_gpt4_launch.hostfile import Host, as_text, read_hostfile

from llama_gpt4.errors import InputError


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "hosts"
    path.write_text(text)
    return path


def test_hosts_in_their_order(tmp_path: Path) -> None:
    text = "# the cluster\n\nworker-2 slots=8\nme@10.0.0.1   slots=4  # half of it\n"
    hosts = read_hostfile(write(tmp_path, text))
    assert hosts == [Host("worker-2", 8), Host("me@10.0.0.1", 4)]
    assert as_text(hosts) == "worker-2 slots=8\nme@10.0.0.1 slots=4\n"


@pytest.mark.parametrize(
    "line",
    ["worker-2", "worker-2 slot=8", "worker-2 slots=0", "worker-2 slots=8 fast", "-oX slots=8"],
)
def test_a_wrong_line_is_named(line: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"worker-1 slots=8\n{line}\n")
    with pytest.raises(InputError) as error:
        read_hostfile(path)
    assert str(error.value) == f"{path}:2: {line!r} is not like `worker-1 slots=8`"


def test_a_host_stands_there_once(tmp_path: Path) -> None:
    path = write(tmp_path, "a slots=1\nb slots=1\na slots=1\n")
    with pytest.raises(InputError, match=r"hosts:3: a stands in the file twice"):
        read_hostfile(path)


def test_an_empty_file_and_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names no host"):
        read_hostfile(write(tmp_path, "# nobody\n"))
    with pytest.raises(InputError, match=r"hostfile=.*nowhere cannot be read \(No such file"):
        read_hostfile(tmp_path / "nowhere")
    (tmp_path / "hosts").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="it is not a text file"):
        read_hostfile(tmp_path / "hosts")
