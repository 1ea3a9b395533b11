"""What the user asked for, as pairs of names and keys in each mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from fxpasses.errors import ReturnNodesError, UnknownNodeError
from fxpasses.graph.values import NamedValues
from fxpasses.passes.prune_to_outputs import output_pairs

ReturnNodes = Mapping[str, str] | Iterable[str]
Pairs = tuple[tuple[str, str], ...]


class Selection(NamedTuple):
    """The values to return in each mode: pairs of a qualified name and an output key, in the order asked for."""

    train: Pairs
    eval: Pairs

    def of_mode(self, mode: Literal["train", "eval"] | None) -> Selection:
        """Returns what was asked for in one mode, and nothing in the other; everything for None."""
        if mode is None:
            return self
        return Selection(self.train, ()) if mode == "train" else Selection((), self.eval)


def parse_selection(
    return_nodes: ReturnNodes | None,
    train_return_nodes: ReturnNodes | None = None,
    eval_return_nodes: ReturnNodes | None = None,
) -> Selection:
    """Reads the three arguments that name the outputs.

    Args:
        return_nodes: Names, or a mapping from names to keys, for both modes.
        train_return_nodes: The same for training mode alone; goes together with `eval_return_nodes`.
        eval_return_nodes: The same for evaluation mode alone.

    Raises:
        ReturnNodesError: None of them, one of the last two alone, or the first beside the others.
        RequestError: An empty selection, or one key for two values.
        ArgumentTypeError: A string instead of several, or names and keys that are no strings.

    Example:
        >>> parse_selection({"layer1": "c2"}).eval
        (('layer1', 'c2'),)
    """
    by_mode = (train_return_nodes, eval_return_nodes)
    if return_nodes is not None:
        if by_mode != (None, None):
            raise ReturnNodesError(
                "return_nodes is for both modes, train_return_nodes and eval_return_nodes for one each: give either the "
                "first alone or the other two together."
            )
        pairs = output_pairs(return_nodes, "return_nodes")
        return Selection(pairs, pairs)
    if train_return_nodes is None or eval_return_nodes is None:
        given = "" if by_mode == (None, None) else " in one of the modes"
        raise ReturnNodesError(
            f"Nothing says which values to return{given}: give return_nodes for both modes, or train_return_nodes and "
            "eval_return_nodes together."
        )
    return Selection(
        output_pairs(train_return_nodes, "train_return_nodes"), output_pairs(eval_return_nodes, "eval_return_nodes")
    )


def check_selection(selection: Selection, train: NamedValues, eval: NamedValues) -> None:  # noqa: A002 - torch's word
    """Checks that every name of the selection can be returned.

    Raises:
        UnknownNodeError: For all names that a mode does not have, each with near names and other modes.
        UnselectableValueError: A name whose value cannot be returned.
    """
    faults = dict.fromkeys(
        [*_faults(selection.train, "train", train, eval), *_faults(selection.eval, "eval", eval, train)]
    )
    if faults:
        raise UnknownNodeError("\n".join([*faults, "get_graph_node_names(model) lists the names of both modes."]))
    for pairs, values in ((selection.train, train), (selection.eval, eval)):
        for name, _ in pairs:
            values.value(name)


def check_selection_of_mode(
    selection: Selection, mode: Literal["train", "eval"], values: NamedValues, other: Callable[[], NamedValues | None]
) -> None:
    """Checks that every name of the selection can be returned in one mode.

    Args:
        selection: The selection; what it holds for the other mode does not matter.
        mode: The mode.
        values: The values of that mode.
        other: Makes the values of the other mode, or None if there are none; called if a name is unknown.

    Raises:
        UnknownNodeError: As `check_selection`.
        UnselectableValueError: As `check_selection`.
    """
    pairs = selection.train if mode == "train" else selection.eval
    found = None if all(name in values for name, _ in pairs) else other()
    elsewhere = values if found is None else found
    train, eval_ = (values, elsewhere) if mode == "train" else (elsewhere, values)
    check_selection(selection.of_mode(mode), train, eval_)


def _faults(pairs: Pairs, mode: str, values: NamedValues, other: NamedValues) -> Iterable[str]:
    for name, _ in pairs:
        if name in values:
            continue
        if name in other:
            other_mode = "eval" if mode == "train" else "train"
            yield (
                f"node {name!r} is not present in model in {mode} mode, only in {other_mode} mode. Ask for it in that mode "
                f"alone, by train_return_nodes and eval_return_nodes, or by mode={other_mode!r}."
            )
            continue
        near = ", ".join(map(repr, values.near(name)))
        yield f"node {name!r} is not present in model." + (f" Near names: {near}." if near else "")
