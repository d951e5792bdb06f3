"""Fields that a file has and its form has not: which were meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel

__all__ = ["meant_by"]


def meant_by(form: type[BaseModel], place: Sequence[int | str]) -> str:
    """What may have been meant by a field that there is not, as a sentence.

    Parameters
    ----------
    form
        Of the whole file.
    place
        As pydantic has it: keys, indexes, and names of the forms that were tried where several may stand.
    """
    choices = {form.__name__: form}
    for part in place[:-1]:
        form = choices.get(str(part), form)
        field = _fields(form).get(str(part))
        if field is not None:
            choices = {inner.__name__: inner for inner in _forms(field.annotation)}
            form = next(iter(choices.values()), form)
    names = [*_fields(form)]
    close = get_close_matches(str(place[-1]), names, n=1)
    return f"Did you mean {close[0]}?" if close else f"There are {', '.join(names)}"


def _fields(form: type[BaseModel]) -> Mapping[str, Any]:
    return {entry.alias or name: entry for name, entry in form.model_fields.items()}


def _forms(hint: Any) -> Iterator[type[BaseModel]]:
    """The forms that an annotation names."""
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint
    for part in get_args(hint):
        yield from _forms(part)
