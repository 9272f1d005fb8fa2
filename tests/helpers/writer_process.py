"""A writer in a process of its own, that waits to be killed: ``python -m helpers.writer_process URI MARK``."""

from __future__ import annotations

import sys
import time
from pathlib import Path


def _main(uri: str, mark: str) -> None:
    from helpers.clouds import attach_from_environment
    from magic_hour_provider.storage.paths import open_path
    from magic_hour_provider.storage.writers import open_writer

    attach_from_environment()
    writer = open_writer(open_path(uri), "image/png")
    writer.write(bytes(6 * 1024 * 1024))
    Path(mark).touch()
    time.sleep(600)


if __name__ == "__main__":
    _main(*sys.argv[1:])
