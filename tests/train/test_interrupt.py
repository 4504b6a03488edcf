import os
import signal

import pytest

from mmjax.train.interrupt import Interrupted, Interrupts


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_exit_code_is_that_of_the_signal(signum, code):
    with Interrupts(), pytest.raises(Interrupted) as caught:
        os.kill(os.getpid(), signum)
    assert caught.value.code == code


def test_deferred_it_is_only_noted_and_a_second_signal_does_not_wait():
    with Interrupts() as interrupts:
        interrupts.defer()
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.received == signal.SIGTERM
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            interrupts.raise_at_once()


def test_the_handlers_before_it_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
