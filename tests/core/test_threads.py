"""Small fits run on one thread, and the limit ends with the block."""

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from labelsieve.core.threads import SMALL, threads_for


def n_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_one_thread_for_small_work_alone():
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(limits=2):
        before = n_threads()
        with threads_for(1000):
            assert n_threads() == {1}
        assert n_threads() == before
        with threads_for(SMALL):
            assert n_threads() == before
