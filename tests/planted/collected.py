"""A process that has imported and collected everything, and forks once for each change to run some tests on it."""

from __future__ import annotations

import marshal
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType
from typing import Any

from planted.forked import ROOT, laws_alone, restrict
from planted.reached import Lines, Tracing
from planted.swapped import Functions

TESTS = ("tests/unit", "tests/golden", "tests/laws", "tests/compat", "fxpasses")
_MEMORY = 4 << 30  # how much a change may let the tests take, in bytes: far more than any of them needs


class Collected:
    """The process, as seen from the one that started it.

    Attributes:
        early: The lines of fxpasses that ran while modules were imported and tests were collected, if that was asked for.
        tests: The node ids of what it collected.
    """

    def __init__(self, examples: int, *, trace: bool = False) -> None:
        self._connection, theirs = Pipe()
        self._log = tempfile.NamedTemporaryFile("r+")  # noqa: SIM115 - as long as the process
        self._process = os.fork()
        if self._process == 0:
            self._connection.close()
            _serve(theirs, examples, trace, self._log.name)
        theirs.close()
        self.early: Lines
        self.tests: list[str]
        self.early, self.tests = self._receive()

    def run(
        self, tests: Sequence[str], seconds: Sequence[float], code: CodeType | None, budget: float
    ) -> dict[str, Any]:
        """Runs tests until one fails, or the budget is spent.

        Args:
            tests: Their node ids, in the order in which they run.
            seconds: How much processor time each takes if nothing is changed; one that takes far longer is ended.
            code: The changed module; None to run them unchanged, and to note which lines they run.
            budget: After how much processor time no further test begins.

        Returns:
            `found_by`, the test that failed, if any; `tried`, how many ran; `lines`, what they ran; `alone`, the
            processor time without that of the fork; `impossible`, whether the change cannot be made here; `seconds`,
            all of the processor time.
        """
        self._connection.send((tests, seconds, code and marshal.dumps(code), budget))
        return self._receive()

    def close(self) -> None:
        """Ends the process."""
        self._connection.close()
        os.waitpid(self._process, 0)

    def _receive(self) -> Any:
        try:
            return self._connection.recv()
        except EOFError:
            raise RuntimeError(
                f"the tests could not be collected: {Path(self._log.name).read_text()[-3000:]}"
            ) from None


def _serve(connection: Connection, examples: int, trace: bool, log: str) -> None:
    try:
        import pytest

        os.chdir(ROOT)
        descriptor = os.open(log, os.O_WRONLY | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        tracing = Tracing() if trace else None
        sys.settrace(tracing)
        options = ["-q", "--no-header", "--tb=line", "--assert=plain", "-m", "not sweep", "-p", "no:cacheprovider"]
        options += ["-o", "addopts=--import-mode=importlib --doctest-modules", f"--basetemp={tempfile.mkdtemp()}"]
        pytest.main([*options, *TESTS], plugins=[_Serving(connection, examples, tracing)])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(0)


class _Serving:
    """A plugin of pytest that runs tests as it is told to, instead of all one after the other."""

    def __init__(self, connection: Connection, examples: int, tracing: Tracing | None) -> None:
        self._connection, self._examples, self._tracing = connection, examples, tracing
        self._failed = ""

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Lets each law run by itself, on few examples, and no more than it usually sees."""
        for law in laws_alone(items):
            usual = law._hypothesis_internal_use_settings.max_examples
            restrict(law, min(self._examples, usual), derandomize=True)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Notes which test fails."""
        if report.failed:
            self._failed = report.nodeid

    def pytest_runtestloop(self, session: Any) -> bool:
        """Answers one request after the other."""
        sys.settrace(None)
        if session.testsfailed:
            raise RuntimeError("some tests could not be collected")
        items = {item.nodeid: item for item in session.items}
        functions = Functions(ROOT / "fxpasses")
        self._connection.send((self._tracing.lines if self._tracing else {}, list(items)))
        while (request := self._request()) is not None:
            tests, seconds, code, budget = request
            chosen = [(items[test], limit) for test, limit in zip(tests, seconds, strict=True)]
            self._connection.send(_twice_if_stalled(lambda: self._run(chosen, functions, code, budget)))  # noqa: B023 - runs at once
        return True

    def _request(self) -> Any:
        try:
            return self._connection.recv()
        except EOFError:
            return None

    def _run(self, chosen: list[tuple[Any, float]], functions: Functions, code: bytes | None, budget: float) -> Any:
        if code is not None and not functions.swap(marshal.loads(code)):
            return {"impossible": True}
        begin, tracing, tried = time.process_time(), Tracing(), 0
        following = [item for item, _ in chosen[1:]]
        for (item, seconds), after in zip(chosen, [*following, None], strict=True):
            _limit(seconds)
            sys.settrace(tracing if code is None else None)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            sys.settrace(None)
            tried += 1
            if self._failed or time.process_time() - begin > budget:
                break
        return {"found_by": self._failed, "tried": tried, "lines": tracing.lines, "alone": time.process_time() - begin}


def _limit(seconds: float) -> None:
    """Ends this process if a test takes far longer than it should: by processor time, or waiting for something."""
    allowed = 10 + 10 * seconds
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + allowed) + 1, resource.RLIM_INFINITY))
    signal.alarm(int(12 * allowed))


def _twice_if_stalled(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Does something in a forked process, and again if it seemed to wait for ever: the machine may have been busy."""
    result = in_fork(work)
    return in_fork(work) if result.get("found_by", "").endswith("SIGALRM") else result


def in_fork(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Does something in a forked process; what ends that process counts as found.

    Returns:
        What `work` returned, and `seconds`, the processor time.
    """
    read, write = Pipe(duplex=False)
    process = os.fork()
    if process == 0:
        _work(work, write)
    write.close()
    while not read.poll(0.5) and os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        pass
    try:
        # What it started may live on and hold the other end: only what is there already is read.
        result = read.recv() if read.poll() else {}
    except EOFError:
        result = {}
    _, status, usage = os.wait4(process, 0)
    if not result:  # by SIGXCPU if it does not end
        result = {"found_by": f"the process is ended by {signal.Signals(os.WTERMSIG(status)).name}", "tried": 1}
    read.close()
    return {**result, "seconds": usage.ru_utime + usage.ru_stime}


def _work(work: Callable[[], dict[str, Any]], write: Connection) -> None:
    try:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + _MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        write.send(work())
    except BaseException as error:
        write.send({"found_by": f"it does not run: {type(error).__name__}", "tried": 1})
    finally:
        os._exit(0)
