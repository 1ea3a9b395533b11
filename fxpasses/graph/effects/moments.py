"""Values at a moment other than their birth."""

from __future__ import annotations

from torch import fx

from fxpasses.graph.edit import insert_after
from fxpasses.graph.effects import Effects
from fxpasses.graph.effects.copies import insert_copy


def value_after(node: fx.Node, moment: fx.Node, effects: Effects) -> fx.Node:
    """Returns a node that stands for what the value of `node` is right after `moment` ran.

    A module may write into a value after it was made and before returning it: `y = conv(x); y.relu_(); return y`
    returns the node of the convolution, but not what the convolution computed. To ask for what was returned, a node
    is needed that is made at the end of the call. A view is: it costs nothing, and reads the memory at that moment.

    Args:
        node: The value.
        moment: A node that runs after `node`, or `node` itself.
        effects: What the nodes of the graph write.

    Returns:
        `node` itself if nothing up to `moment` may write into it; else a new node right behind `moment`.

    Example:
        >>> from fxpasses.graph.effects import analyze_effects
        >>> def block(x):
        ...     y = x + 1
        ...     y.mul_(2)
        ...     return y
        >>> graph_module = fx.symbolic_trace(block)
        >>> x, y, mul_, _ = graph_module.graph.nodes
        >>> effects = analyze_effects(graph_module)
        >>> value_after(y, y, effects), value_after(y, mul_, effects)
        (add, add_view_as)
    """
    writer = moment
    while writer is not node:
        if effects.may_write(writer, node):
            return _view(node, moment, effects)
        writer = writer.prev
    return node


def _view(node: fx.Node, moment: fx.Node, effects: Effects) -> fx.Node:
    kind = effects.kinds.get(node, "any")
    if kind == "tensor":
        return insert_after(moment, "call_method", "view_as", (node, node), like=node)
    # What is not known to be a tensor has no views; a copy holds the same values.
    return insert_copy(node, kind, after=moment)
