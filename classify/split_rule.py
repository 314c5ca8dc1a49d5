"""What `cli split` is asked for, and the question that a figure on such a test answers."""

from dataclasses import dataclass

from embed.errors import UserError

CELL_KM = 10.0


@dataclass(frozen=True)
class SplitRule:
    """How to share photos out.

    test, val : share of the labelled photos on those sides (of the dated ones with `after`)
    by : column whose values (species, camera, individual…) may not be on two sides; a row that
        has no value there is a group of its own
    seed : which of the random splits
    hold_out : column of whose values (species) every class with two or more has one or more whole
        ones in test and in training; rows without a value train
    after, since : column of dates: the newest share tests, or all from the date `since` on; rows
        without a date train
    place, cell : columns `LAT,LON` in degrees: cells of a grid, `cell` kilometres wide (10), are
        groups; rows without a place train
    near_duplicates : whether photos that look the same are one group
    per_class : photos of each class that train; the other training photos are on no side. Of one
        seed fewer lie inside more, and the test is the same
    """

    test: float = 0.2
    val: float = 0.0
    by: str | None = None
    seed: int = 0
    hold_out: str | None = None
    after: str | None = None
    since: str | None = None
    place: str | None = None
    cell: float | None = None
    near_duplicates: bool = False
    per_class: int | None = None

    def check(self) -> None:
        """Refuse what contradicts itself."""
        if not (self.test >= 0 and self.val >= 0 and self.test + self.val < 1):
            raise UserError(
                "--test and --val are shares of the photos: 0 or more, and below 1 together "
                f"(as in --test 0.2 --val 0.1). Got --test {self.test:g} --val {self.val:g}."
            )
        if self.hold_out and self.after:
            raise UserError("--hold-out and --after are two splits: make one at a time.")
        if self.after and self.test == 0:
            raise UserError("--after needs a test: leave out --test 0.")
        if self.per_class is not None and self.per_class < 1:
            raise UserError(f"--per-class takes 1 photo or more, not {self.per_class}.")
        for option, needs, alone in (
            ("--since", "--after COLUMN", self.since is not None and self.after is None),
            ("--cell", "--place LAT,LON", self.cell is not None and self.place is None),
        ):
            if alone:
                raise UserError(f"{option} means nothing without {needs}.")

    def check_alone(self) -> None:
        """Refuse a rule beside a given split."""
        beside = {
            "--by": self.by, "--hold-out": self.hold_out, "--after": self.after,
            "--place": self.place, "--near-duplicates": self.near_duplicates,
            "--per-class": self.per_class,
        }  # fmt: skip
        for option, value in beside.items():
            if value:
                raise UserError(
                    f"--from takes a split as it is: leave out {option}, or leave out --from."
                )

    @property
    def cell_km(self) -> float:
        return CELL_KM if self.cell is None else self.cell

    @property
    def groups(self) -> str | None:
        """What photos of one group have in common, in words; None where only the photo itself."""
        place = "place" if self.place else None
        near = "near-duplicates" if self.near_duplicates else None
        named = [name for name in (self.by, self.hold_out, place, near) if name]
        return " and ".join(named) or None

    @property
    def remedy(self) -> str:
        """What may help where a class has too few groups for a test."""
        if self.after:
            return "an earlier --since"
        option = "--hold-out" if self.hold_out else "--place" if self.place else "--by"
        return f"a {option} column with more groups in a class"

    def question(self, label: str, since: str = "") -> str:
        """`can it tell the family in photos of an eol_page_id that it has never seen?`"""
        of = [f"of {_a(self.by)} that it has never seen"] if self.by else []
        if self.hold_out:
            of.append(f"of {_a(self.hold_out)} that it has never seen, of a {label} that it has")
        if self.place:
            of.append(f"from places where it has never been (cells of {self.cell_km:g} km)")
        if self.after:
            of.append(f"from {since} on, newer than all dated ones that it learnt from")
        if self.near_duplicates:
            of.append("that are no near-duplicates of those it learnt from")
        of = of or ["drawn at random from the same collection as those it learnt from"]
        return f"can it tell the {label} in photos {', and '.join(of)}?"


def _a(noun: str) -> str:
    return f"an {noun}" if noun[:1].lower() in "aeio" else f"a {noun}"
