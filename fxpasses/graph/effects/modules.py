"""What a call of a module of `torch.nn` may do, by its class and its attributes.

A leaf's `training` flag may be another when the graph runs than when it is analysed: the caller says which one
to assume, or None for either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.lazy import LazyModuleMixin

from fxpasses.graph.effects.behaviour import FRESH, FRESH_TENSOR, STATE, Behaviour, all_keys, opaque

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict, nn.DataParallel)
_VIEWS = (nn.Identity, nn.Flatten, nn.Unflatten, nn.ChannelShuffle, nn.PixelShuffle, nn.PixelUnshuffle)
_STRUCTURED = (nn.RNNBase, nn.LSTMCell, nn.MultiheadAttention, nn.AdaptiveLogSoftmaxWithLoss)
_RANDOM = (nn.FractionalMaxPool2d, nn.FractionalMaxPool3d)
_WITH_INNER_DROPOUT = (nn.RNNBase, nn.MultiheadAttention, nn.Transformer, nn.TransformerEncoder, nn.TransformerDecoder)
_WITH_INNER_DROPOUT_LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)

Args = Sequence[object]
Kwargs = Mapping[str, object]


def behaviour_of_module(module: nn.Module, training: bool | None, args: Args, kwargs: Kwargs) -> Behaviour | None:
    """Returns what calling `module` may do; None if its forward is not of `torch.nn`, or calls its children.

    Args:
        module: The module that is called.
        training: The flag to assume for it; None for either.
        args: Its arguments by position.
        kwargs: Its arguments by keyword.

    Example:
        >>> behaviour_of_module(nn.ReLU(inplace=True), None, ("x",), {}).writes
        frozenset({0})
        >>> behaviour_of_module(nn.Conv2d(1, 1, 1), None, ("x",), {}).writes
        frozenset()
    """
    if not type(module).__module__.startswith("torch.nn.modules.") or isinstance(module, _CONTAINERS):
        return None
    if "forward" in module.__dict__:
        return None
    if isinstance(module, LazyModuleMixin):
        return opaque(args, kwargs)
    only = all_keys(args, kwargs)  # modules that work in place, or return a view, take one argument
    if isinstance(module, _DropoutNd):
        return _dropout(module, training, only)
    if getattr(module, "inplace", False):
        return Behaviour(writes=only, returns=only, kind="tensor", random=_draws(module, training))
    if isinstance(module, _VIEWS):
        return Behaviour(returns=only, kind="first" if isinstance(module, nn.Identity) else "tensor")
    return _fresh(module, training)


def _dropout(module: _DropoutNd, training: bool | None, only: frozenset[int | str]) -> Behaviour:
    drops = training is not False and module.p > 0
    writes = only if module.inplace and drops else frozenset[int | str]()
    return Behaviour(writes=writes, returns=only, kind="tensor", random=drops)


def _fresh(module: nn.Module, training: bool | None) -> Behaviour:
    """The behaviour of a module whose result is new; what is left is its own state, and randomness."""
    if _updates_itself(module, training):
        return Behaviour(writes=frozenset([STATE]), kind="tensor")
    structured = isinstance(module, _STRUCTURED) or getattr(module, "return_indices", False)
    fresh = FRESH if structured else FRESH_TENSOR
    return replace(fresh, random=True) if _draws(module, training) else fresh


def _updates_itself(module: nn.Module, training: bool | None) -> bool:
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return module.max_norm is not None
    if isinstance(module, _NormBase):
        # Instance norm looks at its flag as batch norm does, and at what it was built with.
        return training is not False and module.track_running_stats
    return False


def _draws(module: nn.Module, training: bool | None) -> bool:
    if isinstance(module, _RANDOM):
        return True
    if training is False:
        return False
    if isinstance(module, nn.RReLU):
        return True
    if isinstance(module, (*_WITH_INNER_DROPOUT, *_WITH_INNER_DROPOUT_LAYERS)):
        return any(_rate(each) > 0 for each in module.modules())
    return False


def _rate(module: nn.Module) -> float:
    rate = getattr(module, "p" if isinstance(module, _DropoutNd) else "dropout", 0.0)
    return rate if isinstance(rate, float) else 0.0
