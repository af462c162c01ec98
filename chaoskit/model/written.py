"""Fields that are written as text and read as values: what a type checker is told of them. Pydantic parses; nothing here runs.

To a type checker such a field is a descriptor: `Phases(baseline="5s")` takes the text, `phases.baseline` is a float. At run time the
aliases beside their parsers are plain `Annotated` types, and this class is never asked.
"""

from __future__ import annotations

from typing import Any, Generic, Self, TypeVar, overload

Inside = TypeVar("Inside")
"""What is read."""
Text = TypeVar("Text", contravariant=True)
"""What may be written."""


class Written(Generic[Inside, Text]):
    """A field of an author noun: takes `Text`, gives `Inside`. Its default is given through `by_default`."""

    @overload
    def __get__(self, instance: None, owner: object) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: object) -> Inside: ...
    def __get__(self, instance: object, owner: object) -> object:
        raise TypeError("for type checkers only")

    def __set__(self, instance: object, value: Text) -> None:
        raise TypeError("for type checkers only")


def by_default(value: object) -> Any:
    """The default of such a field as it is read; to a type checker anything, since a float is no descriptor."""
    return value
