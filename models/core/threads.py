"""Number of threads of linear algebra."""

from __future__ import annotations

from contextlib import AbstractContextManager

from threadpoolctl import ThreadpoolController


def one_blas_thread() -> AbstractContextManager[object]:
    """Return a context in which NumPy and SciPy use one thread per call of linear algebra.

    For many small matrices, or where the rows are shared out among threads anyway: threads that
    wait for a product to be shared out keep a core busy for several times as long as the product
    itself takes. This concerns the whole process.
    """
    one: AbstractContextManager[object] = ThreadpoolController().limit(limits=1, user_api="blas")
    return one
