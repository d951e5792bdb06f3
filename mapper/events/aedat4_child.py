"""Decodes an .aedat4 file in a process of its own and writes its events to standard output as .npy.

`mapper.events.aedat4` runs this file by its path: it imports nothing of this package. The decoder panics or
aborts on damaged files, and may ask for any amount of memory.
"""

from __future__ import annotations

import io
import sys
from contextlib import suppress

__all__: list[str] = []

NO_STREAM = 3


def main(path: str, memory_bytes: int) -> int:
    """Decode a file within so much memory; the exit status."""
    with suppress(ImportError, ValueError, OSError):  # as far as the system knows such a limit
        import resource  # noqa: PLC0415

        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import aedat  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    # The decoder takes text; the file is standard input as well.
    decoder = aedat.Decoder(path if path.isprintable() else "/dev/stdin")
    streams = [n for n, entry in decoder.id_to_stream().items() if entry["type"] == "events"]
    packets = [
        packet["events"]
        for packet in decoder
        if streams and packet["stream_id"] == min(streams) and "events" in packet
    ]
    if not packets:
        return NO_STREAM
    content = io.BytesIO()
    np.save(content, np.concatenate(packets), allow_pickle=False)
    sys.stdout.buffer.write(content.getbuffer())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
