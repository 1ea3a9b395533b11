"""Times things side by side: in one process, in turns, by the time that the process itself ran."""

from __future__ import annotations

import gc
import math
import signal
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import NamedTuple

import torch

torch.set_num_threads(1)  # whoever times anything here wants the work of one thread, the whole of it

Timed = Callable[[], object]


class Times(NamedTuple):
    """The seconds of each round, by what ran; round `k` of one is next to round `k` of the others."""

    seconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        """Returns the median over the rounds."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, other: str) -> float:
        """Returns how many times as long `name` took as `other`: the median of the ratios of each round."""
        pairs = zip(self.seconds[name], self.seconds[other], strict=True)
        return statistics.median(one / two for one, two in pairs)


def process_seconds(function: Timed, calls: int = 1, collect: bool = True) -> float:
    """Returns the process time of one call; what other processes do on the machine hardly counts.

    The garbage of earlier work is collected before, so that nobody pays for somebody else's.
    """
    if collect:
        gc.collect()
    began = time.process_time()
    for _ in range(calls):
        function()
    return (time.process_time() - began) / calls


class _OutOfTimeError(BaseException):
    """Ends what has run for long enough; no `except Exception` on the way holds it up."""


def process_seconds_up_to(function: Timed, limit: float) -> float:
    """Returns the process time of one call, or `limit` if it took that long and was stopped."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise _OutOfTimeError

    gc.collect()
    before = signal.signal(signal.SIGPROF, stop)
    began = time.process_time()
    try:
        signal.setitimer(signal.ITIMER_PROF, limit)
        function()
        return time.process_time() - began
    except _OutOfTimeError:
        return limit
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def alternating(
    functions: Mapping[str, Timed], rounds: int = 5, calls: int = 1, warm_up: bool = True, collect: bool = True
) -> Times:
    """Runs each function once a round, in an order that turns around from round to round.

    Args:
        functions: What to time.
        rounds: How often; at least 5 for a number that anybody may rely on.
        calls: How many calls make up one measurement; for what is too quick to be timed once.
        warm_up: Whether each runs once before, without being timed.
        collect: Whether garbage is collected before each measurement; takes much longer than a quick function does.
    """
    if warm_up:
        for function in functions.values():
            function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for index in range(rounds):
        for name in list(functions)[:: 1 if index % 2 == 0 else -1]:
            seconds[name].append(process_seconds(functions[name], calls, collect))
    return Times(seconds)


def best(function: Timed, rounds: int) -> float:
    """Returns the shortest process time of several calls: the one that was disturbed least."""
    return min(process_seconds(function) for _ in range(rounds))


def geometric_mean(values: Sequence[float]) -> float:
    """Returns the geometric mean, which is the mean that ratios have.

    >>> round(geometric_mean([2, 8]), 6)
    4.0
    """
    return math.exp(statistics.fmean(map(math.log, values)))


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Returns the slope of a line through the logarithms: 1 is linear, 2 quadratic.

    >>> round(exponent([10, 100, 1000], [5, 50, 500]), 6)
    1.0
    """
    return statistics.linear_regression([math.log(each) for each in sizes], [math.log(each) for each in costs]).slope
