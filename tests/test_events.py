from __future__ import annotations

import threading

import pytest

from ragmacs_srv.errors import Cancelled
from ragmacs_srv.events import Cancel, Progress, timed


def test_check_raises_only_after_cancel() -> None:
    cancel = Cancel()
    cancel.check()
    cancel.cancel()
    with pytest.raises(Cancelled):
        cancel.check()


def test_callbacks_run_once_and_only_while_registered() -> None:
    cancel, ran = Cancel(), []
    with cancel.on_cancel(lambda: ran.append("left")):
        pass
    with cancel.on_cancel(lambda: ran.append("inside")):
        cancel.cancel()
        cancel.cancel()
    assert ran == ["inside"]


def test_a_callback_registered_too_late_runs_at_once() -> None:
    cancel, ran = Cancel(), []
    cancel.cancel()
    with cancel.on_cancel(lambda: ran.append("late")):
        pass
    assert ran == ["late"]


def test_wait_ends_when_another_thread_cancels() -> None:
    cancel = Cancel()
    threading.Timer(0.01, cancel.cancel).start()
    with pytest.raises(Cancelled):
        cancel.wait(60)


def test_progress_tells_the_rate_and_the_time_left() -> None:
    told: list[Progress] = []
    seconds = iter([10.0, 12.0, 20.0, 30.0, 31.0])
    sink = timed(told.append, clock=lambda: next(seconds))
    for job, done, total in [
        ("embed", 100, 400),
        ("embed", 120, 400),
        ("crawl", 0, None),
        ("crawl", 5, None),
        ("embed", 0, 9),
    ]:
        sink(Progress(job, done, total))
    assert [(each.rate, each.eta_s) for each in told] == [
        (0.0, None),
        (10.0, 28.0),
        (0.0, None),
        (0.5, None),
        (0.0, None),
    ]
