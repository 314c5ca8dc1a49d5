"""Numbers with their nouns."""


def counted(n: int, one: str, many: str | None = None) -> str:
    """`1 photo`, `2,686 photos`, `3 classes`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
