"""The chapters on what is taken for what, and the photos that explain it."""

from collections.abc import Mapping
from typing import Any

from classify.report_blocks import (
    Block,
    Column,
    Evidence,
    Facts,
    Gallery,
    Kind,
    Matrix,
    Photo,
    ReportTable,
    Section,
    Sentences,
    Value,
    as_number,
    shown,
)
from classify.report_source import (
    Source,
    lines,
    mapping,
    number_of,
    read_table,
    records,
    whole,
)
from embed.words import counted

MOST_PAIRS = 2000  # rows of the table of confusions; confusion.csv has all
_NEIGHBOURS = (1, 2, 3)  # columns of errors.csv
_NEAR, _HUBS = 3, 12  # photos shown beside one, and hubs


def confusions(source: Source) -> Section | None:
    """The matrix, the same as a table, and the worst classes."""
    found = source.read("confusions.json")
    matrix = _matrix(found, source.part) or _matrix_of_csv(source)
    if matrix is None:
        return None
    blocks: list[Block] = [matrix, _pairs_table(matrix, source.config.label), *_worst(found)]
    if notes := lines(found.get("notes")):
        blocks.append(Sentences(notes, bullets=True))
    return Section("confusions", "What is taken for what", blocks)


def _matrix(found: Mapping[str, Any], part: str) -> Matrix | None:
    names, counts = found.get("order"), mapping(found.get("counts"))
    triplets = [counts.get(key) for key in ("truth", "predicted", "n")]
    if not isinstance(names, list) or not all(isinstance(each, list) for each in triplets):
        return None
    truth, predicted, n = ([int(value) for value in each or []] for each in triplets)
    order = {
        "taxonomy": "Classes stand in the order of the taxonomy",
        "clustering": "Classes whose training photos look alike stand side by side",
    }.get(str(found.get("ordered_by")), "")
    return _titled(list(map(str, names)), truth, predicted, n, part, order)


def _matrix_of_csv(source: Source) -> Matrix | None:
    rows = read_table(source.folder / "confusion.csv")
    if not rows:
        return None
    names = [row["label"] for row in rows]
    cells = [
        (i, j, count)
        for i, row in enumerate(rows)
        for j, name in enumerate(names)
        if (count := whole(row.get(name)))
    ]
    truth, predicted, n = ([cell[k] for cell in cells] for k in range(3))
    return _titled(names, truth, predicted, n, source.part, "Classes stand in alphabetical order")


def _titled(
    names: list[str], truth: list[int], predicted: list[int], n: list[int], part: str, order: str
) -> Matrix:
    wrong = sum(k for i, j, k in zip(truth, predicted, n, strict=True) if i != j)
    title = f"{wrong:,} of {sum(n):,} {part} photos are off the diagonal"
    note = f"{order}. Rows are the true classes, columns the answers." if order else ""
    return Matrix("confusion", title, names, truth, predicted, n, note)


def _pairs_table(matrix: Matrix, label: str) -> ReportTable:
    """Every confusion, the most frequent first."""
    photos = matrix.photos
    cells = sorted(
        (
            (n, i, j)
            for i, j, n in zip(matrix.truth, matrix.predicted, matrix.n, strict=True)
            if i != j and n
        ),
        key=lambda cell: (-cell[0], -cell[0] / photos[cell[1]], cell[1], cell[2]),
    )
    rows: list[list[Value]] = [
        [matrix.classes[i], matrix.classes[j], n, photos[i], n / photos[i]]
        for n, i, j in cells[:MOST_PAIRS]
    ]
    columns = [
        Column(f"true {label}"),
        Column("taken for"),
        Column("photos", "count"),
        Column("of", "count"),
        Column("share", "share"),
    ]
    more = len(cells) - len(rows)
    return ReportTable(
        "pairs",
        "All confusions as a table",
        columns,
        rows,
        f"{more:,} more are in confusion.csv." if more > 0 else "",
        sortable=True,
    )


def _worst(found: Mapping[str, Any]) -> list[Block]:
    rows: list[list[Value]] = [
        [
            str(one.get("class")),
            whole(one.get("n")),
            as_number(one.get("f1")),
            _taken_for(one.get("taken_for")),
        ]
        for one in records(found.get("worst"))
    ]
    if not rows:
        return []
    columns = [
        Column("class"),
        Column("photos", "count"),
        Column("F1", "number"),
        Column("taken for (photos)"),
    ]
    return [ReportTable("worst", "The worst classes", columns, rows)]


def _taken_for(value: Any) -> str:
    pairs = [pair for pair in value if isinstance(pair, list) and len(pair) == 2] if value else []
    return ", ".join(f"{name} ({n})" for name, n in pairs)


def errors(source: Source) -> Section | None:
    """The most confident errors and the top pairs, each with the photos that pulled it there."""
    found = source.read("confusions.json")
    listed = records(found.get("errors")) or [_error_of_csv(row) for row in _errors_csv(source)]
    blocks: list[Block] = []
    if listed:
        items = [_error(source, one) for one in listed]
        blocks.append(
            Gallery(
                "errors",
                f"The {len(items)} most confident errors",
                items,
                "Beside each the training photos most like it. An error beside training photos of "
                "the answer that look just like it is often a wrong label, or two photos of one "
                "animal: look before you trust the figure.",
            )
        )
    blocks += _pair_galleries(source, found)
    return Section("errors", "Errors with their evidence", blocks) if blocks else None


def _errors_csv(source: Source) -> list[dict[str, str]]:
    return read_table(source.folder / "errors.csv")


def _error_of_csv(row: Mapping[str, str]) -> dict[str, Any]:
    near = [
        {
            "id": row.get(f"neighbour_{i}"),
            "label": row.get(f"neighbour_{i}_label"),
            "similarity": number_of(row.get(f"neighbour_{i}_similarity")),
        }
        for i in _NEIGHBOURS
        if row.get(f"neighbour_{i}")
    ]
    return dict(row) | {"probability": number_of(row.get("probability")), "neighbours": near}


def _error(source: Source, one: Mapping[str, Any]) -> Evidence:
    truth, answer = str(one.get("label") or ""), str(one.get("predicted") or "")
    said = f"taken for {answer}{_sure(one)}"
    return Evidence(
        source.photo(one, caption=said), _near(source, one.get("neighbours"), truth, answer)
    )


def _near(source: Source, found: Any, truth: str, answer: str) -> list[Photo]:
    return [
        source.photo(
            one,
            match={truth: True, answer: False}.get(str(one.get("label"))),
        )
        for one in records(found)
    ]


def _sure(one: Mapping[str, Any]) -> str:
    probability = as_number(one.get("probability"))
    return "" if probability is None else f" ({probability:.0%} sure)"


def _pair_galleries(source: Source, found: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = []
    for i, pair in enumerate(records(found.get("pairs")), start=1):
        truth, answer = str(pair.get("truth")), str(pair.get("predicted"))
        share = shown(as_number(pair.get("share")), "share")
        back = whole(pair.get("back"))
        items = [
            Evidence(
                source.photo({"label": truth} | one, caption=f"taken for {answer}{_sure(one)}"),
                _near(source, _both_sides(one), truth, answer),
            )
            for one in records(pair.get("examples"))
        ]
        note = counted(whole(pair.get("n")) or 0, "photo") + (
            f", {share} of the class" if share else ""
        )
        if back is not None:
            note += f"; the other way round {back}"
        blocks.append(Gallery(f"pair-{i}", f"{truth} taken for {answer}", items, note + "."))
    return blocks


def _both_sides(one: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Training photos that pulled the answer there, and the nearest one of the true class."""
    own = records([one.get("own")])
    return records(one.get("pulled_by"))[: _NEAR - len(own)] + own


def hubs(source: Source) -> Section | None:
    """Training photos that are neighbour to everything."""
    found = source.read("confusions.json")
    facts = mapping(found.get("hubness"))
    told: list[tuple[str, str, Kind]] = [
        ("Neighbours counted per photo", "k", "count"),
        ("Skew of how often a training photo is a neighbour (0: all alike)", "skew", "number"),
        ("Training photos that are nobody's neighbour", "never", "share"),
    ]
    pairs = [
        (title, shown(value, kind))
        for title, key, kind in told
        if (value := as_number(facts.get(key))) is not None
    ]
    blocks: list[Block] = [
        Gallery(name, title, items, note)
        for name, title, note in (
            (
                "hubs",
                "Neighbour to many",
                "Training photos that are among the nearest of very many others.",
            ),
            (
                "pullers",
                "Most misleading",
                "Training photos that pulled most test photos to a wrong answer.",
            ),
        )
        if (items := [Evidence(_hub(source, one)) for one in records(found.get(name))[:_HUBS]])
    ]
    blocks += [Facts(pairs)] if pairs else []
    return Section("hubs", "Hubs", blocks) if blocks else None


def _hub(source: Source, one: Mapping[str, Any]) -> Photo:
    times, wrong = whole(one.get("times")) or 0, whole(one.get("wrong")) or 0
    return source.photo(
        one, caption=f"near {times:,} training photos, pulled {wrong:,} to a wrong answer"
    )
