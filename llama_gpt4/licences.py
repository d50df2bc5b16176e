"""Licences by what they ask of a model that is made from what is under them.

A coarse order that errs on the strict side, so that nothing goes out under a licence that allows
what one behind it forbids. It is no legal advice.
"""

import re
from dataclasses import dataclass

from llama_gpt4.errors import InputError, require


@dataclass(frozen=True)
class Licence:
    """One licence under its name on the Hugging Face hub."""

    name: str
    is_non_commercial: bool = False
    keeps_its_terms: bool = False
    """What is made from it stays under it: share-alike, or an agreement of its maker's."""
    forbids_changes: bool = False


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPEN = _names(
    "afl-3.0 apache-2.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 cc0-1.0 "
    "cdla-permissive-1.0 cdla-permissive-2.0 isc mit odc-by pddl unlicense zlib"
)
"""They ask for no more than to be named, beside every `cc-by-<version>`."""
KEEPS_ITS_TERMS = _names(
    "agpl-3.0 bigcode-openrail-m bigscience-bloom-rail-1.0 bigscience-openrail-m cdla-sharing-1.0 "
    "creativeml-openrail-m epl-2.0 eupl-1.1 eupl-1.2 gemma gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 "
    "lgpl-3.0 llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 mpl-2.0 odbl openrail "
    "openrail++"
)
RESEARCH = {
    "llama1": "Meta's agreement for the first LLaMA, for non-commercial research",
    "opt": "Meta's agreement for OPT, for non-commercial research",
}
"""The hub has no names for these, only `other`; models made from them cannot be under them."""

_CREATIVE_COMMONS = re.compile(r"cc-by(?P<nc>-nc)?(?P<rest>-sa|-nd)?-\d\.\d")


def licence_of(name: str) -> Licence | None:
    """The licence that `name` means; None for one that nothing is known of, such as `other`."""
    name = name.strip().lower()
    found = _CREATIVE_COMMONS.fullmatch(name)
    if found:
        return Licence(
            name, bool(found["nc"]), found["rest"] == "-sa", forbids_changes=found["rest"] == "-nd"
        )
    if name in RESEARCH:
        return Licence(name, is_non_commercial=True, keeps_its_terms=True)
    if name in OPEN or name in KEEPS_ITS_TERMS:
        return Licence(name, keeps_its_terms=name in KEEPS_ITS_TERMS)
    return None


def require_licence(key: str, name: str) -> Licence:
    """The licence that the user wrote as `key`."""
    licence = licence_of(name)
    if licence is None:
        raise InputError(
            f"{key}={name} is no licence that can be weighed here: write its name on the Hugging "
            f"Face hub, such as apache-2.0, cc-by-nc-4.0 or llama2; or {' or '.join(RESEARCH)}"
        )
    return licence


def require_allowed(model: Licence, material: Licence, name: str) -> None:
    """Refuse a model's licence that allows what that of `material`, called `name`, forbids."""
    under = f"licence={model.name}, but {name} is under {material.name}, which"
    require(
        not material.forbids_changes,
        f"{under} forbids changed versions: a model trained on it cannot be shared",
    )
    require(
        model.is_non_commercial or not material.is_non_commercial,
        f"{under} allows no commercial use: licence=cc-by-nc-4.0 would do",
    )
    require(
        model.is_non_commercial or not material.keeps_its_terms or model == material,
        f"{under} what is made from it stays under: licence={material.name} would do",
    )
