"""Lineages come from any table of ranks, and what it contradicts itself in is told."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import needs_shared
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.inconsistencies import Inconsistency, inconsistencies
from classify.rank_columns import RANKS, rank_of
from classify.taxonomy import LIFE, Taxonomy
from embed.errors import UserError

CATS = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Panthera", "leo")
WOLF = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Canis", "lupus")
DUCK = ("Animalia", "Chordata", "Aves", "Anseriformes", "Anatidae", "Anas", "crecca")
ROSE = ("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Rosa", "canina")
LIVES = (CATS, WOLF, DUCK, ROSE)


def table(lines: Sequence[Sequence[str | None]], columns: Sequence[str] = RANKS) -> pd.DataFrame:
    rows = pd.DataFrame(lines, columns=list(columns))
    rows.insert(0, "id", [f"p{i}" for i in range(len(rows))])
    return rows


def changed(line: Sequence[str], **ranks: str | None) -> list[str | None]:
    return [ranks.get(rank, name) for rank, name in zip(RANKS, line, strict=True)]


def told(rows: pd.DataFrame, label: str = "family") -> list[Inconsistency]:
    return inconsistencies(rows, label)


def test_lineage_of_each_class_is_read_off_the_table() -> None:
    found = Taxonomy.of(table(LIVES * 2), "family")
    assert found.ranks == RANKS[:5]
    assert found.lineages == {line[4]: line[:5] for line in LIVES}
    assert found.notes == (
        "genus and species of the table: below the label, so not predicted (a run with that label "
        "predicts them and all ranks above)",
    )


def test_columns_are_found_in_any_case_and_class_with_a_line() -> None:
    columns = ["KINGDOM", "Phylum", "class_", " Order ", "Family", "genus", "Species"]
    assert [rank_of(column) for column in columns] == list(RANKS)
    assert rank_of("subclass") is None
    found = Taxonomy.of(table(LIVES, columns), "Family")
    assert (found.label, found.ranks) == ("Family", RANKS[:5])
    assert found.lineage("Anatidae") == DUCK[:5]


def test_an_epithet_is_no_species_without_its_genus() -> None:
    hyaena = changed(CATS, family="Hyaenidae", genus="Hyaena", species="hyaena")
    whole = changed(WOLF, species="Canis lupus")
    rows = table([CATS, whole, hyaena]).assign(name=["lion", "wolf", "striped hyena"])
    assert not told(rows)
    found = Taxonomy.of(rows.assign(genus=["", "Canis", "Hyaena"]), "name")
    assert found.ranks == (*RANKS[:4], "name")
    gigas = [changed(CATS, species="gigas"), changed(DUCK, species="gigas")]
    assert not told(table(gigas))
    (one,) = told(table(gigas), "species")
    assert one.what == "species gigas is under genus Anas (1 row) and genus Panthera (1 row)"


def test_a_label_that_is_no_rank_stands_below_what_it_tells() -> None:
    rows = table(LIVES * 3).rename(columns={"family": "label"}).drop(columns="genus")
    found = Taxonomy.of(rows, "label")
    assert found.ranks == (*RANKS[:4], "label")
    assert not told(rows, "label")
    lions = [changed(CATS, species=f"s{i}") for i in range(4)]
    finer = Taxonomy.of(table([*lions, WOLF, WOLF]).rename(columns={"family": "label"}), "label")
    assert finer.ranks == (*RANKS[:4], "label")
    assert "species of the table: below the label" in finer.notes[0]


def test_a_table_without_ranks_has_one_rank() -> None:
    rows = pd.DataFrame({"id": ["a", "b", "c"], "family": ["x", "y", None]})
    for label in ("family", "what"):
        found = Taxonomy.of(rows.rename(columns={"family": label}), label)
        assert found.ranks == (label,)
        assert found.lineages == {"x": ("x",), "y": ("y",)}
        assert "there is one rank only" in found.notes[0]
        assert found.shared == 0
    assert not told(rows)


def test_the_commonest_name_counts_and_the_others_are_told() -> None:
    rows = table([CATS, CATS, changed(CATS, phylum="Mollusca"), DUCK])
    assert Taxonomy.of(rows, "family").lineage("Felidae") == CATS[:5]
    (one,) = told(rows)  # the class is under two phyla; its order and family only follow
    assert (one.kind, one.rank, one.name, one.rows) == ("two parents", "class", "Mammalia", 1)
    assert (
        one.what == "class Mammalia is under phylum Chordata (2 rows) and phylum Mollusca (1 row)"
    )
    assert one.examples == ("p2",)
    assert "1 inconsistency" in Taxonomy.of(rows, "family").notes[-1]


def test_a_family_under_two_phyla_is_told_of_the_family() -> None:
    rows = table([CATS, CATS, changed(CATS, phylum="Mollusca")])[["id", "phylum", "family"]]
    (one,) = told(rows)
    assert (
        one.what == "family Felidae is under phylum Chordata (2 rows) and phylum Mollusca (1 row)"
    )
    empty = table([CATS, changed(CATS, order="", phylum="Mollusca", **{"class": None})])
    assert one.rank == "family"
    assert ("two parents", "family") in {(found.kind, found.rank) for found in told(empty)}


def test_spellings_are_one_name_above_the_label_and_told_everywhere() -> None:
    rows = table([CATS, WOLF, changed(DUCK, kingdom="ANIMALIA", phylum=" chordata ")])
    assert Taxonomy.of(rows, "family").lineage("Anatidae") == DUCK[:5]
    kingdom, phylum = told(rows)
    assert kingdom.what == "kingdom is spelled 'Animalia' (2 rows), 'ANIMALIA' (1 row)"
    assert (phylum.kind, phylum.rows, phylum.examples) == ("spelling", 1, ("p2",))
    twice = table([CATS, changed(CATS, family="felidae ")])
    (one,) = told(twice)
    assert one.what == "family is spelled 'Felidae' (1 row), 'felidae ' (1 row)"
    assert sorted(Taxonomy.of(twice, "family").lineages) == ["Felidae", "felidae "]


def test_an_empty_rank_between_filled_ones_is_a_gap() -> None:
    rows = table([CATS, changed(WOLF, order="incertae sedis"), changed(DUCK, kingdom=None)])
    (one,) = told(rows)
    assert (one.kind, one.rank, one.rows, one.examples) == ("gap", "order", 1, ("p1",))
    assert one.what == "family Canidae has no order, but has ranks above it"
    found = Taxonomy.of(rows, "family")
    assert found.lineage("Canidae") == ("Animalia", "Chordata", "Mammalia", "", "Canidae")
    assert found.lineage("Anatidae")[:2] == ("Animalia", "Chordata")  # as others of its phylum
    assert "1 class has no order" in " ".join(found.notes)


def test_a_name_at_two_ranks_is_told() -> None:
    (one,) = told(table([CATS, changed(WOLF, family="carnivora")]))
    assert (one.kind, one.what, one.rows) == (
        "two ranks",
        "carnivora stands as order and as family",
        2,
    )


def test_two_kingdoms_may_have_a_genus_of_one_name() -> None:
    bird = changed(DUCK, genus="Oenanthe", species="deserti")
    herb = changed(ROSE, genus="Oenanthe", species="crocata")
    rows = table([bird, bird, herb]).assign(sci_name=["bird", "bird", "herb"])
    found = Taxonomy.of(rows.assign(genus="Oenanthe"), "species")
    assert found.lineage("crocata")[0] == "Plantae"
    tree = found.tree(["deserti", "crocata"])
    assert (tree.node[0] != tree.node[1]).all()


def test_one_genus_has_one_family() -> None:
    rows = table([CATS, CATS, changed(CATS, species="tigris", family="Felide", order=None)])
    found = Taxonomy.of(rows, "species")
    assert found.lineage("tigris") == (*CATS[:6], "tigris")


def test_json_keeps_everything() -> None:
    found = Taxonomy.of(table(LIVES), "family")
    assert Taxonomy.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(
    "damage",
    [{"format": "other"}, {"classes": {"a": ["a"]}}, {"classes": 3}, {"ranks": None}],
)
def test_a_damaged_file_says_what_to_do(damage: dict[str, object]) -> None:
    value = Taxonomy.of(table(LIVES), "family").to_json()
    for wrong in (value | damage, [], {}):
        with pytest.raises(UserError, match="cli fit"):
            Taxonomy.from_json(wrong)


def test_a_class_it_never_heard_of_is_usable() -> None:
    tree = Taxonomy.of(table(LIVES), "family").tree(
        ["Felidae", "Canidae", "Yetidae", "Bigfootidae"]
    )
    yeti, foot = tree.node[2:]
    assert (yeti != foot).all()
    assert (yeti != tree.node[0]).all()
    assert tree.named(tree.node)[2].tolist() == [False] * 4 + [True]


def test_ranks_that_all_share_are_the_root() -> None:
    found = Taxonomy.of(table([CATS, WOLF, DUCK]), "family")
    assert found.shared == 2
    tree = found.tree(sorted(found.lineages)).below(2)
    assert (tree.root, tree.ranks) == ("phylum", ("class", "order", "family"))
    assert tree.node.shape == (3, 3)
    assert Taxonomy.of(table(LIVES), "family").tree(["Felidae"]).below(0).root == LIFE
    assert Taxonomy.of(table([CATS]), "family").shared == 4


names = st.sampled_from(["", "a", "b", "c"])
tables = st.lists(st.tuples(names, names, names, names, st.sampled_from("vwxyz")), min_size=1)


@settings(deadline=None, max_examples=15)
@given(lines=tables, seed=st.integers(0, 99))
def test_any_table_gives_a_tree(lines: list[tuple[str, ...]], seed: int) -> None:
    """Taxa lie within one another, and the order of rows and classes changes nothing."""
    rows = table(lines, ["kingdom", "class", "order", "family", "species"])
    found = Taxonomy.of(rows, "species")
    shuffled = rows.sample(frac=1, random_state=seed)
    assert Taxonomy.of(shuffled, "species").lineages == found.lineages
    node = found.tree(sorted(found.lineages)).node
    for coarse, fine in zip(node.T, node.T[1:], strict=False):
        assert all(len(set(coarse[fine == taxon])) == 1 for taxon in fine)
    assert (np.sort(node[:, -1]) == np.arange(len(node))).all()
    for one in inconsistencies(rows, "species"):
        assert 0 < one.rows <= len(rows)
        assert set(one.examples) <= set(rows["id"])


@needs_shared
def test_the_real_tables_are_consistent_but_for_epithets() -> None:
    folder = Path(os.environ["FAMILIA_SHARED"]) / "data" / "rare_species"
    for name, ranks in (("metadata", 3), ("catalog", 5)):
        rows = pd.read_csv(folder / f"{name}.csv", dtype=str)
        rows = rows.rename(columns={"rare_species_id": "id"})
        found = Taxonomy.of(rows, "family")
        assert (len(found.lineages), len(found.ranks), found.shared) == (202, ranks, 1)
        assert not inconsistencies(rows, "family")
    sizes = [len(set(column)) for column in found.tree(list(found.lineages)).node.T]
    assert sizes == [1, 5, 15, 85, 202]
    whole = Taxonomy.of(rows, "sci_name")
    assert whole.ranks == (*RANKS[:6], "sci_name")
    assert len(whole.lineages) == 400
    assert not inconsistencies(rows, "sci_name")
    lumped = inconsistencies(rows, "species")  # the column holds epithets alone
    assert len(lumped) == 13
    assert lumped[0].name in ("gigas", "maximus")
    assert lumped[0].rows == 60
