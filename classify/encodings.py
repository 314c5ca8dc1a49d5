"""A column of the table as numbers: by categories, size, season, date, or the words in it."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from embed.errors import UserError
from embed.words import counted

Values = Sequence[str | None]
TextVectors = Callable[[Sequence[str]], Any]

KNOTS = 8
MOST_CATEGORIES = 256
MOST_WORDS = 4000
COMPONENTS = 64  # of texts
_LONGEST = 200  # characters of a category that count
_WORD = r"\b\w{2,40}\b"
_YEAR_FIRST = r"^(\d{4})[-/:.](\d{1,2})[-/:.](\d{1,2})(?:$|[T ](?:(\d{1,2}):(\d{2}))?)"
_CLOCK = re.compile(r"(\d{1,2}):([0-5]\d)(?::[0-5]\d)?")


class Encoding(ABC):
    """What was learnt of a column's training values; all fields are arrays, to be saved."""

    kind: ClassVar[str]
    expects: ClassVar[str] = "words"
    nothing: ClassVar[float] = np.nan  # what a missing value gives

    @classmethod
    @abstractmethod
    def learnt(cls, values: Sequence[str], text_vectors: TextVectors | None = None) -> Self:
        """From the training values that are not missing."""

    @abstractmethod
    def encode(self, values: Sequence[str], text_vectors: TextVectors | None = None) -> Any:
        """(n, width) float64; NaN where a value says nothing (no number, a word never seen)."""

    @abstractmethod
    def describe(self) -> str:
        """What it does, as a note says it."""


@dataclass(frozen=True)
class Categories(Encoding):
    """One column a value (one-hot); values of one row only, and those beyond the commonest
    `MOST_CATEGORIES`, share one, which values never seen then fall to as well."""

    names: Any  # (k,) str, sorted
    pooled: Any  # (), how many other values there were

    kind = "category"

    @classmethod
    def learnt(cls, values: Sequence[str], text_vectors: TextVectors | None = None) -> Self:
        names, counts = np.unique(_folded(values), return_counts=True)
        often = np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]
        kept = np.sort(often[counts[often] > 1])
        return cls(names[kept], np.array(len(names) - len(kept)))

    def encode(self, values: Sequence[str], text_vectors: TextVectors | None = None) -> Any:
        one_hot = _folded(values)[:, None] == self.names
        if self.pooled:
            return np.column_stack([one_hot, ~one_hot.any(axis=1)]).astype(float)
        return np.where(one_hot.any(axis=1, keepdims=True), one_hot, np.nan)

    def describe(self) -> str:
        rest = f", {self.pooled:,} rare ones together" if self.pooled else ""
        return f"{counted(len(self.names), 'category', 'categories')}{rest}"


def _folded(values: Sequence[str]) -> Any:
    return np.array([value.strip().casefold()[:_LONGEST] for value in values], dtype=str)


@dataclass(frozen=True)
class Numbers(Encoding):
    """Hat functions on quantiles of the training values (linear B-splines): each number lies
    between two knots and is shared out to both. So a linear head can favour a middle range, near
    numbers look alike, and outliers count as the largest or smallest."""

    knots: Any  # (k,) float64, rising

    kind = "number"
    expects = "numbers"

    @classmethod
    def learnt(cls, values: Sequence[str], text_vectors: TextVectors | None = None) -> Self:
        return cls(_knots(as_numbers(values)))

    def encode(self, values: Sequence[str], text_vectors: TextVectors | None = None) -> Any:
        return _hats(as_numbers(values), self.knots)

    def describe(self) -> str:
        return f"numbers {self.knots[0]:g} to {self.knots[-1]:g}" if len(self.knots) else "numbers"


def as_numbers(values: Sequence[str]) -> Any:
    """(n,) float64: numbers (12.5, 12,5) and times of day (14:30, in hours), else NaN."""
    return np.array([_number(value.strip()) for value in values], dtype=float)


def is_clock(text: str) -> bool:
    """Whether it is a time of day, such as 14:30."""
    return _CLOCK.fullmatch(text) is not None


def _number(text: str) -> float:
    if clock := _CLOCK.fullmatch(text):
        return int(clock[1]) + int(clock[2]) / 60
    try:
        value = float(text.replace(",", ".")) if "_" not in text else np.nan
    except ValueError:
        return np.nan
    return value if np.isfinite(value) else np.nan


def _knots(x: Any) -> Any:
    x = x[np.isfinite(x)]
    return np.unique(np.quantile(x, np.linspace(0, 1, KNOTS))) if len(x) else x


def _hats(x: Any, knots: Any) -> Any:
    if not len(knots):
        return np.full((len(x), 0), np.nan)
    place = np.interp(x, knots, np.arange(len(knots)))
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(len(knots))))


@dataclass(frozen=True)
class Cycle(Encoding):
    """Sine and cosine, so that December lies beside January."""

    period: Any  # ()

    kind = "cycle"
    expects = "numbers"

    @classmethod
    def learnt(cls, values: Sequence[str], text_vectors: TextVectors | None = None) -> Self:
        raise TypeError("a cycle's period is given, not learnt")

    def encode(self, values: Sequence[str], text_vectors: TextVectors | None = None) -> Any:
        return _circle(as_numbers(values) / self.period)

    def describe(self) -> str:
        return f"a cycle of {self.period:g}"


def _circle(turns: Any) -> Any:
    angle = 2 * np.pi * turns
    return np.column_stack([np.sin(angle), np.cos(angle)])


@dataclass(frozen=True)
class Dates(Encoding):
    """Day of the year and, where the training rows have it, time of day as cycles; the years as
    `Numbers`."""

    knots: Any  # (k,) float64, years with fractions
    clock: Any  # (), whether there are times of day

    kind = "date"
    expects = "dates such as 2024-05-31 or 2024-05-31 14:30"

    @classmethod
    def learnt(cls, values: Sequence[str], text_vectors: TextVectors | None = None) -> Self:
        year, hour = as_dates(values)
        return cls(_knots(year), np.array(bool((hour > 0).any())))

    def encode(self, values: Sequence[str], text_vectors: TextVectors | None = None) -> Any:
        year, hour = as_dates(values)
        clock = [_circle(hour / 24)] if self.clock else []
        return np.hstack([_circle(year % 1), *clock, _hats(year, self.knots)])

    def describe(self) -> str:
        return f"dates (day of the year{', time of day' * bool(self.clock)} and year)"


def as_dates(values: Sequence[str]) -> tuple[Any, Any]:
    """(n,) years with their fraction, (n,) hours of the day; NaN where there is none."""
    parts = pd.Series(list(values), dtype="str").str.strip().str.extract(_YEAR_FIRST)
    year, month, day, hour, minute = (pd.to_numeric(parts[i]).to_numpy(float) for i in range(5))
    first = pd.to_datetime({"year": year, "month": month, "day": day}, errors="coerce")
    day_of_year = first.dt.day_of_year.to_numpy(dtype=float, na_value=np.nan)
    return year + (day_of_year - 1) / 366, hour + minute / 60


@dataclass(frozen=True)
class Texts(Encoding):
    """TF-IDF of the words that stand in two rows or more, on its strongest components."""

    words: Any  # (v,) str
    idf: Any  # (v,) float64
    components: Any  # (v, c) float64

    kind = "text"

    @classmethod
    def learnt(cls, values: Sequence[str], text_vectors: TextVectors | None = None) -> Self:
        vectors, words, idf = tf_idf(values)
        return cls(words, idf, _components(vectors))

    def encode(self, values: Sequence[str], text_vectors: TextVectors | None = None) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        if not len(self.words):
            return np.full((len(values), 0), np.nan)
        rebuilt = TfidfVectorizer(**_TF_IDF, vocabulary=self.words.tolist())
        rebuilt.idf_ = self.idf
        vectors = rebuilt.transform(values)
        known = np.diff(vectors.indptr)[:, None] > 0
        return np.where(known, vectors @ self.components, np.nan)

    def describe(self) -> str:
        return (
            f"TF-IDF of {counted(len(self.words), 'word')} on {self.components.shape[1]} components"
        )


_TF_IDF = {"strip_accents": "unicode", "token_pattern": _WORD, "sublinear_tf": True}


def tf_idf(values: Sequence[str]) -> tuple[Any, Any, Any]:
    """Sparse unit rows (n, v) of the words in two rows or more, the words (v,), their idf (v,)."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(**_TF_IDF, min_df=2, max_features=MOST_WORDS)
    try:
        vectors = vectorizer.fit_transform(values)
    except ValueError:  # no word stands in two rows
        return csr_matrix((len(values), 0)), np.array([], dtype=str), np.zeros(0)
    return vectors, vectorizer.get_feature_names_out().astype(str), vectorizer.idf_


def _components(vectors: Any) -> Any:
    from sklearn.utils.extmath import randomized_svd

    count = min(COMPONENTS, *vectors.shape)
    if not count:
        return np.zeros((vectors.shape[1], 0))
    return np.ascontiguousarray(randomized_svd(vectors, count, random_state=0)[2].T)


@dataclass(frozen=True)
class Encoded(Encoding):
    """The text side of the run's image-text encoder, on its strongest components."""

    mean: Any  # (dim,)
    components: Any  # (dim, c)

    kind = "encoder"

    @classmethod
    def learnt(cls, values: Sequence[str], text_vectors: TextVectors | None = None) -> Self:
        X = _vectors(values, text_vectors)
        mean = X.mean(axis=0)
        return cls(mean, _components(X - mean))

    def encode(self, values: Sequence[str], text_vectors: TextVectors | None = None) -> Any:
        if not values:
            return np.zeros((0, self.components.shape[1]))
        return (_vectors(values, text_vectors) - self.mean) @ self.components

    def describe(self) -> str:
        return f"text through the encoder, on {self.components.shape[1]} components"


def _vectors(values: Sequence[str], text_vectors: TextVectors | None) -> Any:
    if text_vectors is None:
        raise UserError(
            "A column of kind `encoder` goes through the text side of the photos' encoder, and "
            "none of them has one. Run `cli embed PHOTOS --encoder bioclip` and "
            "`cli fit --encoder bioclip`, or take the column as `text`."
        )
    texts, place = np.unique(list(values), return_inverse=True)
    return np.asarray(text_vectors(texts.tolist()), dtype=float)[place]


@dataclass(frozen=True)
class Presence(Encoding):
    """Whether there is a value at all."""

    kind = "presence"
    nothing = 0.0

    @classmethod
    def learnt(cls, values: Sequence[str], text_vectors: TextVectors | None = None) -> Self:
        return cls()

    def encode(self, values: Sequence[str], text_vectors: TextVectors | None = None) -> Any:
        return np.ones((len(values), 1))

    def describe(self) -> str:
        return "given or not"


ENCODINGS: dict[str, type[Encoding]] = {
    kind.kind: kind for kind in (Categories, Numbers, Cycle, Dates, Texts, Encoded, Presence)
}
