"""`snakemake --logger medlabel`: a screenful instead of hundreds of lines; all is in the log file.

Snakemake finds its logger plugins by the names of their packages, hence this one's.
"""

from __future__ import annotations

from logging import LogRecord

from snakemake_interface_logger_plugins.base import LogHandlerBase

from medlabel.screen import Screen


class LogHandler(LogHandlerBase):
    """Hand Snakemake's events to the screen."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        """Prepare the screen; Snakemake's base class calls this."""
        self._screen = Screen(dry=self.common_settings.dryrun)

    def emit(self, record: LogRecord) -> None:
        """Show one event; a fault of the display must not end the run."""
        try:
            self._screen.show(record)
        except Exception:  # as logging's own handlers do
            self.handleError(record)

    def close(self) -> None:
        """Give the terminal back."""
        self._screen.close()
        super().close()
