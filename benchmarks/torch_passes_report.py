"""Holds torch's own passes, and torchvision's feature extractor, against the laws of `fxpasses.testing`.

    python benchmarks/torch_passes_report.py [EXAMPLES]

writes `benchmarks/torch_passes_report.md`: which pass breaks which law, each time with the smallest model found.
A law that a pass does not claim to keep is no bug in it; the report says what holds, not whose fault it is.
"""

from __future__ import annotations

import copy
import logging
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torchvision
from hypothesis import Phase, settings
from torch import fx, nn
from torch.fx.experimental import const_fold, merge_matmul, normalize, optimization
from torch.fx.passes import annotate_getitem_nodes, split_module, tools_common
from torch.fx.passes.dialect.common.cse_pass import CSEPass
from torch.fx.subgraph_rewriter import replace_pattern
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from fxpasses import testing as fxt
from fxpasses.errors import LawViolation
from fxpasses.graph.bits import cloned, first_difference
from fxpasses.testing import strategies as fxst
from fxpasses.testing.checks import Trials, check_trial
from fxpasses.testing.shared_run import patient

REPORT = Path(__file__).with_suffix(".md")
Pass = Callable[[fx.GraphModule], Any]
NO_META = tuple(law for law in fxt.DEFAULT_LAWS if law.name != "PreservesMeta")


class Entry(NamedTuple):
    """A pass with the laws that it is held against; `note` says how it is used."""

    pass_: Pass
    note: str = ""
    laws: Sequence[fxt.Law] = fxt.DEFAULT_LAWS


def _eval_only(atol: float) -> tuple[fxt.Law, ...]:
    """The laws for a pass that rewrites weights: right in eval mode, up to rounding, and on modules of its own."""
    dropped = ("Equivalent", "PreservesState", "PreservesMeta")
    kept = [law for law in fxt.DEFAULT_LAWS if law.name not in dropped]
    return (fxt.Equivalent(modes=("eval",), atol=atol, rtol=atol), *kept)


def in_groups_of_three(graph_module: fx.GraphModule) -> fx.GraphModule:
    """`split_module` with every third operation in another submodule."""
    places = {node: index // 3 for index, node in enumerate(graph_module.graph.nodes)}
    return split_module.split_module(graph_module, graph_module, places.__getitem__)


def add_for_add(graph_module: fx.GraphModule) -> None:
    """`replace_pattern` from `torch.add(x, y)` to `x + y`."""
    replace_pattern(graph_module, lambda x, y: torch.add(x, y), lambda x, y: x + y)


def annotate(graph_module: fx.GraphModule) -> None:
    """`annotate_getitem_nodes`."""
    annotate_getitem_nodes.annotate_getitem_nodes(graph_module.graph)


PASSES: dict[str, Entry] = {
    "Graph.eliminate_dead_code": Entry(lambda gm: gm.graph.eliminate_dead_code()),
    "GraphModule.delete_all_unused_submodules": Entry(lambda gm: gm.delete_all_unused_submodules() and None),
    "Transformer": Entry(lambda gm: fx.Transformer(gm).transform()),
    "copy.deepcopy": Entry(copy.deepcopy),
    "pickle": Entry(lambda gm: pickle.loads(pickle.dumps(gm)), laws=NO_META),
    "symbolic_trace": Entry(fx.symbolic_trace, "of a graph module"),
    "split_module": Entry(in_groups_of_three, "three operations a submodule", NO_META),
    "const_fold.split_const_subgraphs": Entry(const_fold.split_const_subgraphs),
    "subgraph_rewriter.replace_pattern": Entry(add_for_add, "`torch.add(x, y)` to `x + y`"),
    "NormalizeArgs": Entry(lambda gm: normalize.NormalizeArgs(gm).transform()),
    "NormalizeOperators": Entry(lambda gm: normalize.NormalizeOperators(gm).transform()),
    "CSEPass": Entry(CSEPass()),
    "tools_common.legalize_graph": Entry(tools_common.legalize_graph),
    "annotate_getitem_nodes": Entry(annotate),
    "merge_matmul": Entry(
        merge_matmul.merge_matmul, "up to 1e-4", (fxt.Equivalent(atol=1e-4, rtol=1e-4), *NO_META[2:])
    ),
    "optimization.fuse": Entry(optimization.fuse, "in eval mode, up to 1e-4", _eval_only(1e-4)),
    "optimization.remove_dropout": Entry(optimization.remove_dropout, "in eval mode", _eval_only(0.0)),
}


class Found(NamedTuple):
    """A broken law, and the smallest example."""

    law: str
    examples: int
    what: str
    source: str


@dataclass
class Watch:
    """A law, the models that it has seen up to the first that breaks it, and those that break it."""

    name: str
    check: Callable[[fxt.Case], None]
    models: set[fxt.Case] = field(default_factory=set)
    failures: list[tuple[fxt.Case, Exception]] = field(default_factory=list)

    def law(self) -> Callable[[fxt.Case], None]:
        """The check, watched."""

        def look(case: fxt.Case) -> None:
            if not self.failures:
                self.models.add(case)
            try:
                self.check(case)
            except Exception as error:
                self.failures.append((case, error))
                raise

        return look

    def found(self) -> Found:
        """The last failure: the smallest one, once hypothesis has ended."""
        case, error = self.failures[-1]
        kind = "" if isinstance(error, LawViolation) else f"{type(error).__name__}: "
        what = str(error).partition("\npass:")[0].removeprefix(f"{self.name}: ")
        return Found(self.name, len(self.models), " ".join((kind + what).split())[:400], case.source.strip())


def broken(watches: Sequence[Watch], examples: int) -> Iterator[Found]:
    """Shows models to several laws, and yields those that are broken."""
    chosen = settings(
        patient(),
        max_examples=examples,
        database=None,
        derandomize=True,
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
    )
    over_cases = fxt.SharedRun(fxst.cases(), settings=chosen)
    laws = [over_cases.add(watch.law()) for watch in watches]
    over_cases.select(laws)
    for law, watch in zip(laws, watches, strict=True):
        try:
            law()
        except Exception:
            if not watch.failures:
                raise
            yield watch.found()


def examine(entry: Entry, examples: int) -> Iterator[Found]:
    """The laws that a pass breaks."""
    trials = Trials(entry.pass_)

    def check(case: fxt.Case, law: fxt.Law) -> None:
        try:
            check_trial(trials.of(case, law), [law])
        except fxt.TotalViolation:
            if law.name == "Total":
                raise

    laws = (fxt.Total(), *entry.laws)
    return broken([Watch(law.name, partial(check, law=law)) for law in laws], examples)


# torchvision's extractor


@dataclass
class _Returned:
    """What each leaf module returned, as it was when it was returned, by path; of several calls the last."""

    values: dict[str, Any]
    calls: dict[str, int]

    @classmethod
    def of(cls, module: nn.Module, args: Any, kwargs: Any) -> _Returned:
        found = cls({}, {})
        for path, child in module.named_modules():
            if not list(child.children()) and path:
                child.register_forward_hook(lambda _m, _a, output, path=path: found._note(path, output))
        torch.manual_seed(0)
        module(*args, **kwargs)
        return found

    def _note(self, path: str, output: Any) -> None:
        self.values[path] = cloned(output)
        self.calls[path] = self.calls.get(path, 0) + 1


def value_at_birth(case: fxt.Case) -> None:
    """Each leaf module's name gives what the module returned."""
    returned = _Returned.of(*case.build())
    built = case.build()
    names = get_graph_node_names(built.module)[0 if case.training else 1]
    for name in names:
        if returned.calls.get(name) != 1 or not isinstance(returned.values[name], torch.Tensor):
            continue
        extractor = create_feature_extractor(case.build().module, [name]).train(case.training)
        torch.manual_seed(0)
        actual = extractor(*cloned(built.args), **cloned(built.kwargs))[name]
        found = first_difference(actual, returned.values[name])
        if found is not None:
            raise LawViolation(f"{name!r} is not what the module returned: {found}")


def every_leaf_has_its_name(case: fxt.Case) -> None:
    """Each leaf module that is called can be asked for by its path."""
    returned = _Returned.of(*case.build())
    names = get_graph_node_names(case.build().module)[0 if case.training else 1]
    for path in returned.calls:
        if path not in names:
            raise LawViolation(f"the module {path!r} is called, and no node has its name: {names}")


def all_at_once(case: fxt.Case) -> None:
    """All names of a model can be asked for together, and each comes back."""
    built = case.build()
    names = get_graph_node_names(built.module)[0 if case.training else 1]
    extractor = create_feature_extractor(built.module, names).train(case.training)
    missing = set(names) - set(extractor(*built.args, **built.kwargs))
    if missing:
        raise LawViolation(f"{sorted(missing)} were asked for, and do not come back")


def model_untouched(case: fxt.Case) -> None:
    """Listing the names leaves the model as it was."""
    module = case.build().module
    before = {
        path: (each.training, sorted(each.__dict__), sorted(each._buffers)) for path, each in module.named_modules()
    }
    state = cloned(dict(module.state_dict()))
    get_graph_node_names(module)
    for path, each in module.named_modules():
        if before[path] != (each.training, sorted(each.__dict__), sorted(each._buffers)):
            raise LawViolation(f"the module {path or 'itself'!r} has another mode or other attributes than before")
    found = first_difference(dict(module.state_dict()), state)
    if found is not None:
        raise LawViolation(f"the state changed: {found}")


def copies_keep_the_mode(case: fxt.Case) -> None:
    """A deep copy of an extractor is in the extractor's mode."""
    built = case.build()
    names = get_graph_node_names(built.module)[1]
    extractor = create_feature_extractor(built.module, names[-1:]).eval()
    if copy.deepcopy(extractor).training:
        raise LawViolation("the extractor is in eval mode, its deep copy in train mode")


EXTRACTOR = (every_leaf_has_its_name, value_at_birth, all_at_once, model_untouched, copies_keep_the_mode)


def examine_extractor(examples: int) -> Iterator[Found]:
    """The laws of extraction that torchvision's extractor breaks."""
    return broken([Watch(check.__name__, check) for check in EXTRACTOR], examples)


def _section(title: str, note: str, found: list[Found]) -> Iterator[str]:
    yield f"\n## {title}\n"
    if note:
        yield f"Used as: {note}.\n"
    if not found:
        yield "No law broken."
    for each in found:
        yield f"**{each.law}**, first found in model {each.examples}: {each.what}\n"
        yield f"```python\n{each.source}\n```\n"


def main() -> None:
    """Writes the report."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    examples = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    results: dict[str, tuple[str, list[Found]]] = {}
    for name, entry in PASSES.items():
        results[name] = entry.note, list(examine(entry, examples))
        _write(results, examples)
        print(name, [(each.law, each.examples) for each in results[name][1]], flush=True)
    found = list(examine_extractor(examples))
    results["torchvision's create_feature_extractor"] = "with the laws of extraction, on leaf modules", found
    print([(each.law, each.examples) for each in found], flush=True)
    _write(results, examples)


def _write(results: dict[str, tuple[str, list[Found]]], examples: int) -> None:
    """Writes what is known so far, so that a run that is stopped leaves what it found."""
    REPORT.write_text("\n".join(_lines(results, examples)) + "\n", encoding="utf-8")


def _lines(results: dict[str, tuple[str, list[Found]]], examples: int) -> Iterator[str]:
    yield "# torch's passes under the laws of fxpasses.testing\n"
    yield f"torch {torch.__version__}, torchvision {torchvision.__version__}; up to {examples} random models a law."
    yield "Written by `python benchmarks/torch_passes_report.py`. A law that a pass does not claim is no bug in it.\n"
    yield "| pass | laws that it breaks (models until found) |\n|---|---|"
    for name, (_note, found) in results.items():
        yield f"| {name} | {', '.join(f'{each.law} ({each.examples})' for each in found) or 'none'} |"
    for name, (note, found) in results.items():
        yield from _section(name, note, found)


if __name__ == "__main__":
    main()
