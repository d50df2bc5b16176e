"""Comparisons become tokens once, in the same cache as records; every later start opens the
result."""

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from llama_gpt4.cache import cached, digest, fingerprint
from llama_gpt4.holdout import split
from llama_gpt4.prepare import cache_key, code_digests, own_tokenizer, tokenizer_path
from llama_gpt4_data.comparisons import Comparison, read_comparisons
from llama_gpt4_data.reward_backbone import is_llama, require_plain
from llama_gpt4_data.reward_config import ComparisonsConfig
from llama_gpt4_data.reward_examples import TABLES, PreparedComparisons, open_prepared
from llama_gpt4_data.reward_writer import Encoder, Writer, rendered

HERE = Path(__file__).parent
CODE = ("comparisons.py", "pairs.py", "hub_tokenizer.py", "reward_data.py", "reward_writer.py")
"""Modules of this room whose text decides the tokens; those of `prepare.py` count as well."""


def prepare(config: ComparisonsConfig) -> PreparedComparisons:
    """The comparisons that `config` asks for, tokenised now unless somebody did it before."""
    require_plain(config.model, config.data.row_tokens)
    folder = cached(config.data, partial(_key, config), partial(_write, config))
    return open_prepared(config.data, folder)


def _key(config: ComparisonsConfig) -> str:
    kind = f"{is_llama(config.model)} {config.data.out_of_range} {config.ranking.kind == 'margin'}"
    # What decides the tokens in the room below, and here.
    return digest(f"{cache_key(config)} {code_digests(HERE, CODE)} {kind}".encode())[:32]


def _write(config: ComparisonsConfig, draft: Path) -> None:
    parts = _read(config)
    texts = (t for c in parts["train"] for t in (rendered(c), *(r.text for r in c.responses)))
    tokenizer, ids, described = _tokenizer(config, texts, draft / "tokenizer")
    dtype = np.dtype(np.uint16 if described["vocab_size"] <= 2**16 else np.uint32)
    report: dict[str, Any] = {"train": None, "validation": None}
    names: dict[str, dict[str, list[str]]] = {}
    for part, comparisons in parts.items():
        (draft / part).mkdir()
        writer = Writer(config.data, part, config.ranking.kind == "margin", draft / part, dtype)
        report[part] = writer.write(comparisons, tokenizer)
        names[part] = writer.names
    meta = {
        "fingerprint": fingerprint(draft / "train", (*TABLES, "tokens.bin")),
        "dtype": dtype.name,
        **described,
        "ids": ids,
        "names": names,
        "report": report,
    }
    (draft / "meta.json").write_text(json.dumps(meta, indent=1, ensure_ascii=False) + "\n")


def _read(config: ComparisonsConfig) -> dict[str, list[Comparison]]:
    data = config.data
    comparisons = read_comparisons(data.files)
    if data.validation.files:
        return {"train": comparisons, "validation": read_comparisons(data.validation.files)}
    if data.validation.share:
        train, held_out = split(comparisons, data.validation.share, config.seed, rendered)
        return {"train": train, "validation": held_out}
    return {"train": comparisons}


def _tokenizer(
    config: ComparisonsConfig, texts: Iterable[str], folder: Path
) -> tuple[Encoder, dict[str, int | None], dict[str, Any]]:
    """The run's tokenizer, saved to `folder`; the ids of BOS, EOS, pad; and its description."""
    if is_llama(config.model):
        own = own_tokenizer(config, texts, folder)
        ids = {"bos_id": own.bos_id, "eos_id": own.eos_id, "pad_id": own.unk_id}
        return own, ids, {"vocab_size": own.vocab_size, "tokenizer": own.fingerprint()}
    from llama_gpt4_data.hub_tokenizer import HubTokenizer

    path = tokenizer_path(config)
    assert path is not None
    other = HubTokenizer.load(path)
    other.save(folder, max_tokens=config.data.row_tokens)
    ids = {"bos_id": other.bos_id, "eos_id": other.eos_id, "pad_id": other.pad_id}
    return other, ids, {"vocab_size": other.vocab_size, "tokenizer": other.fingerprint()}
