"""`check_fidelity`: every feature beside what the eager model computes, and the cause of each difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import fx, nn

from fxpasses.capture.symbolic import require_module
from fxpasses.errors import ArgumentTypeError, GuardError
from fxpasses.feature_extraction.dual_graph_module import DualGraphModule
from fxpasses.feature_extraction.witnesses import EagerModel, WholeGraph, named_calls, undisturbed, whole_graph
from fxpasses.graph.bits import cloned, first_difference
from fxpasses.graph.effects import analyze_effects
from fxpasses.graph.meta import capture_record, qualified_name, scopes

Kind = Literal["loss", "random", "guard", "model", "unknown"]


@dataclass(frozen=True)
class FeatureDifference:
    """One feature that is not what the model computes.

    Attributes:
        name: The qualified name.
        key: The output key.
        what: The first place at which the two differ.
        kind: What sort of cause it has. `loss`: something of the model that no graph carries over. `random`: other random
            numbers, since draws that the features do not need were removed. `guard`: the extractor refused these
            inputs. `model`: the model does not repeat itself. `unknown`: none of these.
        cause: The cause in words.
    """

    name: str
    key: str
    what: str
    kind: Kind
    cause: str


@dataclass(frozen=True)
class FidelityReport:
    """What `check_fidelity` found; true if every feature was compared and none differs.

    Attributes:
        training: The mode in which was compared.
        equal: The names of the features that are the same, bit for bit.
        differences: The features that are not.
        unseen: Names of features whose value in the eager model could not be had.
    """

    training: bool
    equal: tuple[str, ...]
    differences: tuple[FeatureDifference, ...]
    unseen: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.differences and not self.unseen

    def __str__(self) -> str:
        mode = "train" if self.training else "eval"
        count = len(self.equal) + len(self.differences) + len(self.unseen)
        lines = [f"{len(self.equal)} of {count} features are what the model computes in {mode} mode"]
        width = max((len(each.name) for each in self.differences), default=0)
        lines += [f"  {each.name:{width}}  {each.kind:7}  {each.what}: {each.cause}" for each in self.differences]
        lines += [f"  {name}  could not be seen in the eager model" for name in self.unseen]
        return "\n".join(lines)


def check_fidelity(extractor: DualGraphModule, model: nn.Module, inputs: Any, *, seed: int = 0) -> FidelityReport:
    """Compares every feature, in the extractor's current mode, with what the eager model computes at that moment.

    What a module returned is seen by hooks of the eager model. Other values are seen in a fresh graph of the whole
    model, run node by node, if its output is the model's. Everything starts from the same state and the same seed;
    modes, buffers, random streams and the inputs are left as they were.

    Args:
        extractor: What `create_feature_extractor(model, ...)` returned, or a copy of that.
        model: The model. Modules that it shares with the extractor run in the mode in which they are, the others in that
            of the extractor.
        inputs: The positional arguments as a tuple, the keyword arguments as a mapping, or the only argument.
        seed: The seed of every run.

    Raises:
        ArgumentTypeError: `extractor` does not say what its outputs stand for, or `model` is no module.

    Example:
        >>> from fxpasses import create_feature_extractor
        >>> class Scaled(nn.Module):
        ...     def forward(self, x):
        ...         return x * torch.rand(())
        >>> model = nn.Sequential(nn.ReLU(), Scaled()).eval()
        >>> report = check_fidelity(create_feature_extractor(model, ["0"]), model, torch.ones(2))
        >>> bool(report), str(report)
        (True, '1 of 1 features are what the model computes in eval mode')
    """
    require_module(model)
    if not isinstance(extractor, DualGraphModule) or extractor.selection is None:
        raise ArgumentTypeError(
            f"extractor: expected what create_feature_extractor returns, got {type(extractor).__name__}, which does not "
            "say what its outputs stand for."
        )
    return _Check(extractor, model, inputs, seed).report()


class _Check:
    """One comparison; every run in it starts from the same state."""

    def __init__(self, extractor: DualGraphModule, model: nn.Module, inputs: Any, seed: int) -> None:
        self._extractor, self._model, self._inputs, self._seed = extractor, model, inputs, seed
        selection = extractor.selection
        pairs = () if selection is None else (selection.train if extractor.training else selection.eval)
        self._pairs = pairs

    def report(self) -> FidelityReport:
        """Runs the extractor and the witnesses, and compares."""
        self._eager = self._eager_run()
        try:
            features = self._run(lambda args, kwargs: cloned(self._extractor(*args, **kwargs)))
        except GuardError as error:
            what = "the extractor raised GuardError"
            refused = [FeatureDifference(name, key, what, "guard", str(error)) for name, key in self._pairs]
            return FidelityReport(self._extractor.training, (), tuple(refused))
        self._whole, is_sound = self._graph_run()
        calls = named_calls(None if self._whole is None else self._whole.module, self._eager)
        equal, differences, unseen = list[str](), list[FeatureDifference](), list[str]()
        for name, key in self._pairs:
            if name in calls:
                expected = self._eager.returned[calls[name]]
            elif self._whole is not None and is_sound and name in self._whole.names:
                expected = self._whole.value(name)
            else:
                unseen.append(name)
                continue
            what = first_difference(features[key], expected)
            if what is None:
                equal.append(name)
            else:
                differences.append(FeatureDifference(name, key, what, *self._cause(name, expected)))
        return FidelityReport(self._extractor.training, tuple(equal), tuple(differences), tuple(unseen))

    def _run(self, function: Any) -> Any:
        """Calls `function` with copies of the inputs, from the same state and seed as every other run."""
        inputs = cloned(self._inputs)
        args = inputs if isinstance(inputs, tuple) else () if isinstance(inputs, Mapping) else (inputs,)
        kwargs = cast("Mapping[str, Any]", inputs) if isinstance(inputs, Mapping) else {}
        with undisturbed(self._model, self._extractor):
            shared = set(self._extractor.modules())
            for module in self._model.modules():
                if module not in shared:
                    module.training = self._extractor.training
            torch.manual_seed(self._seed)
            return function(args, kwargs)

    def _eager_run(self) -> EagerModel:
        return self._run(lambda args, kwargs: EagerModel(self._model, args, kwargs))

    def _graph_run(self) -> tuple[WholeGraph | None, bool]:
        """Captures and runs a graph of the whole model; also says whether its output is the model's."""
        whole = self._run(lambda args, kwargs: whole_graph(self._model, self._extractor, args, kwargs))
        if whole is None:
            return None, False
        try:
            output = self._run(lambda args, kwargs: whole.run_with(args, kwargs))
        except Exception:  # a graph of which nothing is known may fail in any way; then it is no witness
            return whole, False
        return whole, first_difference(output, self._eager.output) is None

    def _cause(self, name: str, expected: Any) -> tuple[Kind, str]:
        again = self._eager_run()
        if first_difference(again.output, self._eager.output) is not None:
            return "model", "the model itself returns something else in a second run with the same seed"
        if self._whole is None or name not in self._whole.names:
            return "unknown", "the model cannot be captured again to look for one"
        ancestors = _ancestors(self._whole.nodes(name))
        losses = _losses(self._whole.module, ancestors)
        if losses:
            return "loss", "; ".join(losses)
        if _is_same(self._whole, name, expected):
            removed = self._removed_draws(self._whole.module, ancestors)
            if removed:
                return "random", f"draws that the features do not need are gone, and later ones shift: {removed}"
        return "unknown", "no loss of the capture concerns it, and no random draw was removed before it"

    def _removed_draws(self, whole: fx.GraphModule, ancestors: set[fx.Node]) -> str:
        """Names the random draws that the extractor leaves out, if the value depends on a later one."""
        kept = {qualified_name(node) for node in self._extractor.graph.nodes}
        random = analyze_effects(whole, training=self._extractor.training).random
        removed: list[str] = []
        for node in whole.graph.nodes:
            if node in random and node in ancestors and removed:
                return ", ".join(removed)
            if node in random and qualified_name(node) not in kept:
                removed.append(qualified_name(node) or node.name)
        return ""


def _is_same(whole: WholeGraph, name: str, expected: Any) -> bool:
    return first_difference(whole.value(name), expected) is None


def _ancestors(nodes: list[fx.Node]) -> set[fx.Node]:
    found, waiting = set[fx.Node](), list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(node.all_input_nodes)
    return found


def _losses(whole: fx.GraphModule, ancestors: set[fx.Node]) -> list[str]:
    """Says what the graph does not carry over of all that a value is computed from."""
    record = capture_record(whole)
    names = {node.name for node in ancestors if node.op != "placeholder"}
    paths = {scope.path for node in ancestors for scope in scopes(node)} | {""}
    losses = () if record is None else record.losses
    return [str(loss) for loss in losses if (names.intersection(loss.nodes) if loss.nodes else loss.path in paths)]
