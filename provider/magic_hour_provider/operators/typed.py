"""What the typed operators share: their request is made of attributes, each a template field of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from magic_hour_provider.operators.magic_hour import MagicHourOperator


class MagicHourToolOperator(MagicHourOperator):
    """Base of the typed operators: the same operator, with the request's fields as its own arguments.

    Each field is an attribute and a template field by its own name: Airflow links the XComArgs of ``.partial()`` only
    then (seen on 3.3.2). The request is put together from them whenever it is asked for.

    :param given: the request's fields as the user gave them; None stands for "left out".
    :param kwargs: of :class:`~magic_hour_provider.operators.magic_hour.MagicHourOperator`.
    """

    slug: ClassVar[str]
    """The tool."""
    request_fields: ClassVar[tuple[str, ...]]
    """The names of the request's fields."""

    def __init__(self, *, given: Mapping[str, Any], **kwargs: Any) -> None:
        request = {name: value for name, value in given.items() if value is not None}
        super().__init__(tool=self.slug, request=request, **kwargs)

    @property
    def request(self) -> dict[str, Any]:
        """The request's JSON body, as far as it is known now."""
        values = {name: getattr(self, name) for name in self.request_fields}
        return {name: value for name, value in values.items() if value is not None}

    @request.setter
    def request(self, value: Mapping[str, Any]) -> None:
        for name in self.request_fields:
            setattr(self, name, value.get(name))
