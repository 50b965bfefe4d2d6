"""Meta's names for the tensors of an attentive probe, written out piece by piece."""

from collections.abc import Mapping

from torch import Tensor

PIECES = {
    "pooler.queries": "pooler.query_tokens",
    "pooler.cross.": "pooler.cross_attention_block.xattn.",
    "pooler.norm": "pooler.cross_attention_block.norm",
    "pooler.mlp.": "pooler.cross_attention_block.mlp.",
}


def to_meta(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    theirs = {}
    for name, tensor in tensors.items():
        for ours, published in PIECES.items():
            name = name.replace(ours, published)
        theirs[name] = tensor
    return theirs
