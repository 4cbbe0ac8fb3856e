"""A primary that hands over as planned stops only when every pooler holds.

The hold and the offer are written at once (`failover.switchover`): while Patroni prepares the stop, the
gatekeepers pause their poolers. As a rule they are the first. When one was late by a tenth of a second, the
primary was quiet for a moment, Patroni went on, and the transactions that the late one had sent meanwhile
were broken off by the stop: two requests without an answer (drill `switchover`, seed 408).

`quick_handover` waits here before it looks what is under way. Where a hold stands in etcd, until each
gatekeeper that says anything says that its pooler is held, LIMIT_S at most: then no transaction of theirs is
under way and none begins. A gatekeeper that is silent is not waited for, nor is an etcd that does not answer.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from replication.dcs.etcd_gateway import EtcdUnanswered, values_below

logger = logging.getLogger(__name__)

LIMIT_S = 0.6
LOOK_S = 0.02
ANSWER_S = 0.3
HANDOVER, POOLER = "handover", "pooler/"  # below OURS; `failover.handover` says what stands there
OURS = "/hanbat/{cluster}/"
HELD = "held"

Words = Callable[[], tuple[Iterable[str], Iterable[str]]]


def late(handovers: Iterable[str], poolers: Iterable[str]) -> bool:
    """Whether a hold stands that one of these does not obey yet. What cannot be read is late, too."""
    wanted = next((_read(one).get("id") for one in handovers), None)
    if wanted is None:
        return False
    words = [_read(one) for one in poolers]
    return any(word.get("state") != HELD or word.get("handover") != wanted for word in words)


def _read(text: str) -> Mapping[str, Any]:
    try:
        found: Any = json.loads(text)
    except ValueError:
        return {}
    return cast(Mapping[str, Any], found) if isinstance(found, dict) else {}


def words_of(members: Sequence[str], cluster: str) -> Words:
    """The keys as the first of these members of etcd (`address:port`) that answers has them."""
    ours = OURS.format(cluster=cluster)

    def words() -> tuple[Iterable[str], Iterable[str]]:
        error: EtcdUnanswered | None = None
        for member in members:
            try:
                handovers, poolers = values_below(
                    f"http://{member}", (ours + HANDOVER, ours + POOLER), ANSWER_S
                )
                return handovers.values(), poolers.values()
            except EtcdUnanswered as failure:
                error = failure
        raise error or EtcdUnanswered("no member is known")

    return words


def until_held(words: Words, sleep: Callable[[float], None], clock: Callable[[], float]) -> None:
    """Wait, LIMIT_S at most. Never raises: the stop goes on."""
    began_s = clock()
    try:
        while late(*words()):
            if clock() - began_s >= LIMIT_S:
                logger.warning("not every pooler holds after %s s", LIMIT_S)
                return
            sleep(LOOK_S)
    except EtcdUnanswered as error:
        logger.warning("the poolers are not waited for: %s", error)


def waits(members: Sequence[str], cluster: str) -> Callable[[], None]:
    """The wait for this cluster's poolers. `members`: of etcd, the one to ask first in front."""
    words = words_of(members, cluster)
    return lambda: until_held(words, time.sleep, time.monotonic)
