"""Where the tasks of a sweep run: processes of this machine, or a Dask or Ray cluster."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

from embed.errors import UserError, did_you_mean

BACKENDS = ("loky", "dask", "ray")
IDLE_SECONDS = 20
"""after which a process without a task ends: it may have kept gigabytes"""


@contextmanager
def workers(backend: str, jobs: int, cluster: str | None = None) -> Iterator[int]:
    """Inside, `joblib.Parallel` uses this back end; yields how many tasks it takes at a time.

    loky : processes of this machine (with one job: this process)
    dask, ray : through their joblib plug-ins, on the `cluster` of that address, else on a local
        one of `jobs` processes. The workers of a cluster must see the workspace under its path

    Raises `UserError` for an unknown back end, one that is not installed, and a cluster that does
    not answer.
    """
    if backend not in BACKENDS:
        raise UserError(f"'{backend}' is no back end. {did_you_mean(backend, BACKENDS)}")
    if backend == "loky" and cluster:
        raise UserError("--cluster is an address of a Dask or Ray cluster. Add --backend dask.")
    with ExitStack() as stack:
        yield _OPEN[backend](stack, jobs, cluster)


def _loky(stack: ExitStack, jobs: int, cluster: str | None) -> int:
    from joblib import parallel_config

    config = parallel_config(
        "loky", n_jobs=jobs, inner_max_num_threads=1, idle_worker_timeout=IDLE_SECONDS
    )
    stack.enter_context(config)
    if jobs > 1:  # an idle worker that ends is meant
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")
    return jobs


def _dask(stack: ExitStack, jobs: int, cluster: str | None) -> int:
    from joblib import parallel_config

    dask = _installed("distributed", "dask")
    if cluster is None:
        here = dask.LocalCluster(
            n_workers=jobs, threads_per_worker=1, dashboard_address=None, memory_limit=0
        )
        cluster = stack.enter_context(here)
    try:
        client = stack.enter_context(dask.Client(cluster, timeout="10s"))
    except (OSError, ValueError) as error:
        raise _silent("Dask", cluster, error) from error
    stack.enter_context(parallel_config("dask", client=client, n_jobs=-1))
    threads: int = sum(client.nthreads().values())
    return max(1, threads)


def _ray(stack: ExitStack, jobs: int, cluster: str | None) -> int:
    from joblib import parallel_config

    ray, plug_in = _installed("ray", "ray"), _installed("ray.util.joblib", "ray")
    if not ray.is_initialized():
        given = {"address": cluster} if cluster else {"num_cpus": jobs, "include_dashboard": False}
        try:
            ray.init(log_to_driver=False, logging_level="error", **given)
        except (OSError, ValueError) as error:
            raise _silent("Ray", cluster, error) from error
        stack.callback(ray.shutdown)
    plug_in.register_ray()
    n = max(1, int(ray.cluster_resources()["CPU"])) if cluster else jobs
    stack.enter_context(parallel_config("ray", n_jobs=n))
    return n


_OPEN: dict[str, Callable[[ExitStack, int, str | None], int]] = {
    "loky": _loky,
    "dask": _dask,
    "ray": _ray,
}


def _installed(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(
            f"--backend {extra} needs a package that is not installed. Run "
            f"`pip install 'familia[{extra}]'`."
        ) from error


def _silent(name: str, cluster: Any, error: Exception) -> UserError:
    return UserError(f"No {name} cluster answers at {cluster} ({error}). Check --cluster.")
