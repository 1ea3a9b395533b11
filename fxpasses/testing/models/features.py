"""The features that a generated model may have, and the mask that turns them off for one example."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

from fxpasses.errors import RequestError

FEATURES = (
    "residual",
    "concat",
    "split",
    "paired_result",
    "multi_input",
    "multi_output",
    "tuple_io",
    "dict_io",
    "keywords",
    "block",
    "block_reuse",
    "leaf_reuse",
    "sequential",
    "module_list",
    "module_dict",
    "alias",
    "tied",
    "branch",
    "frozen",
    "dropout_module",
    "dropout_function",
    "random",
    "batch_norm",
    "parameter",
    "buffer",
    "transient_buffer",
    "buffer_write",
    "inplace_method",
    "inplace_function",
    "inplace_flag",
    "inplace_module",
    "inplace_out",
    "view_write",
    "dead_code",
    "identity",
    "integers",
    "size_arithmetic",
    "repeated_call",
    "casts",
    "layers",
    "activations",
    "colliding_names",
)
# torch.fx cannot trace these, or traces something else than what the model computes:
BEYOND_FX = (
    "augmented_assignment",  # `h += 1` is traced as an addition that makes a new tensor
    "item_assignment",  # `h[:, 0] = 1` raises: a Proxy takes no item
    "trace_time_random",  # `h + torch.randn(3)` is drawn once, while tracing
    "trace_time_write",  # `self.count.add_(1)` runs on the model while tracing, and is not recorded
)
# Valid for torch.fx, but a test that calls the model twice with the same tensors sees different inputs.
OPT_IN = ("input_write",)

# What a graph can hold that has no module around it.
WITHOUT_MODULES = frozenset(FEATURES) - {
    "activations", "alias", "batch_norm", "block", "block_reuse", "buffer", "buffer_write", "dropout_module", "frozen",
    "identity", "inplace_module", "layers", "leaf_reuse", "module_dict", "module_list", "parameter", "sequential", "tied",
    "transient_buffer",
}  # fmt: skip
ALL = frozenset(FEATURES)
EVERYTHING = (*FEATURES, *BEYOND_FX, *OPT_IN)
_BIT = {feature: 1 << index for index, feature in enumerate(EVERYTHING)}
LARGEST_MASK = (1 << len(EVERYTHING)) - 1


def mask_of(features: Iterable[str]) -> int:
    """The mask with the bits of these features set.

    Example:
        >>> mask_of(["residual", "split"])
        5
    """
    return sum(_BIT[feature] for feature in set(features))


def is_off(feature: str | None, disabled: int) -> bool:
    """Whether a mask of disabled features contains this one."""
    return feature is not None and bool(_BIT[feature] & disabled)


def disabled_by(features: Collection[str]) -> int:
    """The mask that disables everything but these features.

    Raises:
        RequestError: There is no such feature.
    """
    unknown = sorted(set(features) - _BIT.keys())
    if unknown:
        near = get_close_matches(unknown[0], _BIT, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(EVERYTHING)}"
        raise RequestError(f"no feature is called {unknown[0]!r}{meant}")
    return LARGEST_MASK & ~mask_of(features)
