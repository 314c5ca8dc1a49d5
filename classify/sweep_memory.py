"""How many workers fit into the memory that a sweep may take, and how much each may keep."""

from collections.abc import Iterable
from dataclasses import dataclass

from classify.cell import Cell
from classify.dataset import Dataset
from embed.errors import UserError
from retrieval.limits import memory_text

PROCESS = 300 * 10**6
"""bytes of a Python process with scikit-learn, LightGBM, FAISS and pandas, before any data"""
LEAST_MEMO, MOST_MEMO = 32 * 10**6, 2 * 10**9
SHARE = 0.8
"""of the free memory is taken where nothing is said"""


def cell_bytes(cell: Cell, train: Dataset, classes: int) -> int:
    """What fitting and predicting a cell takes at its peak, beside the process and its data.

    Bounds over measured peaks (2,000 to 12,000 photos, 512 dimensions, 39 and 202 classes): some
    copies of the vectors and of the probabilities; of `knn` also its tables of photos that judge ×
    photos that vote, of `lgbm` the columns of the candidates.
    """
    from classify.knn import CELLS
    from classify.left_out import FEWEST

    photos, vectors = len(train), train.X.nbytes
    probabilities = 8 * photos * classes
    if cell.head == "stack":
        return 10**8 + 12 * probabilities
    need = 10**8 + 8 * vectors + 8 * probabilities
    if cell.head == "knn":
        judges = min(photos, max(CELLS // max(photos, 1), FEWEST))
        need += 9 * 4 * photos * judges
    elif cell.head == "lgbm":
        need += 10**8 + 4_000 * photos
    return need


@dataclass(frozen=True)
class MemoryPlan:
    """How a sweep keeps within its memory."""

    jobs: int
    memo_bytes: int
    """for what each worker keeps of shared work"""
    worker_bytes: int
    """of a worker at its peak, with what it keeps"""
    main_bytes: int
    """of the process that hands out the work, with all vectors"""

    @property
    def total(self) -> int:
        """Bytes at the peak; one job runs in the process that hands out the work."""
        workers = self.jobs * self.worker_bytes
        return self.main_bytes + workers - (PROCESS if self.jobs == 1 else 0)

    def describe(self) -> str:
        jobs = f"{self.jobs} job" + "s" * (self.jobs > 1)
        worker, memo = memory_text(self.worker_bytes), memory_text(self.memo_bytes)
        return (
            f"memory: up to {memory_text(self.total)}: {jobs} of {worker}, of which {memo} are for "
            f"shared work, and {memory_text(self.main_bytes)} for the vectors and the rest"
        )


def plan_memory(memory: int | None, jobs: int, trains: Iterable[Dataset], need: int) -> MemoryPlan:
    """As many of the `jobs` as fit, each with `need` bytes (see `cell_bytes`).

    memory : bytes that all processes together may take, by default most of what is free

    The vectors of all `trains` count twice: as they are read, and as the file that all workers
    look into. Raises `UserError` where a given memory is too little for one job.
    """
    data = 2 * sum(train.X.nbytes for train in trains)
    main, least = PROCESS + data, PROCESS + need + LEAST_MEMO
    room = _free() if memory is None else memory
    fitting = [n for n in range(jobs, 1, -1) if main + n * least <= room]
    chosen = fitting[0] if fitting else 1
    if chosen == 1:
        main = data  # it is the worker itself
        if memory is not None and main + least > memory:
            raise UserError(
                f"--memory {memory_text(memory)} is too little for one cell at a time: the largest "
                f"takes about {memory_text(main + least)}. Give more, or take fewer photos."
            )
    memo = (room - main) // chosen - PROCESS - need
    memo = min(MOST_MEMO, max(LEAST_MEMO, memo))
    return MemoryPlan(chosen, memo, PROCESS + need + memo, PROCESS + data)


def _free() -> int:
    import psutil

    return int(SHARE * psutil.virtual_memory().available)
