"""Pages read repositories beside the event loop, by few, and wait for nobody at the end."""

import asyncio
import threading
from threading import BoundedSemaphore, Event

import pytest

from pgkeep.api.errors import TooBusy
from pgkeep.service.errors import ServiceFailed
from pgkeep.web.beside import beside


def test_a_repository_that_hangs_holds_up_neither_the_loop_nor_the_end_of_the_process() -> None:
    begun, answers = Event(), Event()

    def hanging() -> str:
        begun.set()
        return str(answers.wait(60) and threading.current_thread().daemon)

    async def pages() -> str:
        one = BoundedSemaphore(1)
        first = asyncio.create_task(beside(one, hanging))
        await asyncio.to_thread(begun.wait, 60)
        with pytest.raises(TooBusy):
            await beside(one, lambda: "a second")
        answers.set()
        return await first

    assert asyncio.run(pages()) == "True"


def test_what_goes_wrong_reaches_the_page(caplog: pytest.LogCaptureFixture) -> None:
    one = BoundedSemaphore(1)
    with pytest.raises(ServiceFailed, match="a bug: ZeroDivisionError"):
        asyncio.run(beside(one, lambda: 1 // 0))
    assert "ZeroDivisionError" in caplog.text
    with pytest.raises(TooBusy, match="it"):
        asyncio.run(beside(one, _refuse))
    assert asyncio.run(beside(one, lambda: 1)) == 1


def _refuse() -> int:
    raise TooBusy("do it", "why", "")
