"""Events of one question on their way from the worker's thread to the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from qvlm.serving.problems import problem_of
from qvlm.serving.question import Answer
from qvlm.serving.worker import Event, Failed

LOOK = 1.0
"""Seconds after which it is asked whether the client is still there."""


class Inbox:
    """Events in the order in which they were told."""

    def __init__(self) -> None:
        """To be made inside the event loop that reads it."""
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def tell(self, event: Event) -> None:
        """Takes an event from another thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def next(self, gone: Callable[[], Awaitable[bool]]) -> Event | None:
        """The next event; None when the client is gone.

        Raises:
            Problem: there will be no answer.
        """
        while True:
            try:
                event = await asyncio.wait_for(self._events.get(), LOOK)
            except asyncio.TimeoutError:
                if await gone():
                    return None
                continue
            if isinstance(event, Failed):
                raise problem_of(event.error)
            return event

    async def rest(self, gone: Callable[[], Awaitable[bool]]) -> AsyncGenerator[Event, None]:
        """Events up to the answer, or until the client is gone."""
        while (event := await self.next(gone)) is not None:
            yield event
            if isinstance(event, Answer):
                return
