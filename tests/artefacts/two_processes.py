"""One of the processes that test_distributed.py starts: trains an extractor on its half of a batch, checks gradients."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import torch
import torch.distributed
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.artefacts import Net, extractor_of, features
from support.oracle import assert_bit_equal

from fxpasses import DualGraphModule


def data_parallel(extractor: DualGraphModule) -> nn.Module:
    # The eval graph's own layers take no part in training.
    return DistributedDataParallel(extractor, find_unused_parameters=True)


def sharded(extractor: DualGraphModule) -> nn.Module:
    mesh = init_device_mesh("cpu", (torch.distributed.get_world_size(),))
    for name in ("stem.0", "block.conv", "block.last", "head"):
        fully_shard(extractor.get_submodule(name), mesh=mesh)
    return fully_shard(extractor, mesh=mesh)


def loss(found: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.stack([value.square().mean() for value in found.values()]).sum()


def gradients(module: nn.Module) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for name, parameter in module.named_parameters():
        gradient = parameter.grad
        if gradient is not None:
            found[name.removeprefix("module.")] = gradient.full_tensor() if isinstance(gradient, DTensor) else gradient
    return found


def main(kind: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    torch.manual_seed(0)
    model = Net(norm=lambda width: nn.GroupNorm(2, width), dropout=0.0)
    batch = torch.randn(2 * world, 3, 6, 6)
    alone = extractor_of(copy.deepcopy(model))
    part = batch.chunk(world)[rank]
    expected_eval = features(alone.eval(), part)
    expected_train = features(alone.train(), part)
    loss(alone(batch)).backward()

    parallel = {"ddp": data_parallel, "fsdp2": sharded}[kind](extractor_of(model))
    for _ in range(2):
        assert_bit_equal(features(parallel.eval(), part), expected_eval)
        assert_bit_equal(features(parallel.train(), part), expected_train)
    loss(parallel(part)).backward()
    own = gradients(parallel)
    assert set(own) >= set(gradients(alone)), set(gradients(alone)) - set(own)
    for name, gradient in gradients(alone).items():
        # Two halves add up in another order than the whole: equal up to rounding.
        torch.testing.assert_close(own[name], gradient, msg=lambda text, name=name: f"{name}: {text}")
    torch.distributed.destroy_process_group()
    sys.stdout.write(f"process {rank} has {len(own)} gradients\n")


if __name__ == "__main__":
    main(sys.argv[1])
