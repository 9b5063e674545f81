"""The timeline as an element of a page."""

from collections.abc import Callable, Mapping
from typing import Any

from nicegui.element import Element


class Chart(Element, component="timeline.js"):
    """Draws a drawing; tells which moment or mark is chosen."""

    def __init__(
        self,
        drawing: Mapping[str, Any],
        on_moment: Callable[[int], object],
        on_mark: Callable[[Mapping[str, Any]], object],
    ) -> None:
        super().__init__()
        self._props["drawing"] = dict(drawing)
        self._props["chosen"] = 0
        self.on("moment", lambda event: on_moment(int(event.args)))
        self.on("mark", lambda event: on_mark(dict(event.args)))

    def draw(self, drawing: Mapping[str, Any]) -> None:
        """Draw another state of the same cluster; where one looks stays."""
        self._props["drawing"] = dict(drawing)
        self.update()

    def choose(self, moment: int | None) -> None:
        """Mark a moment, in milliseconds since 1970; None: none."""
        self._props["chosen"] = moment or 0
        self.update()

    def zoom(self, factor: float) -> None:
        self.run_method("zoom", factor)

    def show_all(self) -> None:
        self.run_method("whole")

    def show_last(self, seconds: float) -> None:
        self.run_method("last", seconds * 1000)
