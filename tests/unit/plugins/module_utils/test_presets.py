"""What no preset may hold, whichever program it is for. That LND agrees is asked in molecule/default/tests/test_presets.py."""

from __future__ import annotations

import re

import pytest
from ansible_collections.openlsp.node.plugins.module_utils._presets import PRESETS

# Each of them is as good as the admin macaroon, stops the node or closes its channels.
NEVER = (
    "lnrpc.Lightning/AbandonChannel lnrpc.Lightning/BakeMacaroon lnrpc.Lightning/DeleteMacaroonID lnrpc.Lightning/RegisterRPCMiddleware "
    "lnrpc.Lightning/RestoreChannelBackups lnrpc.Lightning/StopDaemon lnrpc.WalletUnlocker/ChangePassword"
).split()

MOVES_MONEY = re.compile(r"(Send|OpenChannel|CloseChannel|Publish|Finalize|FundPsbt|SignPsbt|BumpFee)")

every_preset = pytest.mark.parametrize("preset", PRESETS)


def calls(preset):
    return {permission.action.removeprefix("/") for permission in PRESETS[preset]}


def test_the_presets_are_those_that_the_inventory_may_name():
    assert list(PRESETS) == ["monitoring", "exporter", "backup", "rtl", "thunderhub", "btcpay", "lnbits"]


@every_preset
def test_a_preset_allows_calls_by_their_address_and_no_pair_that_opens_more(preset):
    assert all(permission.entity == "uri" and re.fullmatch(r"/[a-z]+\.[A-Za-z]+/[A-Za-z0-9]+", permission.action)
               for permission in PRESETS[preset])


@every_preset
def test_a_preset_never_bakes_macaroons_signs_with_keys_or_stops_the_node(preset):
    assert not calls(preset) & set(NEVER)
    assert not [call for call in calls(preset) if call.startswith("signrpc.")]


@pytest.mark.parametrize("preset", ["monitoring", "exporter", "backup", "btcpay"])
def test_who_watches_or_takes_payments_cannot_spend(preset):
    assert not [call for call in calls(preset) if MOVES_MONEY.match(call.split("/")[1])]


@pytest.mark.parametrize("preset", ["monitoring", "exporter"])
def test_who_watches_sees_no_preimage_of_an_invoice_that_is_not_paid(preset):
    assert not [call for call in calls(preset) if "Invoice" in call]
