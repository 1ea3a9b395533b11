"""What an extractor takes from a checkpoint of the whole model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn


def matching_state_dict(extractor: nn.Module, state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the part of a model's `state_dict` that `extractor` has, so that it loads strictly.

    What the extractor has and `state_dict` lacks stays missing, for `load_state_dict` to complain about.

    Args:
        extractor: The module to load into.
        state_dict: The state dict of the model from which the extractor was made, or of one built alike.

    Example:
        >>> from fxpasses import create_feature_extractor
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
        >>> extractor = create_feature_extractor(model, ["0"])
        >>> extractor.load_state_dict(matching_state_dict(extractor, model.state_dict()))
        <All keys matched successfully>
    """
    subset: OrderedDict[str, torch.Tensor] = OrderedDict(
        (name, state_dict[name]) for name in extractor.state_dict() if name in state_dict
    )
    # Modules read there which version of them wrote their part.
    metadata = getattr(state_dict, "_metadata", None)
    if metadata is not None:
        cast("Any", subset)._metadata = metadata
    return subset
