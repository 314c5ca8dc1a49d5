"""An index chosen by measuring: memory as FAISS has it, wishes kept, or said not to be."""

from dataclasses import replace
from types import SimpleNamespace

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed.errors import UserError
from retrieval import choosing, tuning
from retrieval.choosing import choose, chooser
from retrieval.index_memory import memory_of
from retrieval.limits import memory_text, parse_latency, parse_memory, seconds_text
from retrieval.measuring import exact_neighbours, recall_at_k
from retrieval.plan import Plan
from retrieval.trials import Sample, Trial, ivf_lists, try_plan
from retrieval.tuning import held_out, tune, tune_index, with_failings

DIM = 32


@pytest.fixture(scope="module", name="X")
def clustered_rows():
    """(4000, 32) unit rows around 100 centres."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((100, DIM))[rng.integers(0, 100, 4000)]
    rows = rows + 1.2 * rng.standard_normal((4000, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def slow(monkeypatch):
    """A machine on which brute force takes a second."""
    monkeypatch.setattr(choosing, "brute_seconds", lambda sample, n: 1.0)


class Lists:
    """An IVF index over X with `plan`, candidates ranked by exact cosines."""

    def __init__(self, X, plan):
        self.X, self.plan, self.asked = X, plan, []
        self._ivf = faiss.index_factory(
            X.shape[1], f"IVF{plan.nlist or 1},PQ8x4", faiss.METRIC_INNER_PRODUCT
        )
        self._ivf.cp.min_points_per_centroid = 1
        self._ivf.train(X)
        self._ivf.add(X)

    def __len__(self):
        return len(self.X)

    @property
    def dim(self):
        return self.X.shape[1]

    def vectors(self, rows):
        return self.X[rows]

    def search(self, Q, k):
        self.asked.append((self.plan.nprobe, self.plan.refine))
        how = faiss.SearchParametersIVF(nprobe=self.plan.nprobe)
        near = self._ivf.search(Q, k * self.plan.refine, params=how)[1]
        cosines = np.where(near < 0, -2, np.einsum("qd,qkd->qk", Q, self.X[near]))
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        return (
            np.take_along_axis(near, order, 1),
            np.take_along_axis(cosines, order, 1).astype(np.float32),
        )


LAYOUTS = {
    "HNSW16,SQ8": Plan("hnsw", "sq8", M=16),
    "HNSW32,SQfp16": Plan("hnsw", "fp16"),
    "HNSW32,Flat": Plan("hnsw", "fp32"),
    "IVF50,SQ8": Plan("ivf", "sq8", 50, nprobe=1),
    "IVF50,SQfp16": Plan("ivf", "fp16", 50, nprobe=1),
    "IVF50,PQ8np": Plan("ivf", "pq8", 50, nprobe=1),
    "IVF50,PQ8x4np": Plan("ivf", "pq8x4", 50, nprobe=1),
    "IVF50,RaBitQ": Plan("ivf", "rabitq", 50, nprobe=1),
    "Flat": Plan("flat"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_memory_is_what_faiss_takes(X, name):
    index = faiss.index_factory(DIM, name, faiss.METRIC_INNER_PRODUCT)
    index.train(X)
    index.add(X)
    actual = len(faiss.serialize_index(index))
    assert memory_of(LAYOUTS[name], len(X), DIM) == pytest.approx(actual, rel=0.02)


def test_brute_force_stays_while_it_is_quick(X, monkeypatch):
    assert choose(X, len(X), DIM).kind == "flat"
    monkeypatch.setattr(choosing, "brute_seconds", lambda sample, n: 0.02)
    assert choose(X, len(X), DIM).kind == "flat"
    assert choose(X, len(X), DIM, latency=0.01).kind != "flat"


def test_brute_seconds_grow_with_the_rows(X):
    few, many = (choosing.brute_seconds(X, n) for n in (len(X), 1000 * len(X)))
    assert many > 100 * few


@pytest.mark.parametrize(
    "kind", ["auto", "hnsw", "ivf", "ivfpq", "ivfsq8", "ivfpq8", "ivfpq16x4", "ivfrabitq"]
)
def test_a_chosen_plan_keeps_the_recall_on_the_sample_and_says_where_it_is_from(X, slow, kind):
    plan = choose(X, 1_000_000, DIM, recall=0.9, kind=kind)
    assert plan.recall >= 0.9
    assert plan.k == 10
    assert kind == "auto" or (plan.kind + plan.code).startswith(kind)
    assert plan.memory_bytes == memory_of(plan, 1_000_000, DIM)
    assert "extrapolated" in plan.notes[0]
    assert "4,000 rows" in plan.notes[0]
    assert len(plan.notes) == 1


def test_memory_decides_the_code(X, slow):
    budget = 30 * 10**6  # 30 bytes a row
    plan = choose(X, 1_000_000, DIM, recall=0.9, memory=budget)
    assert plan.memory_bytes <= budget
    assert plan.pq_bytes or plan.code == "rabitq"
    assert len(plan.notes) == 1


@pytest.mark.parametrize(("graph_ms", "chosen"), [(0.3, "hnsw"), (0.6, "pq16x4"), (2.0, "pq16x4")])
def test_memory_decides_between_layouts_about_as_quick(X, slow, monkeypatch, graph_ms, chosen):
    took = {"sq8": 5.0, "rabitq": 1.9, "pq8": 1.8, "pq16x4": 1.0}

    def tried(plan, sample, n, recall, centroids):
        ms = graph_ms if plan.kind == "hnsw" else took[plan.code]
        return Trial(plan, 0.96, ms / 1000, 60.0)

    monkeypatch.setattr(choosing, "try_plan", tried)
    plan = choose(X, 1_000_000, DIM)
    assert chosen in (plan.kind, plan.code)


def test_wishes_that_cannot_be_kept_are_named(X, slow):
    plan = choose(X, 1_000_000, DIM, memory=1000, latency=1e-9)
    assert any("1 KB of memory cannot be kept" in note for note in plan.notes)
    assert any("a query cannot be kept" in note for note in plan.notes)
    poor = with_failings(Plan("hnsw", "sq8", recall=0.5, k=10), 0.95, None, None)
    assert "The recall of 0.95 at 10 cannot be kept: 0.500" in poor.notes[0]


def test_few_rows_still_give_every_kind_that_was_asked_for(slow):
    few = np.eye(DIM, dtype=np.float32)
    assert choose(few, DIM, DIM).kind == "flat"
    assert choose(few, DIM, DIM, kind="hnsw").kind == "hnsw"
    ivf = choose(few, DIM, DIM, kind="ivf")
    assert ivf.nprobe == ivf.nlist


def test_a_chooser_draws_its_sample_from_the_rows(X, slow, monkeypatch):
    monkeypatch.setattr(choosing, "SAMPLE", 2000)
    plan = chooser("ivf", recall=0.8, dtype="float16")(X.astype(np.float16))
    assert plan.kind == "ivf"
    assert plan.dtype == "float16"
    assert "2,000 rows" in plan.notes[0]


@pytest.mark.parametrize("plan", [Plan("ivf", "sq8", 60, nprobe=1), Plan("hnsw", "sq8")])
def test_effort_for_more_rows_is_what_they_turn_out_to_need(X, plan):
    """Predicted from an eighth of the rows, and measured on all of them."""
    few, every = Sample.of(X[::8], 10, 0), Sample.of(X, 10, 0)
    predicted, measured = (
        try_plan(plan, sample, len(every.base), 0.9, ivf_lists(sample.base, nlist, 0))
        for sample, nlist in ((few, 21), (every, 60))
    )
    effort = [one.plan.nprobe if plan.kind == "ivf" else one.plan.ef_search for one in
              (predicted, measured)]  # fmt: skip
    assert effort[0] == pytest.approx(effort[1], rel=0.6)
    assert min(predicted.recall, measured.recall) >= 0.9


def test_longer_lists_take_longer(X):
    sample = Sample.of(X, 10, 0)
    lists = ivf_lists(sample.base, 60, 0)
    few, many = (
        try_plan(Plan("ivf", "pq16x4", nlist, nprobe=1), sample, n, 0.9, lists)
        for nlist, n in ((60, 4000), (6000, 40_000_000))
    )
    assert len(sample.base) + len(sample.queries) == len(X)
    assert many.seconds > few.seconds
    assert many.build_seconds > 100 * few.build_seconds


def test_recall_on_a_sample_is_that_of_brute_force(X):
    sample = Sample.of(X, 10, 0)
    exact, cosines = exact_neighbours([sample.base], sample.queries, 10)
    mixed = np.roll(exact, 3, axis=0)  # the neighbours of another query
    for rows in (exact, mixed):
        own = np.take_along_axis(sample.scores, rows, 1)
        assert sample.recalls(rows)[-1] == pytest.approx(recall_at_k(rows, own, cosines), abs=0.01)
    assert sample.recalls(exact)[4] == pytest.approx(0.5, abs=0.01)


def test_tuning_finds_an_effort_that_keeps_the_recall_and_hardly_more(X):
    index = Lists(X[400:], Plan("ivf", "pq4", 60, nprobe=60, refine=64))
    truth = exact_neighbours([X[400:]], X[:400], 10)[1]
    plan = tune(index, X[:400], truth, recall=0.9)
    assert plan.notes == ()
    assert plan.recall >= 0.88  # of the queries that were not tuned on
    assert plan.nprobe < 60
    assert plan.refine < 64
    index.plan = replace(plan, nprobe=max(1, plan.nprobe // 2))
    assert recall_at_k(*index.search(X[:400], 10), truth) < 0.9
    index.plan = replace(plan, refine=max(1, plan.refine // 2))
    assert recall_at_k(*index.search(X[:400], 10), truth) < 0.9


def test_tuning_raises_what_was_too_little(X):
    index = Lists(X[400:], Plan("ivf", "pq4", 60, nprobe=1, refine=1))
    truth = exact_neighbours([X[400:]], X[:400], 10)[1]
    plan = tune(index, X[:400], truth, recall=0.9)
    assert plan.recall >= 0.88
    assert plan.nprobe > 1
    assert plan.refine > 1
    assert plan is index.plan


def test_tuning_says_what_the_index_cannot_keep(X, monkeypatch):
    monkeypatch.setattr(tuning, "REFINES", (1,))
    index = Lists(X[400:], Plan("ivf", "pq4", 60, nprobe=1, refine=1))
    truth = exact_neighbours([X[400:]], X[:400], 10)[1]
    plan = tune(index, X[:400], truth, recall=0.999, latency=1e-9)
    assert plan.recall < 0.999
    assert "cannot be kept" in plan.notes[0]
    assert "a query cannot be kept" in plan.notes[1]


def exact_search(index, alive):
    def search(Q, k):
        index.asked.append(Q)
        return exact_neighbours([index.X], Q, k, alive)

    return search


def test_rows_of_the_index_are_no_neighbours_of_their_own(X):
    index = Lists(X, Plan("ivf", "pq4", 60, nprobe=1, refine=1))
    alive = np.arange(4000) % 2 == 1
    index.about = SimpleNamespace(indexed=4000)
    index.search = exact_search(index, alive)  # the exact answer must count as all of it
    assert tune_index(index, recall=0.9, removed=np.flatnonzero(~alive)).recall == 1.0


def test_an_index_is_asked_with_rows_that_it_was_not_built_of(X):
    index = Lists(X, Plan("hnsw", "sq8"))
    gone, index.about = np.array([3999]), SimpleNamespace(indexed=3800)
    index.search = exact_search(index, np.arange(4000) < 3999)
    assert tune_index(index, recall=0.9, removed=gone).notes == ()
    asked = {x.tobytes() for Q in index.asked for x in Q}
    assert asked == {x.tobytes() for x in X[3800:3999]}
    index.about.indexed = 3990  # ten are too few
    assert "photos of the graph itself" in tune_index(index, recall=0.9).notes[0]


def test_rows_held_out_are_some_of_all_and_the_same_again():
    assert held_out(100_000).sum() == 600
    assert held_out(100).sum() == 10
    assert held_out(5).sum() == 0
    assert (held_out(5000) == held_out(5000)).all()


@given(st.floats(0.1, 999), st.sampled_from(["kB", "MB", "GB", "GiB"]))
@settings(deadline=None)
def test_memory_is_read_as_it_is_written(value, unit):
    factor = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "GiB": 2**30}[unit]
    assert parse_memory(f"{value:.3f} {unit}") == pytest.approx(value * factor, rel=0.01, abs=1)
    assert parse_memory(memory_text(1e3 * value)) == pytest.approx(1e3 * value, rel=0.01)


def test_limits_in_words():
    assert parse_memory("2GB") == 2 * 10**9
    assert parse_memory("1024") == 1024
    assert parse_latency("10ms") == 0.01
    assert parse_latency("0.5 s") == 0.5
    assert seconds_text(0.0021) == "2.1 ms"
    assert seconds_text(1.5) == "1.5 s"


@pytest.mark.parametrize("text", ["", "much", "2 GX", "-1GB", "0MB", "1e9", "nan", "2GB 3"])
def test_other_memories_are_a_mistake(text):
    with pytest.raises(UserError, match="--memory 2GB"):
        parse_memory(text)


@pytest.mark.parametrize("text", ["", "10", "soon", "0ms", "-1s", "10 msec", "inf s"])
def test_other_latencies_are_a_mistake(text):
    with pytest.raises(UserError, match="--latency 10ms"):
        parse_latency(text)


@pytest.mark.parametrize("kind", ["annoy", "ivfpq0", "hnswpq", "ivfx", ""])
def test_other_kinds_are_a_mistake(X, kind):
    with pytest.raises(UserError, match="Choose from: auto, flat"):
        choose(X, len(X), DIM, kind=kind)
