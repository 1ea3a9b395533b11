"""What the schemas of torch's operators say of writes and shared memory, and what they leave out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, cast

import torch
from torch._ops import OpOverload, OpOverloadPacket

from fxpasses.graph.effects.behaviour import FRESH, Behaviour, Key, Kind, all_keys, flag, key_at

_RETURNS_ITS_FIRST = frozenset(
    "alpha_dropout conj_physical channel_shuffle dropout feature_alpha_dropout feature_dropout native_channel_shuffle "
    "pixel_shuffle pixel_unshuffle sum_to_size type_as unsafe_chunk unsafe_split unsafe_split_with_sizes _unsafe_view "
    "lift to_dense _to_dense dequantize expand_as view_as".split()
)
"""Operators that may return their first argument, or a view of it, and whose schema does not say so."""

_RETURNS_ANY = frozenset(
    "atleast_1d atleast_2d atleast_3d broadcast_tensors cartesian_prod chain_matmul einsum histogramdd meshgrid".split()
)
"""The same for operators that may return any of their arguments."""

_RUNNING_STATISTICS = {
    "batch_norm": "training",
    "native_batch_norm": "training",
    "cudnn_batch_norm": "training",
    "miopen_batch_norm": "training",
    "instance_norm": "use_input_stats",
}
"""Operators that write their fourth and fifth argument when the sixth, of this name, is true; no schema says so."""


class Parameter(NamedTuple):
    """A parameter of an operator."""

    position: int
    name: str


@dataclass(frozen=True)
class SchemaFacts:
    """What holds of some overload of an operator; `out=` overloads are left to `with_out`."""

    name: str
    writes: tuple[Parameter, ...]
    returns: tuple[Parameter, ...]
    kind: Kind
    random: bool
    reshapes: bool

    def behaviour(self, args: Sequence[object], kwargs: Mapping[str, object]) -> Behaviour:
        """Says what the call of the operator with these arguments may do."""
        if "as_tuple" in kwargs:
            return FRESH  # of `nonzero` alone: the tuple is made in Python, and no overload tells of it
        if self.name in _RETURNS_ANY:
            # Of one tensor or of several, at will: a tensor, or a tuple of them.
            kind = "any" if self.name.startswith("atleast_") else self.kind
            return Behaviour(returns=all_keys(args, kwargs), kind=kind)
        if not (self.writes or self.returns or self.name in _RUNNING_STATISTICS):
            return _without_memory(self.kind, self.random)
        return Behaviour(
            writes=_keys(self.writes, args, kwargs) | _updated_statistics(self.name, args, kwargs),
            returns=_keys(self.returns, args, kwargs),
            kind=self.kind,
            reshapes=self.reshapes,
            random=self.random,
        )


def _updated_statistics(name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> frozenset[Key]:
    if name not in _RUNNING_STATISTICS or flag(args, kwargs, 5, _RUNNING_STATISTICS[name], None) is False:
        return frozenset()
    return key_at(args, kwargs, 3, "running_mean") | key_at(args, kwargs, 4, "running_var")


def _keys(parameters: Iterable[Parameter], args: Sequence[object], kwargs: Mapping[str, object]) -> frozenset[Key]:
    return frozenset[Key]().union(*(key_at(args, kwargs, *parameter) for parameter in parameters))


@cache
def _without_memory(kind: Kind, random: bool) -> Behaviour:
    return Behaviour(kind=kind, random=random)


@cache
def facts_of_name(name: str) -> SchemaFacts | None:
    """Returns what holds of some overload of `aten::name` that has to do with tensors; None if there is none.

    Example:
        >>> facts = facts_of_name("chunk")
        >>> facts.returns, facts.writes, facts.kind
        ((Parameter(position=0, name='self'),), (), 'tensors')
    """
    packet = getattr(torch.ops.aten, name, None)
    return facts_of_packet(packet) if isinstance(packet, OpOverloadPacket) else None


@cache
def facts_of_packet(packet: OpOverloadPacket) -> SchemaFacts | None:
    """Returns what holds of some overload of an operator that has to do with tensors; None if there is none."""
    overloads = [cast("OpOverload", getattr(packet, name)) for name in packet.overloads()]
    overloads = [overload for overload in overloads if _concerns_tensors(overload._schema)]
    # Python's list methods share names with operators: `sort` sorts a tensor into a new one, and a list in place.
    on_tensors = [overload for overload in overloads if not _first_type(overload).startswith("List")]
    facts = [facts_of_overload(overload) for overload in on_tensors or overloads]
    if not facts:
        return None
    same_kind = all(each.kind == facts[0].kind for each in facts)
    return SchemaFacts(
        facts[0].name,
        tuple(dict.fromkeys(parameter for each in facts for parameter in each.writes)),
        tuple(dict.fromkeys(parameter for each in facts for parameter in each.returns)),
        facts[0].kind if same_kind else "any",
        any(each.random for each in facts),
        any(each.reshapes for each in facts),
    )


@cache
def facts_of_overload(overload: OpOverload) -> SchemaFacts:
    """Returns what the schema of one overload says, and what it should have said."""
    schema: Any = overload._schema
    name = _name(schema)
    parameters = [Parameter(position, argument.name) for position, argument in enumerate(schema.arguments)]
    labels = [_labels(argument.alias_info) for argument in schema.arguments]
    returned = set[str]().union(*(_labels(result.alias_info) for result in schema.returns))
    shared = [parameter for parameter, own in zip(parameters, labels, strict=True) if own & returned]
    if name in _RETURNS_ITS_FIRST:
        shared = [*shared, parameters[0]]
    return SchemaFacts(
        name,
        tuple(parameters[position] for position in _written(schema)),
        tuple(dict.fromkeys(shared)),
        _kind([str(result.type) for result in schema.returns]),
        torch.Tag.nondeterministic_seeded in overload.tags,
        torch.Tag.inplace_view in overload.tags,
    )


def written_arguments(overload: OpOverload, args: Sequence[object], kwargs: Mapping[str, object]) -> Iterable[object]:
    """Yields the arguments, of those passed in a call, that the operator writes, `out=` included."""
    schema: Any = overload._schema
    for position in (*_written(schema), *_outs(schema)):
        name = schema.arguments[position].name
        yield args[position] if position < len(args) else kwargs.get(name)
    for key in sorted(_updated_statistics(_name(schema), args, kwargs), key=str):  # in every process the same
        yield args[key] if isinstance(key, int) else kwargs[key]


def _name(schema: Any) -> str:
    return str(schema.name).rpartition("::")[2]


def _written(schema: Any) -> list[int]:
    return [
        position
        for position, argument in enumerate(schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write and not argument.is_out
    ]


def _outs(schema: Any) -> list[int]:
    return [position for position, argument in enumerate(schema.arguments) if argument.is_out]


def _labels(alias_info: Any) -> set[str]:
    """Returns the names of memory in a schema; `*` stands for what is inside of a list."""
    if alias_info is None:
        return set()
    return set(alias_info.before_set) | set(alias_info.after_set) or {"*"}


def _concerns_tensors(schema: Any) -> bool:
    """Whether an overload takes or returns tensors; operators on lists and numbers share names with those on tensors."""
    if any(argument.is_out for argument in schema.arguments):
        return False
    return any("Tensor" in str(each.type) for each in (*schema.arguments, *schema.returns))


def _first_type(overload: OpOverload) -> str:
    arguments: Any = overload._schema.arguments
    return str(arguments[0].type) if arguments else ""


def _kind(types: Sequence[str]) -> Kind:
    if types == ["Tensor"]:
        return "tensor"
    if types == ["List[Tensor]"]:
        return "tensors"
    return "any" if any("Tensor" in each for each in types) else "none"
