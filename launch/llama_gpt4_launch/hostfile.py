"""The hosts of a run and how many processes each takes: DeepSpeed's hostfile, read strictly."""

import re
from dataclasses import dataclass
from pathlib import Path

from llama_gpt4.errors import InputError

LINE = re.compile(r"([^\s#-][^\s#]*)\s+slots=([1-9]\d*)")


@dataclass(frozen=True)
class Host:
    name: str
    """What ssh calls it: a name, an address, or `user@name`."""
    slots: int
    """Processes that run there, one for every GPU."""


def read_hostfile(path: Path) -> list[Host]:
    """The hosts in the order of the file; the first one is where rank 0 runs."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
        raise InputError(f"hostfile={path} cannot be read ({reason})") from error
    hosts: list[Host] = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        match = LINE.fullmatch(content)
        if not match:
            raise InputError(f"{path}:{number}: {content!r} is not like `worker-1 slots=8`")
        if match[1] in [host.name for host in hosts]:
            raise InputError(f"{path}:{number}: {match[1]} stands in the file twice: keep one line")
        hosts.append(Host(match[1], int(match[2])))
    if not hosts:
        raise InputError(f"{path} names no host: write a line like `worker-1 slots=8` for each")
    return hosts


def as_text(hosts: list[Host]) -> str:
    """The hosts as DeepSpeed's launcher reads them."""
    return "".join(f"{host.name} slots={host.slots}\n" for host in hosts)
