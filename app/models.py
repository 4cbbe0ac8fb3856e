"""The bodies of requests: what is accepted, with its limits. The OpenAPI description is made from them.

Amounts are integer won. No float is accepted anywhere: JSON numbers with a point are read as Decimal.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    model_validator,
)
from pydantic import StringConstraints as Text

MOST_WON = 10**15


def _no_float(value: object) -> object:
    if isinstance(value, bool | float):
        raise ValueError('write it as a string, "87.745"')
    return value


Won = Annotated[StrictInt, Field(ge=1, le=MOST_WON, description="integer won")]
WonOrZero = Annotated[StrictInt, Field(ge=0, le=MOST_WON, description="integer won")]
Percent = Annotated[Decimal, BeforeValidator(_no_float), Field(gt=0, le=100, max_digits=9, decimal_places=6)]
Name = Annotated[str, Text(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]
Key = Annotated[
    str,
    Text(min_length=32, max_length=200, pattern=r"^[\x21-\x7e]+$"),
    Field(description="made by the caller"),
]
Number = Annotated[StrictInt, Field(ge=1, le=15)]
Stream = Annotated[str, Text(min_length=1, max_length=100, pattern=r"^[\x21-\x7e]+$")]
BusinessNumber = Annotated[str, Text(pattern=r"^[0-9-]{5,20}$")]


class Body(BaseModel):
    """Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class Empty(Body):
    """A request without a body, or with {}."""


class NewInstitution(Body):
    name: Name
    key: Key


class NewCompany(Body):
    name: Name
    business_number: BusinessNumber
    key: Key


class NewTender(Body):
    """Either ``deadline`` and ``opening_at``, or (rehearsal only) ``bidding_seconds`` and
    ``opening_delay_seconds``, counted on the database's clock."""

    number: Annotated[
        str, Text(strip_whitespace=True, min_length=1, max_length=60, pattern=r"^[^\x00-\x1f]+$")
    ]
    title: Name
    kind: Literal["construction", "goods", "services"] = "construction"
    urgent: StrictBool = False
    base_amount: Won
    range_percent: Percent
    rate_percent: Percent
    band: Literal["50-100", "10-50", "3-10", "under-3"]
    a_value: WonOrZero = 0
    net_cost: Won | None = None
    rehearsal: StrictBool
    deadline: AwareDatetime | None = None
    opening_at: AwareDatetime | None = None
    bidding_seconds: Annotated[StrictInt, Field(ge=1, le=86_400)] | None = None
    opening_delay_seconds: Annotated[StrictInt, Field(ge=0, le=86_400)] | None = None
    preliminary_prices: Annotated[list[Won], Field(min_length=15, max_length=15)] | None = None

    @model_validator(mode="after")
    def windows_fit_the_kind(self) -> NewTender:
        own = (self.bidding_seconds, self.opening_delay_seconds)
        legal = (self.deadline, self.opening_at)
        if self.rehearsal:
            if None in own or legal != (None, None):
                raise ValueError("a rehearsal has bidding_seconds and opening_delay_seconds, and no dates")
        elif None in legal or own != (None, None):
            raise ValueError("a tender that is no rehearsal has deadline and opening_at, and no seconds")
        elif self.preliminary_prices is not None:
            raise ValueError("preliminary_prices are drawn by the system; only a rehearsal may bring its own")
        if self.a_value >= self.base_amount:
            raise ValueError("a_value must be below base_amount")
        if self.range_percent >= 100:
            raise ValueError("range_percent must be below 100")
        return self


class NewBid(Body):
    amount: Won
    picks: Annotated[list[Number], Field(min_length=2, max_length=2)]

    @model_validator(mode="after")
    def picks_differ(self) -> NewBid:
        if self.picks[0] == self.picks[1]:
            raise ValueError("picks must be two different numbers")
        return self


class Amount(Body):
    amount: Won


class NewSubcontract(Body):
    subcontractor_id: Annotated[StrictInt, Field(ge=1)]
    amount: Won


class NewInspection(Body):
    passed: StrictBool


class NewSubcontractPayment(Body):
    subcontract_id: Annotated[StrictInt, Field(ge=1)]
    amount: Won


class NewCanary(Body):
    stream: Stream
    sequence: Annotated[StrictInt, Field(ge=0, le=2**62)]
