"""Cells that were decided before, in a folder, by the hash of all they depend on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from mapper.asking import CACHE, surface
from mapper.errors import Finding, OptionsError
from mapper.explore.cell import CellOptions, at
from mapper.explore.identity import digest, program_version
from mapper.explore.record import Cell
from mapper.files import write_text

__all__ = ["CellCache", "cell_key", "is_sealed", "sealed"]


def cell_key(network_hash: str, chip_hash: str, options: CellOptions) -> str:
    """Hash of network, chip, everything that is asked, and the program."""
    return digest([program_version(), network_hash, chip_hash, asdict(options)])


def sealed(cell: Cell, key: str) -> Cell:
    """The cell with the checksum of what it says under a key."""
    return cell.model_copy(update={"checksum": _checksum(cell, key)})


def is_sealed(cell: Cell, key: str) -> bool:
    """Whether a cell says what was decided under a key: a damaged or edited one does not."""
    return cell.checksum == _checksum(cell, key)


def _checksum(cell: Cell, key: str) -> str:
    return digest([key, at(cell, 0, 0).model_dump(mode="json", exclude={"checksum"})])


class CellCache:
    """A folder with a file a cell.

    Parameters
    ----------
    folder
        Made where it is not there.

    Raises
    ------
    OptionsError
        The folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            problem = f"cannot be made: {error.strerror or error}"
            raise OptionsError(Finding(f"{CACHE} {folder}", problem)) from None

    def _path(self, key: str) -> Path:
        # Two levels: a folder of ten thousand files is slow to list on many file systems. Texts of a cell
        # name options as its reader writes them.
        return self.folder / key[:2] / f"{key}-{surface()}.json"

    def read(self, key: str) -> Cell | None:
        """The cell with the indexes 0; None where it is not there, or is not as it was written."""
        try:
            cell = Cell.model_validate_json(self._path(key).read_bytes())
        except (OSError, ValueError):
            return None
        return cell if is_sealed(cell, key) else None

    def write(self, key: str, cell: Cell) -> None:
        """Keep a sealed cell; a fault of this program is not kept, since the next run may do without.

        Raises
        ------
        OptionsError
            The folder cannot be written to.
        """
        if not cell.is_failed:
            # A cell that a crash of the machine takes is decided again: ten thousand waits are not worth it.
            write_text(self._path(key), at(cell, 0, 0).model_dump_json(), is_lasting=False)
