"""DeepSpeed's launcher and torchrun on the hosts of a hostfile: the exact commands."""

from pathlib import Path

import pytest
from llama_gpt4_launch import hosts

from llama_gpt4.errors import InputError

from .places import only, place, require_golden, training


@pytest.fixture
def hostfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    only(monkeypatch, NCCL_DEBUG="INFO", WANDB_API_KEY="s3cr3t", MLFLOW_TRACKING_TOKEN="s3cr3t")
    (tmp_path / "hosts").write_text("worker-1 slots=8\nme@worker-2 slots=8\n")
    return f"hostfile={tmp_path}/hosts"


SECRET = "environment.secrets=[WANDB_API_KEY]"


@pytest.mark.parametrize(
    "name, where, options",
    [
        ("deepspeed_ssh", "deepspeed", [SECRET]),
        ("deepspeed_pdsh", "deepspeed", ["transport=pdsh"]),
        ("torchrun_static", "torchrun", [SECRET]),
        ("torchrun_c10d", "torchrun", ["rendezvous=c10d", "master_port=29500"]),
    ],
)
def test_the_commands(name: str, where: str, options: list[str], hostfile: str) -> None:
    text = hosts.shown(place(where, hostfile, *options), training())
    assert "s3cr3t" not in text
    require_golden(f"launch_{name}.sh", text)


def test_secrets_do_not_travel_by_pdsh(hostfile: str) -> None:
    with pytest.raises(InputError, match=r"WANDB_API_KEY.* cannot travel by pdsh"):
        place("deepspeed", hostfile, "transport=pdsh", SECRET)


def test_a_value_that_pdsh_would_garble_is_refused(
    hostfile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    garbled = "environment.variables=['A=$HOME']"
    with pytest.raises(InputError, match="cannot send A by pdsh"):
        hosts.check(place("deepspeed", hostfile, "transport=pdsh", garbled))


def test_deepspeed_exports_nothing_unasked() -> None:
    given = {"MLFLOW_TRACKING_TOKEN": "x", "PYTHONPATH": "x", "NCCL_X": "x", "PATH": "/bin"}
    assert hosts._without_unasked(given) == {"PATH": "/bin"}


def test_the_port_follows_from_the_run_directory() -> None:
    ports = {hosts.port_of(f"/shared/runs/{n}") for n in range(50)}
    assert len(ports) > 45 and all(20000 <= port < 30000 for port in ports)


@pytest.mark.parametrize("key", ["transport=rsh", "rendezvous=etcd"])
def test_what_is_not_there_is_one_line(key: str, hostfile: str) -> None:
    where = "deepspeed" if key.startswith("transport") else "torchrun"
    with pytest.raises(InputError, match=f"{key} is not one of"):
        place(where, hostfile, key)
