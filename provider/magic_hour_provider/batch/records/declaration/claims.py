"""Who may declare an intent, in storage that cannot create a file exclusively.

A worker writes a claim of its own unique name, lists, and continues only if its claim is alone; then it writes its
intent. A claim that others still rely on is never removed: only a worker that has stepped back removes its own.

Two workers never both declare one number. Say that both found their claim alone, and that B wrote its claim after A.
B's listing came after its own claim, so after A's; A's claim was still there, as A did not step back. So B's claim was
not alone. (Listings show at once what was written: that was proved before.)

Of several claims the one with the lowest nonce stays, and the others step back, so two do not step back for ever. A
claim whose worker was killed would stay for ever as well. So whoever has waited long enough writes ``void`` and lists
again. If there is no intent, the number is void and the next one is free: a worker that has found its claim alone, and
writes its intent only now, lists once more after that, finds ``void``, and withdraws (:mod:`.declarer`). Of two writes
that are each followed by a listing, one listing at least shows the other's. So this is right however slow a worker is;
the time only decides how soon a dead one's claim is passed over.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from magic_hour_provider import clock
from magic_hour_provider.batch.records.folder import RecordFolder, unlisted_error
from magic_hour_provider.batch.records.names import StepName, parse_names
from magic_hour_provider.ledger.record import RecordError

log = logging.getLogger(__name__)

PATIENCE_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 4.0


class TakenError(RecordError):
    """Another worker has declared an intent for this item, or its state has changed: nothing may be sent for it.

    :param key: of the item.
    :param what: what was found, as the end of a sentence.
    """

    def __init__(self, key: str, what: str) -> None:
        super().__init__(
            f"While this worker was on its way, another one took item {key!r}: {what}.",
            next_step="Its state has to be read again; a retry does so.",
        )


def claim_number(folder: RecordFolder, own: StepName) -> None:
    """Return when this worker's claim is alone, so that it may write the intent of this number.

    :param own: the claim; its nonce is used by nobody else.
    :raises TakenError: another worker has claimed or declared it, or the number is void.
    :raises RecordError: the storage does not answer; a claim that is left behind is passed over in time.
    """
    folder.write(own.path, b"")
    try:
        _wait_until_alone(folder, own)
    except BaseException:
        _step_back(folder, own)
        raise


def _wait_until_alone(folder: RecordFolder, own: StepName) -> None:
    end = clock.current().monotonic() + PATIENCE_S
    stays, pause = True, _FIRST_PAUSE_S
    while True:
        names = [name for name in parse_names(folder.list_item(own.key)) if name.number >= own.number]
        # An intent of the same nonce is its own: an error has hidden that it was written before.
        free = ("claim", "adopt", "regenerate")
        if taken := [name for name in names if name.step not in free and name != replace(own, step="intent")]:
            raise TakenError(own.key, f"there is {folder.locate(taken[0].path)}")
        claims = [name for name in names if name.number == own.number and name.step == "claim"]
        others = [name.nonce for name in claims if name != own]
        if stays and own not in claims:
            raise unlisted_error(folder, own.path)
        if not others:
            if stays:
                return
            raise TakenError(own.key, "it has claimed it before")
        if stays and min(others) < own.nonce:
            stays = False
            _step_back(folder, own)
        if clock.current().monotonic() >= end:
            folder.write(StepName(own.key, own.number, "void").path, b"")
            raise TakenError(own.key, "its claim is passed over, as it may have been killed")
        clock.current().sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _step_back(folder: RecordFolder, own: StepName) -> None:
    try:
        folder.remove(own.path)
    except RecordError as error:  # then it is passed over, as a dead worker's
        log.warning("%s", error.message)
