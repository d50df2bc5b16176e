"""Which environment variables travel to the other machines, and how secrets stay out of sight."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from llama_gpt4.errors import InputError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)


@dataclass(kw_only=True)
class EnvironmentConfig:
    """What the processes get of the environment; nothing else travels."""

    variables: list[str]
    """Names, whose values here travel where they are set, or `NAME=value`; quote those for Hydra:
    'environment.variables=["NCCL_DEBUG=INFO",HF_HOME]'."""
    secrets: list[str]
    """Names of secrets. Their values are never written to a script, a command line or a log."""

    def __post_init__(self) -> None:
        for entry in [*self.variables, *self.secrets]:
            name = entry.partition("=")[0]
            if not NAME.fullmatch(name):
                raise InputError(f"environment: {name!r} is not the name of a variable")
        for entry in self.variables:
            name = entry.partition("=")[0]
            if SECRET.search(name):
                raise InputError(
                    f"environment.variables has {name}, which looks like a secret and would be "
                    f"written down: name it in environment.secrets=[{name}], without a value"
                )
        for entry in self.secrets:
            if "=" in entry:
                name = entry.partition("=")[0]
                raise InputError(
                    f"environment.secrets gives {name} a value: set it in the environment, and "
                    "name it only"
                )


def travelling(config: EnvironmentConfig) -> dict[str, str]:
    """The variables that travel in the open, with their values."""
    found = {}
    for entry in config.variables:
        name, equals, value = entry.partition("=")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    for name, value in found.items():
        if "\n" in value:
            raise InputError(f"environment.variables: the value of {name} has more than one line")
    return found


def secret_values(config: EnvironmentConfig, environment: Mapping[str, str]) -> dict[str, str]:
    """The secrets with their values; all that are named must be set."""
    for name in config.secrets:
        if not environment.get(name) or "\n" in environment[name]:
            raise InputError(
                f"environment.secrets names {name}, which is not set here to one line of text: "
                f"export {name}=…, or leave it out"
            )
    return {name: environment[name] for name in config.secrets}
