"""Distances on the tree of life are a metric, and the sums over lineages are those by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ranks import LIFE, LINEAGES, random_taxonomy

from classify.severity import distance, hierarchical, severity
from classify.taxonomy import Taxonomy

TREE = LIFE.tree(list(LINEAGES))
CAT, DOG, DUCK, ROSE, APPLE = TREE.node


def naive_distance(taxonomy: Taxonomy, a: str, b: str) -> int:
    """Ranks to go up from a class until the other is below: missing names are nobody's."""
    up = taxonomy.lineage(a), taxonomy.lineage(b)
    for height in range(len(taxonomy.ranks)):
        r = len(taxonomy.ranks) - 1 - height
        names = [line[r] for line in up]
        if a == b or (names[0] and names[0] == names[1]):
            return height
    return len(taxonomy.ranks)


@pytest.mark.parametrize(
    ("a", "b", "height"), [(CAT, CAT, 0), (CAT, DOG, 1), (CAT, DUCK, 2), (CAT, ROSE, 3)]
)
def test_distance_is_the_height_of_the_common_ancestor(
    a: np.ndarray, b: np.ndarray, height: int
) -> None:
    assert distance(a[None], b[None]).tolist() == [height]


@settings(deadline=None, max_examples=60)
@given(n_classes=st.integers(1, 25), n_ranks=st.integers(1, 6), seed=st.integers(0, 9999))
def test_distance_is_an_ultrametric(n_classes: int, n_ranks: int, seed: int) -> None:
    taxonomy = random_taxonomy(n_classes, n_ranks, seed)
    classes = list(taxonomy.lineages)
    node = taxonomy.tree(classes).node
    n = len(classes)
    d = distance(np.repeat(node, n, axis=0), np.tile(node, (n, 1))).reshape(n, n)
    assert (d == d.T).all()
    assert ((d == 0) == np.eye(n, dtype=bool)).all()
    assert (d[:, None] <= np.maximum(d[:, :, None], d[None])).all()
    for i, a in enumerate(classes):
        assert d[i].tolist() == [naive_distance(taxonomy, a, b) for b in classes]


def test_precision_and_recall_by_hand() -> None:
    truth = np.stack([CAT, CAT, DUCK, ROSE])
    said = np.stack([CAT, DOG, CAT, CAT])
    found = hierarchical(TREE, truth, said)
    assert found["precision"][0] == found["recall"][0] == found["f1"][0] == (3 + 2 + 1 + 0) / 12
    depth = np.array([3, 2, 1, 0])  # a cat; some eater of meat; some animal; nothing
    short = hierarchical(TREE, truth, said, depth)
    assert short["precision"][0] == 1
    assert short["recall"][0] == 6 / 12
    assert short["f1"][0] == pytest.approx(2 / 3)


@settings(deadline=None, max_examples=60)
@given(n_classes=st.integers(1, 15), n_ranks=st.integers(1, 5), seed=st.integers(0, 9999))
def test_precision_and_recall_equal_a_loop_over_sets(
    n_classes: int, n_ranks: int, seed: int
) -> None:
    taxonomy = random_taxonomy(n_classes, n_ranks, seed)
    rng = np.random.default_rng(seed)
    classes = list(taxonomy.lineages)
    tree = taxonomy.tree(classes)
    truth, said = rng.integers(0, n_classes, (2, 30))
    depth = rng.integers(0, n_ranks + 1, 30)
    shared = stated = true = 0
    for t, s, d in zip(truth, said, depth, strict=True):
        sets = []
        for c, ranks in ((t, n_ranks), (s, d)):
            line = taxonomy.lineage(classes[c])
            sets.append({(r, line[r]) for r in range(ranks) if line[r]})
        shared += len(sets[0] & sets[1])
        true += len(sets[0])
        stated += len(sets[1])
    found = hierarchical(tree, tree.node[truth], tree.node[said], depth, n_boot=10)
    if stated:
        assert found["precision"][0] == pytest.approx(shared / stated)
    assert found["recall"][0] == pytest.approx(shared / true)
    assert found["f1"][0] == pytest.approx(2 * shared / (stated + true))


def test_an_average_mistake_is_a_mean_over_errors() -> None:
    truth = np.stack([CAT, CAT, CAT, CAT])
    said = np.stack([CAT, DOG, DUCK, ROSE])
    found = severity(TREE, truth, said)
    assert found["average_mistake"][0] == (1 + 2 + 3) / 3
    assert found["mean_distance"][0] == (0 + 1 + 2 + 3) / 4
    assert found["errors_by_common_ancestor"] == {"order": 1, "kingdom": 1, "life": 1}
    assert list(found["errors_by_common_ancestor"]) == ["order", "kingdom", "life"]
    for name in ("average_mistake", "mean_distance"):
        value, low, high = found[name]
        assert 0 <= low < value < high <= 3
