"""Published attentive probes: their files, and their names for the tensors of an `AttentiveHead`.

    ours                 Meta                                Hugging Face
    pooler.queries       pooler.query_tokens                 pooler.query_tokens
    pooler.blocks.0      pooler.blocks.0                     pooler.self_attention_layers.0
    pooler.cross         pooler.cross_attention_block.xattn  pooler.cross_attention_layer.cross_attn
    pooler.norm1, .mlp   pooler.cross_attention_block...     pooler.cross_attention_layer...
    linear               linear                              classifier

Meta's files hold a list of probes, one for each setting of their sweep; Hugging Face's models hold
one beside the encoder, with queries, keys and values in tensors of their own.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from nexus.checkpoints.pickled import read_pickled
from nexus.checkpoints.source import fused
from nexus.checkpoints.weights import compare
from nexus.errors import CheckpointError
from nexus.models.heads import META_EPS, AttentiveHead, AttentiveHeadConfig

HUGGINGFACE_PARTS = ("pooler.", "classifier.")
"""What the names of a probe's tensors begin with in a `VJEPA2ForVideoClassification`."""
PUBLISHED_HEADS = 16
"""Attention heads of Meta's probes, which their files do not say."""

_META = {
    "pooler.query_tokens": "pooler.queries",
    "pooler.cross_attention_block.xattn.": "pooler.cross.",
    "pooler.cross_attention_block.": "pooler.",
}
_HUGGINGFACE = {
    "pooler.query_tokens": "pooler.queries",
    "pooler.cross_attention_layer.cross_attn.": "pooler.cross.",
    "pooler.cross_attention_layer.": "pooler.",
    "pooler.self_attention_layers.": "pooler.blocks.",
    ".layer_norm": ".norm",
    ".self_attn.out_proj.": ".attn.proj.",
    ".self_attn.qkv.": ".attn.qkv.",
    "classifier.": "linear.",
}
_FUSED = {
    ".self_attn.qkv.": (".self_attn.q_proj.", ".self_attn.k_proj.", ".self_attn.v_proj."),
    ".cross_attn.kv.": (".cross_attn.k_proj.", ".cross_attn.v_proj."),
    ".cross_attn.q.": (".cross_attn.q_proj.",),
}


def from_meta(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Meta's names, with or without `module.` before them, to ours."""
    bare = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return {_renamed(name, _META): tensor for name, tensor in bare.items()}


def from_huggingface(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The pooler and classifier of `VJEPA2ForVideoClassification` under our names.

    Tensors outside of `pooler.` and `classifier.` (the encoder's) are left out.

    Raises:
        CheckpointError: a query, key or value is missing.
    """
    own = {k: v for k, v in tensors.items() if k.startswith(HUGGINGFACE_PARTS)}
    for whole, parts in _FUSED.items():
        own = fused(own, parts, whole)
        if odd := next((name for name in own for part in parts if part in name), None):
            here = next(part for part in parts if part in odd)
            names = [odd.replace(here, part) for part in parts]
            raise CheckpointError(
                f"the probe has {odd} but not {', '.join(n for n in names if n not in own)}; "
                f"expected all of {', '.join(names)}"
            )
    return {_renamed(name, _HUGGINGFACE): tensor for name, tensor in own.items()}


def _renamed(name: str, pieces: Mapping[str, str]) -> str:
    """A name with its pieces in our words."""
    for theirs, ours in pieces.items():
        name = name.replace(theirs, ours)
    return name


def build_head(
    tensors: Mapping[str, Tensor], *, num_heads: int = PUBLISHED_HEADS, eps: float = META_EPS
) -> AttentiveHead:
    """The probe that some tensors (under our names) belong to, with them in it; in eval mode.

    Width, classes and depth are read off the tensors; heads and epsilon cannot be.

    Raises:
        CheckpointError: these are not the tensors of an attentive probe.
    """
    try:
        dim = tensors["pooler.queries"].shape[-1]
        blocks = {name.split(".")[2] for name in tensors if name.startswith("pooler.blocks.")}
        config = AttentiveHeadConfig(
            dim=dim,
            num_classes=len(tensors["linear.weight"]),
            num_heads=num_heads,
            depth=1 + len(blocks),
            mlp_ratio=len(tensors["pooler.mlp.fc1.weight"]) / dim,
            eps=eps,
        )
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"these tensors are not an attentive probe ({error}); expected a pooler with a query "
            f"and one linear layer, got {', '.join(list(tensors)[:6]) or 'nothing'}, ... "
            "(probes with several outputs, such as those for action anticipation, are not read)"
        ) from None
    head = AttentiveHead(config)
    report = compare(head.state_dict(), tensors)
    if not report.exact:
        raise CheckpointError(f"these tensors are not an attentive probe: {report.explain()}")
    head.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return head.eval()


def read_meta_probes(path: str | Path) -> list[dict[str, Tensor]]:
    """All probes of one of Meta's `.pt` files, under our names; on the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, or holds no `classifiers`.
    """
    content = read_pickled(path)
    found = content.get("classifiers") if isinstance(content, Mapping) else None
    if not found or not all(isinstance(one, Mapping) for one in found):
        keys = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content)
        raise CheckpointError(
            f"{path} holds no probes: expected a list of state dicts under "
            f"`classifiers`, got {keys}"
        )
    return [from_meta(one) for one in found]
