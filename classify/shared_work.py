"""Work that several fits have in common is done once: a memo of pure functions by content."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from threading import Lock
from typing import Any, ParamSpec, TypeVar

import numpy as np

from classify.digests import NoDigestError, digest, digest_of_result, parts, unchanging, views

NODE = 1000  # bytes of a node beside its arrays

P = ParamSpec("P")
R = TypeVar("R")
Clock = Callable[[], float]


@dataclass
class Took:
    """What a piece of work took."""

    spent: float = 0.0
    """seconds that it really took"""
    saved: float = 0.0
    """seconds that it found done, less those that looking for them took"""

    @property
    def seconds(self) -> float:
        """What it would have taken had nothing been shared."""
        return self.spent + self.saved


@dataclass(frozen=True)
class _Node:
    value: Any
    seconds: float  # as if nothing had been shared
    bytes: int


class SharedWork:
    """The results of functions marked `shared`, by what they were called with.

    Inside `with memo.active():` such a function computes once for equal arguments. Arrays of its
    result are read-only from then on, so that nobody changes what others hold. The nodes used
    last stay, `limit_bytes` of them. Threads share a memo that is made active in each of them; of
    two that want the same node one waits for the other.

    Attributes
    ----------
    spent : seconds spent on computing nodes
    saved : seconds that nodes found there would have taken, less all digesting and looking up
    bytes : held by the nodes
    hits, misses : int
    """

    def __init__(self, limit_bytes: int, clock: Clock = time.perf_counter) -> None:
        self.limit_bytes, self.clock = limit_bytes, clock
        self.spent = self.saved = 0.0
        self.bytes = self.hits = self.misses = 0
        self._nodes: OrderedDict[bytes, _Node] = OrderedDict()
        self._pending: dict[bytes, Future[_Node]] = {}
        self._lock = Lock()

    @contextmanager
    def active(self) -> Iterator[None]:
        """This memo is the one of this thread; one that was active before comes back after."""
        token = _memo.set(self)
        try:
            yield
        finally:
            _memo.reset(token)

    def result(self, function: Callable[..., R], arguments: tuple[Any, ...]) -> R:
        """`function(*arguments)`, from the memo if it is there."""
        begin = self.clock()
        key = digest((function.__module__, function.__qualname__, arguments))
        with self._lock:
            node, pending = self._nodes.get(key), self._pending.get(key)
            if node is not None:
                self._nodes.move_to_end(key)
            elif pending is None:
                self._pending[key] = Future()
        if node is None and pending is None:
            return self._computed(function, arguments, key, begin)
        if node is None:
            assert pending is not None
            node = pending.result()
        self._count(node.seconds - (self.clock() - begin), hits=1)
        found: R = node.value
        return found

    def _computed(
        self,
        function: Callable[..., R],
        arguments: tuple[Any, ...],
        key: bytes,
        begin: float,
    ) -> R:
        promise = self._pending[key]
        inside, outside = _Inside(), _inside.get()
        token = _inside.set(inside)
        start = end = self.clock()
        try:
            value = function(*arguments)
            end = self.clock()
            node = _Node(value, end - start + inside.saved, NODE + _fix(value, key))
            promise.set_result(node)
        except BaseException as error:
            end = self.clock()
            promise.set_exception(error)
            raise
        finally:
            _inside.reset(token)
            with self._lock:
                self._pending.pop(key)
                if promise.exception() is None:
                    self._keep(key, promise.result())
            if outside is not None:
                outside.saved += inside.saved
                outside.spent += end - start
            looking = start - begin + self.clock() - end
            self._count(-looking, misses=1, spent=end - start - inside.spent)
        return value

    def _keep(self, key: bytes, node: _Node) -> None:
        if node.bytes > self.limit_bytes:
            return
        self._nodes[key] = node
        self.bytes += node.bytes
        while self.bytes > self.limit_bytes:
            self.bytes -= self._nodes.popitem(last=False)[1].bytes

    def _count(self, saved: float, hits: int = 0, misses: int = 0, spent: float = 0.0) -> None:
        outside = _inside.get()
        if outside is not None:
            outside.saved += saved
        with self._lock:
            self.saved += saved
            self.spent += spent
            self.hits += hits
            self.misses += misses


@dataclass
class _Inside:
    """What happens to nodes while another one, or what `timed` measures, is computed."""

    saved: float = 0.0
    spent: float = 0.0


_memo: ContextVar[SharedWork | None] = ContextVar("memo", default=None)
_inside: ContextVar[_Inside | None] = ContextVar("inside", default=None)


@contextmanager
def shared_work(limit_bytes: int, clock: Clock = time.perf_counter) -> Iterator[SharedWork]:
    """A new memo, active in this thread; inside another one it takes the other's place."""
    memo = SharedWork(limit_bytes, clock)
    with memo.active():
        yield memo


@contextmanager
def timed(clock: Clock = time.perf_counter) -> Iterator[Took]:
    """What the work inside took, filled in at its end; with or without a memo."""
    took, inside, outside = Took(), _Inside(), _inside.get()
    token, start = _inside.set(inside), clock()
    try:
        yield took
    finally:
        took.spent, took.saved = clock() - start, inside.saved
        _inside.reset(token)
        if outside is not None:
            outside.saved += inside.saved
            outside.spent += inside.spent


def shared(function: Callable[P, R]) -> Callable[P, R]:
    """Compute once for equal arguments where a memo is active; else the plain function.

    `function` must be pure: its result depends on its arguments alone and holds new arrays, which
    it does not keep. Arguments and results are arrays, numbers, strings, None, classes, and
    tuples, lists, dicts and dataclasses of such. A result may hold other things that nobody
    changes; with other arguments, as an array of objects, it is computed each time.
    """
    names = signature(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        memo = _memo.get()
        if memo is None:
            return function(*args, **kwargs)
        bound = names.bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.kwargs:
            raise TypeError(f"{function.__qualname__} has arguments that are only named")
        try:
            return memo.result(function, bound.args)
        except NoDigestError:
            return function(*args, **kwargs)

    return call


def _fix(value: Any, key: bytes) -> int:
    """Make the arrays of a result read-only; the bytes that they hold.

    Their digests are those of the node and their place in it: nobody need read them through.
    """
    held: dict[int, int] = {}
    todo, place = [value], 0
    while todo:
        part = todo.pop()
        if isinstance(part, np.ndarray):
            place += 1
            owner = views(unchanging(part))[-1]
            held[id(owner)] = owner.nbytes
            digest_of_result(part, key, place)
        else:
            todo += parts(part) or []
    return sum(held.values())
