"""The page of an inspection: what to look at, with the photos that tell."""

from collections.abc import Iterator, Sequence

from classify.inspection import Inspection, score_words
from embed.words import counted
from retrieval.page import text
from retrieval.sections import Item, Row, Section, Shown, facts, table, write_sections

# What bounds the page: 60 · 7 + 40 · 2 + 3 · 24 pictures, even of noise below 12 MB.
DOUBTS, PAIRS, PHOTOS = 60, 40, 24


def write_inspect_page(found: Inspection) -> None:
    """Write inspect.html into the inspection's folder: one file that loads nothing."""
    encoders = " and ".join(spec.name for spec in found.photos.specs)
    by = f", by {found.photos.label}" if found.photos.label else ""
    write_sections(
        found.folder / "inspect.html",
        f"{counted(len(found.photos), 'photo')} inspected",
        f"Compared by the vectors of {encoders}{by}.",
        _sections(found),
    )


def _sections(found: Inspection) -> Iterator[Section]:
    yield Section("overview", "Overview", body=facts(found.parts()))
    yield _doubts(found)
    yield _copies(found)
    yield _empty(found)
    yield _files(found)
    taxa = [(one.kind, one.what, one.rows, ", ".join(one.examples))
            for one in found.inconsistencies]  # fmt: skip
    yield Section(
        "taxa",
        "Contradictions in the names of taxa",
        ["Mend these in the table and run `cli embed` again: no photo is encoded again."],
        body=table(("kind", "what", "rows", "ids"), taxa),
    )
    left = [(row["file_path"], row["reason"]) for row in found.left_out]
    yield Section("left-out", "Left out by cli embed", body=table(("file or row", "why"), left))
    yield _classes(found)


def _doubts(found: Inspection) -> Section:
    doubts = found.doubts
    if doubts is None or not len(doubts.doubted):
        return Section("doubts", "Labels to doubt")
    doubted, photos = doubts.doubted, doubts.photos

    def shown(row: int, *lines: str) -> Shown:
        photo = photos.rows.iloc[row]
        return Shown(photo["path"], photo["file_path"], lines)

    items = []
    for place, doubt in enumerate(doubted.head(DOUBTS).itertuples(), start=1):
        label, suggested = str(doubt.label), str(doubt.suggested)
        beside = [
            Row(
                f"Nearest of {name} ({role})",
                [shown(w.row, f"cosine {w.cosine:.3f}") for w in doubts.witnesses(doubt.row, name)],
            )
            for name, role in ((label, "given"), (suggested, "suggested"))
        ]
        score = f"score {score_words(doubt.score)}, id {doubt.id}"
        items.append(Item(f"{place}. {label}, or {suggested}?", [shown(doubt.row, score)], beside))
    intro = [
        f"{len(doubted):,} of {len(doubts.table):,} labels judged: another class is likelier to "
        "models that never saw the photo nor its copies. The score is how far the suggested class "
        "is ahead of the given one; .5 is a tie.",
        f"Roughly {doubts.wrong:,} labels may be wrong (confident learning). That is no "
        "measurement: hard photos count too, and errors that follow a rule do not.",
        _more(len(doubted), DOUBTS, "doubts.csv")
        + "Write exclude, relabel or keep into its column decision; a relabelled photo gets its "
        "new_label, or where that is empty the suggested one.",
    ]
    if found.tested:
        intro.append(f"{counted(found.tested, 'test photo')} not judged: `evaluate` alone reads "
                     "their labels.")  # fmt: skip
    return Section("doubts", "Labels to doubt", intro, items)


def _copies(found: Inspection) -> Section:
    """First what matters most: under two labels, across the split, then the surest."""
    order = ["across_classes", "across_split"]
    pairs = found.pairs.sort_values(order, ascending=False, kind="stable")
    items = []
    for pair in pairs.head(PAIRS).itertuples():
        said = [
            pair.kind,
            *(["under two labels"] if pair.across_classes else []),
            *(["across the split"] if pair.across_split else []),
            *(["mirrored"] if pair.mirrored else []),
            f"cosine {pair.cosine:.3f}",
        ]
        ends = (
            (pair.path_a, pair.file_a, pair.label_a, pair.side_a),
            (pair.path_b, pair.file_b, pair.label_b, pair.side_b),
        )
        photos = [
            Shown(path, name, (", ".join(part for part in (label, side) if part),))
            for path, name, label, side in ends
        ]
        items.append(Item(", ".join(said), photos))
    intro = [
        f"{counted(len(pairs), 'pair')}: exact copies, near ones, and those that may be (a person "
        "must judge). Copies on both sides of a split make the test easier than it looks. "
        + _more(len(pairs), PAIRS, "near_duplicates.csv"),
        str(found.pairs.attrs.get("rule", "")),
    ]
    return Section("copies", "Near-duplicates", [line for line in intro if line], items)


def _empty(found: Inspection) -> Section:
    empty = found.empty
    if empty is None or not len(empty):
        return Section("empty", "Photos that may show no organism")
    says = {e.row: f"like {e.looks_like} ({e.score:.2f})" for e in empty.head(PHOTOS).itertuples()}
    intro = [
        "The text side of the encoder finds something else more alike than any organism. "
        + _more(len(empty), PHOTOS, "problems.csv")
    ]
    title = "Photos that may show no organism"
    return Section("empty", title, intro, [_strip(found, "", list(says), says)])


def _files(found: Inspection) -> Section:
    files = found.files
    strips = [
        _strip(found, f"{counted(len(rows), 'photo')} {what}", rows[:PHOTOS])
        for what, rows in (("nearly one tone", files.blank), ("without colour", files.grey))
        if rows
    ]
    return Section("files", "Files", files.lines(), strips)


def _strip(
    found: Inspection, title: str, rows: Sequence[int], says: dict[int, str] | None = None
) -> Item:
    photos = []
    for row in rows:
        photo = found.photos.rows.iloc[row]
        line = (says or {}).get(row)
        photos.append(Shown(photo["path"], photo["file_path"], (line,) if line else ()))
    return Item(title, (), [Row("", photos)])


def _classes(found: Inspection) -> Section:
    if found.census is None or not found.census.classes:
        return Section("classes", "Classes")
    largest = found.census.classes[0][1]
    rows = "".join(
        f'<tr><th scope="row">{text(name)}</th><td>{photos:,}</td>'
        f'<td class="bar"><span style="width:{100 * photos / largest:.1f}%"></span></td></tr>'
        for name, photos in found.census.classes
    )
    head = '<thead><tr><th scope="col">class</th><th scope="col">photos</th><th></th></tr></thead>'
    ranks = [(r.rank, r.names, r.without) for r in found.census.ranks]
    body = table(("rank", "names", "photos without"), ranks)
    body += f'<table class="classes">{head}<tbody>{rows}</tbody></table>'
    return Section("classes", "Classes", found.census.lines()[:2], body=body)


def _more(total: int, most: int, file: str) -> str:
    return f"The first {most:,} are here, all {total:,} in {file}. " if total > most else ""
