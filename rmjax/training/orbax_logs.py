"""What Orbax logs, less what no user needs to read."""

import logging as standard_logging

from absl import logging


def quiet_orbax() -> None:
    """To be called once, before Orbax is used."""
    logging.get_absl_handler().addFilter(_OrbaxFilter())
    logging.get_absl_logger().addFilter(_HarmlessFilter())  # so whoever handles its records


class _OrbaxFilter(standard_logging.Filter):
    """Drops what Orbax logs below warnings: some fifty lines of timings and thread names for each save."""

    def filter(self, record: standard_logging.LogRecord) -> bool:
        return record.levelno >= standard_logging.WARNING or not _of_orbax(record)


class _HarmlessFilter(standard_logging.Filter):
    """Drops what Orbax warns of without need: that a save at SIGTERM has no metrics (it has none), that a folder is
    opened for reading (it is) and that its handler of arrays is replaced (by the one below)."""

    harmless = ("Requested `tracked_metric`", "Given directory is read only", "Type handler registry")

    def filter(self, record: standard_logging.LogRecord) -> bool:
        return not (_of_orbax(record) and str(record.msg).startswith(self.harmless))


def _of_orbax(record: standard_logging.LogRecord) -> bool:
    return "/orbax/" in record.pathname.replace("\\", "/")
