from __future__ import annotations

from dataclasses import fields

from fxpasses.graph.effects.behaviour import Behaviour


def test_what_is_not_said_of_a_call_it_never_does() -> None:
    said = Behaviour()
    assert said.kind == "any"
    assert said.reads
    assert not any(getattr(said, each.name) for each in fields(said) if each.name not in ("kind", "reads"))
