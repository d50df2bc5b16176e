"""`llama-gpt4 launch kubernetes`: an Indexed Job of one pod a host, for `kubectl apply -f -`.

The frozen configuration is a ConfigMap, the run directory lies on a volume that all pods share, and
secrets stay in a Secret of the cluster. A pod that ends with 75 was preempted and is started anew,
one that ends with 2 (bad input) ends the Job.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml

from llama_gpt4.config import RunConfig, TrainConfig
from llama_gpt4.errors import ExitCode, require
from llama_gpt4.frozen_config import as_yaml
from llama_gpt4_launch import node
from llama_gpt4_launch.environment import EnvironmentConfig, travelling

CONFIG_FOLDER = "/etc/llama-gpt4"
PORT = 29500
"""Every pod has its own address, so no other run can have taken it."""


@dataclass(kw_only=True)
class KubernetesConfig:
    """A manifest for a cluster whose nodes have NVIDIA GPUs."""

    nodes: int
    """Pods, each on a node of its own."""
    processes_per_node: int
    """Processes of a pod; one for every GPU, unless launch.device=cpu."""
    image: str
    """Image with this project installed."""
    namespace: str
    volume_claim: str
    """PersistentVolumeClaim that all pods can write (ReadWriteMany), mounted at `mount_path`."""
    mount_path: str
    """`run_dir`, `data.cache_dir`, data and weights lie below it."""
    secret: str
    """The cluster's Secret that has the keys named in `environment.secrets`."""
    memory: str | None
    """Memory of a pod, such as 512Gi; null: unlimited."""
    grace_seconds: int
    """How long a pod may take to save when it is evicted."""
    restarts: int
    """How often a host may fail until the Job does; preemption does not count."""
    python: str
    """The interpreter in the image."""
    environment: EnvironmentConfig

    def __post_init__(self) -> None:
        require(self.nodes > 0, f"nodes={self.nodes} must be positive")
        require(
            self.processes_per_node > 0,
            f"processes_per_node={self.processes_per_node} must be positive",
        )
        require(self.grace_seconds > 0, f"grace_seconds={self.grace_seconds} must be positive")
        require(self.restarts >= 0, f"restarts={self.restarts} is negative")
        require_absolute(self.mount_path)


def require_absolute(mount_path: str) -> None:
    require(mount_path.startswith("/"), f"mount_path={mount_path} is not absolute")


def require_shared(training: RunConfig, mount_path: str) -> None:
    """Paths of a run that happens elsewhere must lie on the storage that is there."""
    named = {
        "run_dir": training.run_dir,
        "data.cache_dir": training.data.cache_dir,
        "model.path": training.model.path,
        "tokenizer.path": training.tokenizer.path,
        **training.data.read_files,
    }
    if isinstance(training, TrainConfig):
        named["evaluation.questions"] = training.evaluation.questions
    for key, path in named.items():
        if path is not None and path.startswith("/"):
            require(
                PurePosixPath(path).is_relative_to(mount_path),
                f"{key}={path} is not below mount_path={mount_path}, where the shared storage "
                "will be: give it a path there",
            )


def manifest(config: KubernetesConfig, training: RunConfig) -> str:
    """ConfigMap, Service and Job as YAML documents."""
    name = job_name(training)
    documents = [
        _configuration(name, config, training),
        _service(name, config),
        _job(name, config, training),
    ]
    return as_documents(documents)


def as_documents(documents: list[dict[str, Any]]) -> str:
    """YAML for people to read: keys in our order, texts of several lines as such."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def job_name(training: RunConfig) -> str:
    """The run directory's name as Kubernetes likes names."""
    name = re.sub(r"[^a-z0-9]+", "-", PurePosixPath(training.run_dir).name.lower()).strip("-")
    return name[:50].strip("-") or "llama-gpt4"


def _configuration(name: str, config: KubernetesConfig, training: RunConfig) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(name, config),
        "data": {"config.yaml": as_yaml(training)},
    }


def _service(name: str, config: KubernetesConfig) -> dict[str, Any]:
    """Gives the pods names by which they find the first one."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(name, config),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"job-name": name},
        },
    }


def _job(name: str, config: KubernetesConfig, training: RunConfig) -> dict[str, Any]:
    in_main = {"containerName": "train", "operator": "In"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(name, config),
        "spec": {
            "completionMode": "Indexed",
            "completions": config.nodes,
            "parallelism": config.nodes,
            "backoffLimit": config.restarts * config.nodes,
            "podFailurePolicy": {
                "rules": [
                    _on_code("FailJob", in_main, ExitCode.BAD_INPUT),
                    _on_code("Ignore", in_main, ExitCode.PREEMPTED),
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
                ]
            },
            "template": {
                "metadata": {"labels": {"app": "llama-gpt4"}},
                "spec": _pod(name, config, training),
            },
        },
    }


def _on_code(action: str, container: dict[str, str], code: ExitCode) -> dict[str, Any]:
    return {"action": action, "onExitCodes": {**container, "values": [int(code)]}}


def _pod(name: str, config: KubernetesConfig, training: RunConfig) -> dict[str, Any]:
    words = node.command(
        config.python,
        f"{CONFIG_FOLDER}/config.yaml",
        nodes=config.nodes,
        processes=config.processes_per_node,
        master_address=f"{name}-0.{name}",
        master_port=PORT,
    )
    return {
        "subdomain": name,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": config.grace_seconds,
        "affinity": _one_a_node(name),
        "containers": [
            {
                "name": "train",
                "image": config.image,
                "command": ["bash", "-c", 'exec "$@" "$JOB_COMPLETION_INDEX"', "host", *words],
                "env": _environment(config),
                "resources": {"limits": _limits(config, training)},
                "volumeMounts": [
                    {"name": "shared", "mountPath": config.mount_path},
                    {"name": "config", "mountPath": CONFIG_FOLDER},
                    {"name": "memory", "mountPath": "/dev/shm"},
                ],
            }
        ],
        "volumes": [
            {"name": "shared", "persistentVolumeClaim": {"claimName": config.volume_claim}},
            {"name": "config", "configMap": {"name": name}},
            # NCCL's processes of one host talk through it; the default of 64 MB is too small.
            {"name": "memory", "emptyDir": {"medium": "Memory"}},
        ],
    }


def _one_a_node(name: str) -> dict[str, Any]:
    term = {
        "labelSelector": {"matchLabels": {"job-name": name}},
        "topologyKey": "kubernetes.io/hostname",
    }
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def _environment(config: KubernetesConfig) -> list[dict[str, Any]]:
    secrets = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": config.secret, "key": name}}}
        for name in config.environment.secrets
    ]
    variables = travelling(config.environment)
    return [{"name": name, "value": value} for name, value in variables.items()] + secrets


def _limits(config: KubernetesConfig, training: RunConfig) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if training.launch.device != "cpu":
        limits["nvidia.com/gpu"] = config.processes_per_node
    if config.memory is not None:
        limits["memory"] = config.memory
    return limits


def _metadata(name: str, config: KubernetesConfig) -> dict[str, Any]:
    return {"name": name, "namespace": config.namespace, "labels": {"app": "llama-gpt4"}}


class _Dumper(yaml.SafeDumper):
    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = "|" if "\n" in text else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)
