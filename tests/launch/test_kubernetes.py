"""The manifest: one pod a host that finds the others, and secrets that stay in the cluster."""

import pytest
import yaml
from llama_gpt4_launch import kubernetes

from llama_gpt4.errors import InputError
from llama_gpt4.frozen_config import as_yaml

from .places import only, place, require_golden, training

NODES = ("nodes=2", "processes_per_node=8", "image=registry/llama-gpt4:1", "volume_claim=shared")


def test_the_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, NCCL_DEBUG="INFO", WANDB_API_KEY="s3cr3t")
    config = place("kubernetes", *NODES, "environment.secrets=[WANDB_API_KEY]", "memory=900Gi")
    text = kubernetes.manifest(config, training())
    assert "s3cr3t" not in text
    configuration, service, job = yaml.safe_load_all(text)
    assert configuration["data"]["config.yaml"] == as_yaml(training())
    pod = job["spec"]["template"]["spec"]
    assert pod["subdomain"] == service["metadata"]["name"]
    assert f"{job['metadata']['name']}-0.{pod['subdomain']}" in pod["containers"][0]["command"]
    rest = text.partition("---\n")[2]  # the configuration is any run's, with every key there is
    require_golden("launch_kubernetes.yaml", rest)


def test_without_gpus_none_are_asked_for() -> None:
    text = kubernetes.manifest(place("kubernetes", *NODES), training("launch.device=cpu"))
    assert "nvidia.com/gpu" not in text


@pytest.mark.parametrize(
    "override, key",
    [
        ("run_dir=/home/me/run", r"run_dir=/home/me/run"),
        ("data.cache_dir=/tmp/cache", "data.cache_dir"),
        ("data.files=[/shared/a.json,/home/b.json]", r"data\.files\[1\]=/home/b.json"),
        ("data.validation.files=[/home/b.json]", r"data\.validation\.files\[0\]=/home/b.json"),
        ("data.decontaminate=[/home/b.json]", r"data\.decontaminate\[0\]=/home/b.json"),
        ("model.path=/sharedbutnot/llama", "model.path"),
        ("evaluation.questions=/home/questions.jsonl", "evaluation.questions"),
    ],
)
def test_paths_of_this_machine_are_refused(override: str, key: str) -> None:
    with pytest.raises(InputError, match=rf"{key}.* is not below mount_path=/shared"):
        kubernetes.require_shared(training(override), "/shared")


def test_the_sample_and_hub_names_are_everywhere() -> None:
    moved = training("data.files=['sample:en']", "model.path=owner/name")
    kubernetes.require_shared(moved, "/shared")


@pytest.mark.parametrize(
    "run_dir, name", [("/shared/Alpaca_7b--x", "alpaca-7b-x"), ("/shared/__", "llama-gpt4")]
)
def test_names_that_kubernetes_takes(run_dir: str, name: str) -> None:
    assert kubernetes.job_name(training(f"run_dir={run_dir}")) == name
