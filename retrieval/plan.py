"""How an index is laid out and searched, and what was measured of it."""

import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

BigKind = Literal["flat", "hnsw", "ivf"]
Dtype = Literal["float32", "float16"]

KINDS = ("flat", "hnsw", "ivf")
# pq32: 32 bytes a row; pq64x4: 64 times 4 bits, 32 bytes a row
CODES = ("fp32", "fp16", "sq8", "pqM", "pqMx4", "rabitq")


@dataclass(frozen=True)
class Plan:
    """Layout (kind to dtype: fixed once built), search parameters, and what was measured.

    Flat has no code and no parameters. HNSW keeps the rows in memory as `code` fp32, fp16 or sq8.
    IVF's lists hold `code` fp16, sq8, rabitq, pqM (M bytes a row; M divides the dim) or pqMx4 (M
    times 4 bits, compared 32 rows at a time; André et al., 2015). Whatever the code, the best
    `refine * k` candidates are ranked anew by exact cosines from the rows on the disk, which are
    kept as `dtype`.
    """

    kind: BigKind
    code: str = ""
    nlist: int = 0  # ivf: lists
    M: int = 32  # hnsw: links a row
    ef_construction: int = 200
    dtype: Dtype = "float32"

    nprobe: int = 0  # ivf: lists looked at
    ef_search: int = 128  # hnsw
    refine: int = 10  # candidates a hit

    recall: float | None = None  # measured, at `k`
    k: int | None = None
    rows: int | None = None  # that there were then
    latency_ms: float | None = None  # a query, one after the other
    memory_bytes: int | None = None  # while searching
    notes: tuple[str, ...] = ()  # what could not be kept, in words

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"expected one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.dtype not in ("float32", "float16"):
            raise ValueError(f"expected float32 or float16, got {self.dtype!r}")
        fits = {"flat": "", "hnsw": "fp32|fp16|sq8", "ivf": r"fp16|sq8|rabitq|pq[1-9]\d*(x4)?"}
        if not re.fullmatch(fits[self.kind], self.code):
            raise ValueError(f"{self.kind} has no code {self.code!r}")
        if self.kind == "ivf" and not 1 <= self.nprobe <= self.nlist:
            raise ValueError(f"expected 1 to nlist probes, got {self.nprobe} of {self.nlist}")
        if min(self.M, self.ef_construction, self.ef_search, self.refine) < 1:
            raise ValueError("expected M, ef_construction, ef_search and refine of at least 1")

    @property
    def pq(self) -> tuple[int, int]:
        """Sub-quantizers of a product code and bits of each; (0, 0) for other codes."""
        if not self.code.startswith("pq"):
            return 0, 0
        M, _, bits = self.code[2:].partition("x")
        return int(M), int(bits or 8)

    @property
    def pq_bytes(self) -> int:
        """Bytes of a product code; 0 for others."""
        M, bits = self.pq
        return -(-M * bits // 8)

    @property
    def short(self) -> bool:
        """Whether rows are coded so shortly that their order needs exact cosines."""
        return self.pq_bytes > 0 or self.code == "rabitq"

    @property
    def fast_scan(self) -> bool:
        """Whether rows are compared 32 at a time, by tables in the processor's registers."""
        return self.pq[1] == 4

    @property
    def layout(self) -> tuple[Any, ...]:
        """What an index must be built anew for."""
        graph = (self.M, self.ef_construction) if self.kind == "hnsw" else ()
        return self.kind, self.code, self.nlist, self.dtype, graph

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"notes": list(self.notes)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Plan":
        """`ValueError` or `TypeError` for what is no plan."""
        known = {field.name for field in fields(cls)}
        if set(value) - known:
            raise ValueError(f"unknown fields {', '.join(sorted(set(value) - known))}")
        return cls(**(value | {"notes": tuple(value.get("notes", ()))}))


def usual_plan(kind: BigKind, n: int, dim: int, code: str = "", dtype: Dtype = "float32") -> Plan:
    """A start where nothing was measured: about 4 sqrt(n) lists, a 32nd of them looked at."""
    if kind == "flat":
        return Plan("flat", dtype=dtype)
    if kind == "hnsw":
        return Plan("hnsw", code or "fp32", dtype=dtype)
    nlist = max(1, min(int(4 * n**0.5), n // 40))
    return Plan("ivf", code or "sq8", nlist, dtype=dtype, nprobe=max(1, nlist // 32))
