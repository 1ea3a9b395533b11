"""Bugs put into fxpasses' own passes and its manager, each with the law that must find it.

Each replaces a piece of source, which stands in it once, by another one.
"""

from __future__ import annotations

from typing import NamedTuple


class Bug(NamedTuple):
    """A bug: which text of which module becomes which, and the law that is broken then."""

    module: str
    old: str
    new: str
    law: str


NAME, COLLAPSE, DIFF = "fxpasses.passes.name_nodes", "fxpasses.passes.collapse_leaves", "fxpasses.passes.diff_modes"
CALLS, LIVE, PRUNE = "fxpasses.graph.collapse", "fxpasses.graph.liveness", "fxpasses.passes.prune_to_outputs"
PROTECT, EXECUTION = "fxpasses.passes.protect_outputs", "fxpasses.manager.execution"
PIPELINE = "test_manager_pipeline_laws.py::"

NAMES: dict[str, Bug] = {
    "a_taken_name_is_given_again": Bug(
        NAME, "while name in self.taken:", "while False:", "test_name_laws.py::test_every_node_has_a_name_and_no_two_the_same"
    ),
    "a_counter_skips_a_number": Bug(
        NAME, "self._next[base] += 1", "self._next[base] += 2", "test_name_laws.py::test_a_chain_of_the_same_operation_counts_up"
    ),
    "a_first_call_is_counted": Bug(
        NAME, "names[node] = module_path(node)\n", "names[node] = counter.next_name(module_path(node))\n",
        "test_name_laws.py::test_the_first_call_of_a_module_is_called_by_its_path",
    ),
    "an_operation_forgets_its_parent": Bug(
        NAME, 'return f"{parent}.{short_name(node)}" if parent else short_name(node)', "return short_name(node)",
        "test_name_laws.py::test_an_operations_name_is_its_parents_path_and_a_word",
    ),
    "an_operation_takes_a_modules_name": Bug(
        NAME, "counter = _Counter(module_paths)", "counter = _Counter(())",
        "test_name_laws.py::test_the_calls_of_a_module_count_up_and_no_other_value_has_a_modules_name",
    ),
    "a_counter_counts_the_whole_graph": Bug(
        NAME, 'name = f"{base}_{self._next[base]}"', 'name = f"{base}_{len(self.taken)}"',
        "test_name_laws.py::test_an_unrelated_module_changes_no_name",
    ),
    "a_number_is_cut_off": Bug(
        NAME, "names[node] = module_path(node)\n", 'names[node] = re.sub(r"_\\d+$", "", module_path(node))\n',
        "test_name_laws.py::test_every_legal_name_of_a_module_is_kept",
    ),
    "naming_again_is_a_change": Bug(
        NAME, "if name_and_style(node) != (name, self.style)]", "if name or style]".replace("style", "self.style"),
        "test_name_laws.py::test_naming_again_changes_nothing",
    ),
    "a_path_loses_its_underscores": Bug(
        NAME, "    parent = parent_path(node)\n", '    parent = parent_path(node).replace("_", "")\n',
        "test_name_laws.py::test_an_operations_name_is_its_parents_path_and_a_word",
    ),
    "a_parameter_shares_its_name": Bug(
        NAME, "counter.taken.update(kept.values(), owners.values())", "counter.taken.update(kept.values())",
        "test_name_laws.py::test_every_node_has_a_name_and_no_two_the_same",
    ),
    "names_depend_on_memory": Bug(
        NAME, "        names[node] = name\n", '        names[node] = f"{name}{id(node) % 7}"\n',
        "test_name_laws.py::test_names_are_torchvisions_but_for_what_it_gets_wrong",
    ),
}  # fmt: skip

COLLAPSED: dict[str, Bug] = {
    "the_innermost_leaf_counts": Bug(
        COLLAPSE, "        if call.parent in covered:\n            covered.add(call.key)\n        elif", "        if",
        "test_collapse_laws.py::test_collapsing_is_tracing_with_the_leaves",
    ),
    "nothing_is_still_a_change": Bug(
        COLLAPSE, "CollapseResult(graph_module, bool(collapsed),", "CollapseResult(graph_module, True,",
        "test_collapse_laws.py::test_collapsing_nothing_changes_nothing",
    ),
    "only_the_first_call_is_collapsed": Bug(
        COLLAPSE, "    for call in chosen:\n        collapser.collapse(call)\n", "    collapser.collapse(chosen[0])\n",
        "test_collapse_laws.py::test_collapsing_is_tracing_with_the_leaves",
    ),
    "a_call_is_put_behind_what_uses_it": Bug(
        CALLS, "        if made:\n            return made[0]\n", "        if made:\n            return made[-1].next.next\n",
        "test_collapse_laws.py::test_collapsing_changes_no_value_outside",
    ),
    "an_element_is_the_whole": Bug(
        CALLS, "new = self._part(node, route, users)", "new = node",
        "test_collapse_laws.py::test_collapsing_changes_no_value_outside",
    ),
    "the_module_is_a_copy": Bug(
        CALLS, 'install(cast("nn.Module", self._root), self', 'install(__import__("copy").deepcopy(self._root), self',
        "test_collapse_laws.py::test_a_collapsed_call_is_the_models_own_module",
    ),
    "the_stack_is_lost": Bug(
        CALLS, '        node.meta["nn_module_stack"] = self._stack(call)\n        if', "        if",
        "test_collapse_laws.py::test_tracing_into_what_was_collapsed_gives_the_graph_back",
    ),
    "a_parameter_stays_where_it_was": Bug(
        CALLS, "        first.prepend(parameter)\n", "", "test_collapse_laws.py::test_collapsing_is_tracing_with_the_leaves"
    ),
    "an_argument_is_lost": Bug(
        CALLS, 'call_module(target, cast("tuple[Any, ...]", args),', 'call_module(target, cast("tuple[Any, ...]", args[:1]),',
        "test_collapse_laws.py::test_collapsing_changes_no_value_outside",
    ),
    "who_used_the_input_uses_it_still": Bug(
        CALLS, "if self._position.get(user, -1) >= start and user not in self._collapsed", "if False",
        "test_collapse_laws.py::test_collapsing_is_tracing_with_the_leaves",
    ),
}  # fmt: skip

COMPARED: dict[str, Bug] = {
    "the_modes_are_exchanged": Bug(
        DIFF, "diff_graphs(graph_module.graph, self.eval_graph_module.graph)", "ModeDiff((Change('x', 'only in train'),))",
        "test_diff_laws.py::test_a_graph_does_not_differ_from_itself",
    ),
    "constants_do_not_count": Bug(
        DIFF, 'return (data["op"], data["target"], data["constants"])', 'return (data["op"], data["target"])',
        "test_diff_laws.py::test_a_changed_node_is_reported_and_nothing_else",
    ),
    "inputs_do_not_count": Bug(
        DIFF, "_inputs(first, name) != _inputs(second, name)]", "False]",
        "test_diff_laws.py::test_another_input_is_reported_and_nothing_else",
    ),
    "the_order_of_inputs_does_not_count": Bug(
        DIFF, "return sorted((argument, source) for", "return sorted((0, source) for",
        "test_diff_laws.py::test_any_edits_are_told_completely",
    ),
    "what_moved_is_not_told": Bug(
        DIFF, "return [index for index in range(len(positions)) if index not in kept]", "return []",
        "test_diff_laws.py::test_independent_nodes_in_another_order_are_a_matter_of_order_alone",
    ),
    "what_moved_is_no_difference": Bug(
        DIFF, "self.changed, self.rewired, self.reordered))", "self.changed, self.rewired))",
        "test_diff_laws.py::test_independent_nodes_in_another_order_are_a_matter_of_order_alone",
    ),
    "a_changed_node_is_told_twice": Bug(
        DIFF, "if name not in altered and ", "if name in altered or ",
        "test_diff_laws.py::test_a_changed_node_is_reported_and_nothing_else",
    ),
    "an_added_node_is_missed": Bug(
        DIFF, "for name in there if name not in present)", "for name in there if False)",
        "test_diff_laws.py::test_an_added_node_is_reported_and_nothing_else",
    ),
    "the_union_forgets_the_mode": Bug(
        DIFF, "union.add_edge(source, user, argument=argument, modes=modes)",
        'union.add_edge(source, user, argument=argument, modes=("eval",))',
        "test_diff_laws.py::test_the_union_has_every_node_once_with_its_status",
    ),
    "a_value_used_twice_is_used_once": Bug(
        "fxpasses.graph.digraph", "for argument, source in enumerate(operands(node)):",
        "for argument, source in enumerate(dict.fromkeys(operands(node))):",
        "test_diff_laws.py::test_the_networkx_graph_tells_the_whole_graph",
    ),
    "the_nodes_own_name_counts": Bug(
        "fxpasses.graph.digraph", "key = name = qualified_name(node) or node.name", "key = name = node.name",
        "test_diff_laws.py::test_the_nodes_own_names_do_not_matter",
    ),
}  # fmt: skip

PRUNED: dict[str, Bug] = {
    "writes_are_forgotten": Bug(
        LIVE, "            self._need_writers(writers, storage, self._order[node])\n", "            pass\n",
        "test_prune_laws.py::test_what_pruning_claims_of_its_outputs_is_so",
    ),
    "inputs_are_removed": Bug(
        PRUNE, 'node.op not in ("output", "placeholder")', 'node.op != "output" and node.users == {}',
        "test_prune_laws.py::test_without_writes_what_remains_are_the_ancestors_and_the_inputs",
    ),
    "everything_is_kept": Bug(
        PRUNE, "while unneeded := _unneeded(", "while unneeded := [] and _unneeded(",
        "test_prune_laws.py::test_without_writes_what_remains_are_the_ancestors_and_the_inputs",
    ),
    "modules_are_left_over": Bug(
        PRUNE, "removed_tensors=drop_unused(graph_module))", "removed_tensors=0)",
        "test_prune_laws.py::test_no_module_parameter_or_buffer_is_left_over",
    ),
    "one_output_is_kept_for_another": Bug(
        PRUNE, "output.args = (cast(\"Any\", dict(outputs)),)",
        "output.args = (cast(\"Any\", dict.fromkeys(outputs, next(iter(outputs.values())))),)",
        "test_extraction_laws.py::test_value_at_birth[symbolic]",
    ),
    "keys_come_in_another_order": Bug(
        PRUNE, "output.args = (cast(\"Any\", dict(outputs)),)", "output.args = (cast(\"Any\", dict(sorted(outputs.items()))),)",
        "test_extraction_laws.py::test_company_and_order_change_no_value[symbolic]",
    ),
    "operands_are_not_followed_far": Bug(
        LIVE, "                self.need(operand)\n", "                self._live.add(operand)\n",
        "test_prune_laws.py::test_nothing_that_a_value_is_computed_from_is_removed",
    ),
    "what_was_removed_is_still_believed": Bug(
        PRUNE, "        if not effects.joined:\n            break\n", "        break\n",
        "test_effects_laws.py::test_asking_again_needs_the_same",
    ),
    "nothing_is_counted": Bug(
        PRUNE, "    return removed\n", "    return removed + 1\n",
        "test_prune_laws.py::test_pruning_again_removes_nothing",
    ),
    "another_value_is_returned": Bug(
        PRUNE, "    if moment is None:\n        return value\n",
        "    if moment is None:\n        return next(iter(graph.nodes))\n",
        "test_prune_laws.py::test_pruning_to_the_last_value_gives_the_last_value",
    ),
    "an_output_is_copied_and_changed": Bug(
        PRUNE, "output.args = (cast(\"Any\", dict(outputs)),)",
        "output.args = (cast(\"Any\", {key: insert_after(node, \"call_method\", \"double\", (node,)) "
        "if isinstance(node, fx.Node) else node for key, node in outputs.items()}),)",
        "test_prune_laws.py::test_what_pruning_claims_of_its_outputs_is_so",
    ),
}  # fmt: skip

BIRTH = "test_protect_laws.py::test_each_output_is_what_it_was_when_it_was_made"
PROTECTED: dict[str, Bug] = {
    "nothing_is_copied": Bug(PROTECT, "            endangered.append(node)\n", "            pass\n", BIRTH),
    "everything_is_copied": Bug(
        PROTECT, "and not later.isdisjoint(effects.storages.get(node, NOWHERE)):", ":",
        "test_protect_laws.py::test_where_nothing_is_written_nothing_is_copied",
    ),
    "the_copy_is_not_returned": Bug(PROTECT, "copies.get(node, node)", "node", BIRTH),
    "only_one_is_copied": Bug(PROTECT, "return tuple(reversed(endangered))", "return tuple(endangered[:1])", BIRTH),
    "writes_before_are_taken_for_writes_after": Bug(
        PROTECT, "    for node in reversed(graph.nodes):\n", "    for node in graph.nodes:\n", BIRTH
    ),
    "a_view_is_no_danger": Bug(
        PROTECT, "later.update(effects.writes.get(node, NOWHERE))",
        "later.update(effects.writes.get(node, NOWHERE) if node.op == 'call_module' else ())", BIRTH,
    ),
    "the_copy_is_made_at_the_end": Bug(
        PROTECT, 'insert_copy(node, effects.kinds.get(node, "any"))',
        'insert_copy(node, effects.kinds.get(node, "any"), after=graph.output_node().prev)', BIRTH,
    ),
    "a_change_is_denied": Bug(
        PROTECT, "ProtectResult(graph_module, copies > 0,", "ProtectResult(graph_module, False,",
        "test_protect_laws.py::TestProtectOutputs::test_honest_flag",
    ),
    "a_copy_is_copied_again": Bug(
        PROTECT, "    returned = set(graph.output_node().all_input_nodes)\n", "    returned = set(graph.nodes)\n",
        "test_protect_laws.py::test_protecting_again_copies_nothing",
    ),
    "an_input_is_no_value": Bug(
        PROTECT, "        if node in returned and", "        if node.op == 'call_module' and node in returned and", BIRTH
    ),
}  # fmt: skip

MANAGED: dict[str, Bug] = {
    "a_failure_is_not_undone": Bug(
        EXECUTION, "            snapshot.restore()\n", "            pass\n", "test_manager_laws.py::test_what_fails_leaves_no_trace"
    ),
    "a_result_is_not_passed_on": Bug(
        "fxpasses.manager.sequence", "    for placed in enumerated(passes, position):\n        result,",
        "    for placed in list(enumerated(passes, position))[:2]:\n        result,",
        PIPELINE + "test_a_pipeline_may_be_split_anywhere",
    ),
    "places_are_counted_from_one": Bug(
        "fxpasses.manager.needs", "yield Placed(pass_, (*prefix, index))", "yield Placed(pass_, (*prefix, index + 1))",
        PIPELINE + "test_a_failure_names_its_pass_and_leaves_the_graph",
    ),
    "needs_are_not_checked": Bug(
        EXECUTION, "known = check_needs(pipeline.placed(()), graph_module)", "known = set()",
        PIPELINE + "test_every_order_that_meets_the_needs_means_the_same_and_no_other_runs",
    ),
    "a_claim_is_believed": Bug(
        EXECUTION, "        check_claims(step, graph_module)\n", "", PIPELINE + "test_a_pass_that_denies_its_change_is_told"
    ),
    "a_repetition_runs_once": Bug(
        "fxpasses.manager.repeat", "            if not result.modified:\n", "            if rounds:\n",
        PIPELINE + "test_a_repetition_ends_at_the_fixpoint_or_says_that_it_does_not",
    ),
    "a_repetition_has_one_round_more": Bug(
        "fxpasses.manager.repeat", "range(1, self.limit + 1)", "range(1, self.limit + 2)",
        PIPELINE + "test_a_repetition_ends_at_the_fixpoint_or_says_that_it_does_not",
    ),
    "nothing_is_compiled": Bug(
        EXECUTION, "            module.recompile()\n", "            pass\n", PIPELINE + "test_a_pipeline_may_be_split_anywhere"
    ),
    "an_observer_sees_nothing": Bug(
        EXECUTION, "        self._tell(lambda instrument: instrument.after_pass(step))\n", "",
        PIPELINE + "test_an_observer_sees_each_pass_once_and_what_it_changed",
    ),
    "an_empty_pipeline_is_a_change": Bug(
        "fxpasses.manager.sequence", "PipelineResult(graph_module, report.changed,", "PipelineResult(graph_module, True,",
        PIPELINE + "test_an_empty_pipeline_changes_nothing",
    ),
    "an_inner_observer_hides_the_outer": Bug(
        EXECUTION, "        self.instruments = (*outer, *instruments)\n", "        self.instruments = instruments[:1]\n",
        PIPELINE + "test_an_observer_sees_each_pass_once_and_what_it_changed",
    ),
    "a_fault_is_overlooked": Bug(
        "fxpasses.manager.instruments.verify_structure", "            raise VerificationError(describe(found))\n\n", "            return\n\n",
        PIPELINE + "test_a_corrupting_pass_is_found_at_its_own_place",
    ),
    "meta_is_not_put_back": Bug(
        "fxpasses.graph.snapshot", "        self.containers.restore()\n", "", "test_manager_laws.py::test_what_fails_leaves_no_trace"
    ),
    "the_cause_is_lost": Bug(
        EXECUTION, "before=before, after=after) from error", "before=before, after=after) from None",
        PIPELINE + "test_a_failure_names_its_pass_and_leaves_the_graph",
    ),
}  # fmt: skip

BUGS: dict[str, dict[str, Bug]] = {
    "name": NAMES,
    "collapse": COLLAPSED,
    "diff": COMPARED,
    "prune": PRUNED,
    "protect": PROTECTED,
    "manager": MANAGED,
}
