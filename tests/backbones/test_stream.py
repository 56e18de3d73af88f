"""Bounded pipelines: order, and as many threads as are needed."""

import threading
import time

import pytest

from labelsieve.backbones.stream import at_pace, threads_to_keep_up


@pytest.mark.parametrize("workers", [None, 0, 3])
@pytest.mark.parametrize("n_rows", [0, 3, 8, 40])
def test_results_stay_in_order(n_rows, workers):
    found = list(at_pace(lambda row: row * row, range(n_rows), workers, batch=8))
    assert found == [row * row for row in range(n_rows)]


def test_threads_follow_the_times():
    assert threads_to_keep_up(0.001, 0.1, 64) == 1
    assert threads_to_keep_up(0.01, 0.01, 64) == 2
    assert threads_to_keep_up(0.01, 0.0, 16) == 16
    assert threads_to_keep_up(0.0, 0.0, 1) == 1


def test_a_slow_consumer_gets_one_thread():
    threads = set()

    def task(row):
        threads.add(threading.current_thread().name)
        return row

    for _ in at_pace(task, range(24), None, batch=8):
        time.sleep(0.002)
    assert len(threads) == 2  # this one for the first rows, and one
