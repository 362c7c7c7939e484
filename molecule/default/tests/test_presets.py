"""Each preset against the running LND: its program may make every call it needs, and is refused all others."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _lnd, _pod, _secret
from ansible_collections.openlsp.node.plugins.module_utils._macaroon import Permission
from ansible_collections.openlsp.node.plugins.module_utils._presets import PRESETS

# The generator of secp256k1: a valid public key of which no node answers. A transaction and a payment that do not exist.
NOBODY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
NO_TRANSACTION = "5b" * 32
NO_PAYMENT = bytes(range(200, 232))
HASH_BASE64 = base64.b64encode(NO_PAYMENT).decode()
HASH_URL = base64.urlsafe_b64encode(NO_PAYMENT).decode()
NOBODY_BASE64 = base64.b64encode(bytes.fromhex(NOBODY)).decode()

# How each call is made as REST (lnrpc/*.yaml of LND). The arguments leave alice as she is even where the call is allowed: an
# invoice or an address at most, and an argument that the call refuses where it would do more.
CALLS: dict[str, tuple] = {
    "lnrpc.Lightning/AbandonChannel": ("DELETE", f"/v1/channels/abandon/{NO_TRANSACTION}/0"),
    "lnrpc.Lightning/AddInvoice": ("POST", "/v1/invoices", {"value": "1", "expiry": "60"}),
    "lnrpc.Lightning/BakeMacaroon": ("POST", "/v1/macaroon", {}),
    "lnrpc.Lightning/BatchOpenChannel": ("POST", "/v1/channels/batch", {}),
    "lnrpc.Lightning/ChannelBalance": ("GET", "/v1/balance/channels"),
    "lnrpc.Lightning/CheckMacaroonPermissions": ("POST", "/v1/macaroon/checkpermissions", {}),
    "lnrpc.Lightning/CloseChannel": ("DELETE", f"/v1/channels/{NO_TRANSACTION}/0"),
    "lnrpc.Lightning/ClosedChannels": ("GET", "/v1/channels/closed"),
    "lnrpc.Lightning/ConnectPeer": ("POST", "/v1/peers", {"addr": {"pubkey": "none", "host": "none"}}),
    "lnrpc.Lightning/DebugLevel": ("POST", "/v1/debuglevel", {"show": True}),
    "lnrpc.Lightning/DecodePayReq": ("GET", "/v1/payreq/lnbcrt1"),
    "lnrpc.Lightning/DeleteAllPayments": ("DELETE", "/v1/payments"),
    "lnrpc.Lightning/DeleteMacaroonID": ("DELETE", "/v1/macaroon/4711"),
    "lnrpc.Lightning/DeletePayment": ("DELETE", "/v1/payment"),
    "lnrpc.Lightning/DescribeGraph": ("GET", "/v1/graph"),
    "lnrpc.Lightning/DisconnectPeer": ("DELETE", f"/v1/peers/{NOBODY}"),
    "lnrpc.Lightning/ExportAllChannelBackups": ("GET", "/v1/channels/backup"),
    "lnrpc.Lightning/ExportChannelBackup": ("GET", f"/v1/channels/backup/{NO_TRANSACTION}/0"),
    "lnrpc.Lightning/FeeReport": ("GET", "/v1/fees"),
    "lnrpc.Lightning/ForwardingHistory": ("POST", "/v1/switch", {}),
    "lnrpc.Lightning/GetChanInfo": ("GET", "/v1/graph/edge/1"),
    "lnrpc.Lightning/GetDebugInfo": ("GET", "/v1/getdebuginfo"),
    "lnrpc.Lightning/GetInfo": ("GET", "/v1/getinfo"),
    "lnrpc.Lightning/GetNetworkInfo": ("GET", "/v1/graph/info"),
    "lnrpc.Lightning/GetNodeInfo": ("GET", f"/v1/graph/node/{NOBODY}"),
    "lnrpc.Lightning/GetTransactions": ("GET", "/v1/transactions"),
    "lnrpc.Lightning/ListChannels": ("GET", "/v1/channels"),
    "lnrpc.Lightning/ListInvoices": ("GET", "/v1/invoices?num_max_invoices=1"),
    "lnrpc.Lightning/ListMacaroonIDs": ("GET", "/v1/macaroon/ids"),
    "lnrpc.Lightning/ListPayments": ("GET", "/v1/payments?max_payments=1"),
    "lnrpc.Lightning/ListPeers": ("GET", "/v1/peers"),
    "lnrpc.Lightning/ListPermissions": ("GET", "/v1/macaroon/permissions"),
    "lnrpc.Lightning/ListUnspent": ("GET", "/v1/utxos"),
    "lnrpc.Lightning/LookupInvoice": ("GET", f"/v1/invoice/{NO_PAYMENT.hex()}"),
    "lnrpc.Lightning/NewAddress": ("GET", "/v1/newaddress"),
    "lnrpc.Lightning/OpenChannel": ("POST", "/v1/channels/stream", {"node_pubkey": NOBODY_BASE64, "local_funding_amount": "1"}),
    "lnrpc.Lightning/OpenChannelSync": ("POST", "/v1/channels", {"node_pubkey_string": NOBODY, "local_funding_amount": "1"}),
    "lnrpc.Lightning/PendingChannels": ("GET", "/v1/channels/pending"),
    "lnrpc.Lightning/QueryRoutes": ("GET", f"/v1/graph/routes/{NOBODY}/1"),
    "lnrpc.Lightning/RestoreChannelBackups": ("POST", "/v1/channels/backup/restore", {}),
    "lnrpc.Lightning/SendCoins": ("POST", "/v1/transactions", {"addr": "no address", "amount": "1"}),
    "lnrpc.Lightning/SendMany": ("POST", "/v1/transactions/many", {"AddrToAmount": {"no address": "1"}}),
    "lnrpc.Lightning/SignMessage": ("POST", "/v1/signmessage", {"msg": "b3BlbmxzcA=="}),
    "lnrpc.Lightning/SubscribeChannelBackups": ("GET", "/v1/channels/backup/subscribe"),
    "lnrpc.Lightning/SubscribeChannelEvents": ("GET", "/v1/channels/subscribe"),
    "lnrpc.Lightning/SubscribeInvoices": ("GET", "/v1/invoices/subscribe"),
    "lnrpc.Lightning/SubscribeTransactions": ("GET", "/v1/transactions/subscribe"),
    "lnrpc.Lightning/UpdateChannelPolicy": ("POST", "/v1/chanpolicy", {}),
    "lnrpc.Lightning/VerifyChanBackup": ("POST", "/v1/channels/backup/verify", {}),
    "lnrpc.Lightning/VerifyMessage": ("POST", "/v1/verifymessage", {"msg": "b3BlbmxzcA==", "signature": "none"}),
    "lnrpc.Lightning/WalletBalance": ("GET", "/v1/balance/blockchain"),
    "chainrpc.ChainNotifier/RegisterBlockEpochNtfn": ("POST", "/v2/chainnotifier/register/blocks", {}),
    "invoicesrpc.Invoices/AddHoldInvoice": ("POST", "/v2/invoices/hodl", {"hash": HASH_BASE64, "value": "1", "expiry": "60"}),
    "invoicesrpc.Invoices/CancelInvoice": ("POST", "/v2/invoices/cancel", {"payment_hash": HASH_BASE64}),
    "invoicesrpc.Invoices/LookupInvoiceV2": ("GET", f"/v2/invoices/lookup?payment_hash={HASH_URL}"),
    "invoicesrpc.Invoices/SettleInvoice": ("POST", "/v2/invoices/settle", {"preimage": HASH_BASE64}),
    "invoicesrpc.Invoices/SubscribeSingleInvoice": ("GET", f"/v2/invoices/subscribe/{HASH_URL}"),
    "peersrpc.Peers/UpdateNodeAnnouncement": ("POST", "/v2/peers/nodeannouncement", {}),
    "routerrpc.Router/SendPaymentV2": ("POST", "/v2/router/send", {"payment_request": "lnbcrt1", "timeout_seconds": 1}),
    "routerrpc.Router/SendToRouteV2": ("POST", "/v2/router/route/send", {}),
    "routerrpc.Router/SubscribeHtlcEvents": ("GET", "/v2/router/htlcevents"),
    "routerrpc.Router/TrackPayments": ("GET", "/v2/router/payments"),
    "routerrpc.Router/TrackPaymentV2": ("GET", f"/v2/router/track/{HASH_URL}"),
    "signrpc.Signer/DeriveSharedKey": ("POST", "/v2/signer/sharedkey", {"ephemeral_pubkey": NOBODY_BASE64}),
    "signrpc.Signer/SignMessage": ("POST", "/v2/signer/signmessage", {"msg": "b3BlbmxzcA==", "key_loc": {"key_family": 6}}),
    "signrpc.Signer/SignOutputRaw": ("POST", "/v2/signer/signraw", {}),
    "verrpc.Versioner/GetVersion": ("GET", "/v2/versioner/version"),
    "walletrpc.WalletKit/BumpFee": ("POST", "/v2/wallet/bumpfee", {}),
    "walletrpc.WalletKit/DeriveNextKey": ("POST", "/v2/wallet/key/next", {}),
    "walletrpc.WalletKit/FinalizePsbt": ("POST", "/v2/wallet/psbt/finalize", {}),
    "walletrpc.WalletKit/FundPsbt": ("POST", "/v2/wallet/psbt/fund", {}),
    "walletrpc.WalletKit/LabelTransaction": ("POST", "/v2/wallet/tx/label", {}),
    "walletrpc.WalletKit/LeaseOutput": ("POST", "/v2/wallet/utxos/lease", {}),
    "walletrpc.WalletKit/ListAccounts": ("GET", "/v2/wallet/accounts"),
    "walletrpc.WalletKit/ListUnspent": ("POST", "/v2/wallet/utxos", {}),
    "walletrpc.WalletKit/NextAddr": ("POST", "/v2/wallet/address/next", {}),
    "walletrpc.WalletKit/PublishTransaction": ("POST", "/v2/wallet/tx", {}),
    "walletrpc.WalletKit/ReleaseOutput": ("POST", "/v2/wallet/utxos/release", {}),
    "walletrpc.WalletKit/SendOutputs": ("POST", "/v2/wallet/send", {}),
    "wtclientrpc.WatchtowerClient/AddTower": ("POST", "/v2/watchtower/client", {}),
    "wtclientrpc.WatchtowerClient/ListTowers": ("GET", "/v2/watchtower/client"),
}

# LND refuses these at once too; where it does not, the streams answer when something happens, and an invoice waits for a chain
# that has a block (LND starts its invoices after it).
PATIENT = {call for call in CALLS if "/Subscribe" in call} | {
    "routerrpc.Router/TrackPayments", "chainrpc.ChainNotifier/RegisterBlockEpochNtfn",
    "lnrpc.Lightning/AddInvoice", "invoicesrpc.Invoices/AddHoldInvoice"}
# Seconds. An allowed one costs the test this long; a refusal that is expected may take longer on a busy machine.
SHORT, LONG = 0.5, 20

# What each program calls, by its pages and jobs, read in its source (the comments in _presets.py say where).
NEEDS = {
    "monitoring": {
        "start": "lnrpc.Lightning/GetInfo verrpc.Versioner/GetVersion",
        "channels": "lnrpc.Lightning/ChannelBalance lnrpc.Lightning/ListChannels lnrpc.Lightning/PendingChannels "
                    "lnrpc.Lightning/ClosedChannels lnrpc.Lightning/GetNodeInfo",
        "wallet": "lnrpc.Lightning/WalletBalance walletrpc.WalletKit/ListUnspent walletrpc.WalletKit/ListAccounts "
                  "lnrpc.Lightning/ListUnspent lnrpc.Lightning/GetTransactions",
        "graph and peers": "lnrpc.Lightning/DescribeGraph lnrpc.Lightning/GetNetworkInfo lnrpc.Lightning/ListPeers",
        "payments and towers": "routerrpc.Router/SubscribeHtlcEvents routerrpc.Router/TrackPayments wtclientrpc.WatchtowerClient/ListTowers",
        "earnings": "lnrpc.Lightning/FeeReport lnrpc.Lightning/ForwardingHistory",
    },
    "exporter": {
        "every scrape": "lnrpc.Lightning/GetInfo lnrpc.Lightning/ListChannels lnrpc.Lightning/PendingChannels lnrpc.Lightning/WalletBalance "
                        "lnrpc.Lightning/ForwardingHistory lnrpc.Lightning/ExportAllChannelBackups lnrpc.Lightning/VerifyChanBackup",
    },
    "backup": {
        "backup": "lnrpc.Lightning/ExportAllChannelBackups lnrpc.Lightning/SubscribeChannelBackups lnrpc.Lightning/VerifyChanBackup",
    },
    "rtl": {
        "dashboard": "lnrpc.Lightning/GetInfo lnrpc.Lightning/WalletBalance lnrpc.Lightning/FeeReport lnrpc.Lightning/ForwardingHistory",
        "on-chain": "lnrpc.Lightning/NewAddress lnrpc.Lightning/SendCoins lnrpc.Lightning/GetTransactions walletrpc.WalletKit/ListUnspent "
                    "walletrpc.WalletKit/BumpFee walletrpc.WalletKit/LabelTransaction walletrpc.WalletKit/LeaseOutput "
                    "walletrpc.WalletKit/ReleaseOutput",
        "peers and channels": "lnrpc.Lightning/ListPeers lnrpc.Lightning/ConnectPeer lnrpc.Lightning/DisconnectPeer "
                              "lnrpc.Lightning/ListChannels lnrpc.Lightning/PendingChannels lnrpc.Lightning/ClosedChannels "
                              "lnrpc.Lightning/OpenChannelSync lnrpc.Lightning/CloseChannel lnrpc.Lightning/UpdateChannelPolicy",
        "transactions": "lnrpc.Lightning/AddInvoice lnrpc.Lightning/ListInvoices invoicesrpc.Invoices/LookupInvoiceV2 "
                        "invoicesrpc.Invoices/SubscribeSingleInvoice lnrpc.Lightning/DecodePayReq lnrpc.Lightning/ListPayments "
                        "routerrpc.Router/SendPaymentV2 routerrpc.Router/TrackPaymentV2",
        "graph": "lnrpc.Lightning/DescribeGraph lnrpc.Lightning/GetNetworkInfo lnrpc.Lightning/GetNodeInfo lnrpc.Lightning/GetChanInfo "
                 "lnrpc.Lightning/QueryRoutes",
        "sign and verify": "lnrpc.Lightning/SignMessage lnrpc.Lightning/VerifyMessage",
        "backup": "lnrpc.Lightning/ExportAllChannelBackups lnrpc.Lightning/ExportChannelBackup lnrpc.Lightning/VerifyChanBackup",
    },
    "thunderhub": {
        "home": "lnrpc.Lightning/GetInfo verrpc.Versioner/GetVersion lnrpc.Lightning/GetNetworkInfo lnrpc.Lightning/GetNodeInfo "
                "lnrpc.Lightning/ChannelBalance lnrpc.Lightning/WalletBalance lnrpc.Lightning/ForwardingHistory "
                "chainrpc.ChainNotifier/RegisterBlockEpochNtfn",
        "events": "lnrpc.Lightning/SubscribeChannelBackups lnrpc.Lightning/SubscribeChannelEvents lnrpc.Lightning/SubscribeInvoices "
                  "invoicesrpc.Invoices/SubscribeSingleInvoice routerrpc.Router/SubscribeHtlcEvents",
        "peers and channels": "lnrpc.Lightning/ListPeers lnrpc.Lightning/ConnectPeer lnrpc.Lightning/DisconnectPeer "
                              "lnrpc.Lightning/ListChannels lnrpc.Lightning/PendingChannels lnrpc.Lightning/ClosedChannels "
                              "lnrpc.Lightning/GetChanInfo lnrpc.Lightning/OpenChannel lnrpc.Lightning/CloseChannel "
                              "lnrpc.Lightning/UpdateChannelPolicy",
        "transactions": "lnrpc.Lightning/AddInvoice lnrpc.Lightning/LookupInvoice lnrpc.Lightning/ListInvoices "
                        "lnrpc.Lightning/DecodePayReq lnrpc.Lightning/ListPayments routerrpc.Router/SendPaymentV2 "
                        "routerrpc.Router/TrackPaymentV2",
        "rebalance": "lnrpc.Lightning/QueryRoutes routerrpc.Router/SendToRouteV2",
        "chain": "lnrpc.Lightning/NewAddress lnrpc.Lightning/SendCoins lnrpc.Lightning/GetTransactions lnrpc.Lightning/ListUnspent",
        "tools": "lnrpc.Lightning/SignMessage lnrpc.Lightning/VerifyMessage lnrpc.Lightning/ExportAllChannelBackups "
                 "lnrpc.Lightning/VerifyChanBackup",
    },
    "btcpay": {
        "connection": "lnrpc.Lightning/GetInfo",
        "invoices": "lnrpc.Lightning/AddInvoice lnrpc.Lightning/LookupInvoice lnrpc.Lightning/ListInvoices "
                    "lnrpc.Lightning/SubscribeInvoices invoicesrpc.Invoices/CancelInvoice",
        "dashboard": "lnrpc.Lightning/WalletBalance lnrpc.Lightning/ChannelBalance lnrpc.Lightning/PendingChannels",
    },
    "lnbits": {
        "balance": "lnrpc.Lightning/ChannelBalance",
        "invoices": "lnrpc.Lightning/AddInvoice lnrpc.Lightning/LookupInvoice invoicesrpc.Invoices/LookupInvoiceV2 "
                    "lnrpc.Lightning/SubscribeInvoices invoicesrpc.Invoices/AddHoldInvoice invoicesrpc.Invoices/SettleInvoice "
                    "invoicesrpc.Invoices/CancelInvoice",
        "payments": "routerrpc.Router/SendPaymentV2 routerrpc.Router/TrackPaymentV2",
    },
}

# Root key ids by hand: the collection's own have 16 digits.
ROOT_KEY_IDS = {preset: 55001 + index for index, preset in enumerate(PRESETS)}

every_preset = pytest.mark.parametrize("preset", PRESETS)


class Alice:
    """alice's LND over connections that stay open."""

    def __init__(self, cluster) -> None:
        found = _secret.read_all(cluster, "alice")
        self.admin = found["lnd-admin"].data["macaroon"]
        self._connect = lambda: _pod.forward(cluster, "alice", "lnd-0", _lnd.REST_PORT)
        self._certificate = found["lnd-tls"].data["cert"]
        self._kept = _lnd.Lnd(self._connect, self._certificate)

    def close(self) -> None:
        self._kept.close()

    def as_admin(self, method: str, path: str, body: dict | None = None) -> dict:
        return self._kept.call(method, path, body, self.admin)

    def refused(self, macaroon: bytes, calls: set[str], patience: float) -> set[str]:
        """Which of these calls LND does not let this macaroon make."""
        with ThreadPoolExecutor(max_workers=8) as waiting:
            answers = {call: waiting.submit(self._refuses_alone, macaroon, call, patience) for call in calls & PATIENT}
            refused = {call for call in calls - PATIENT if self._refuses(self._kept, macaroon, call)}
            return refused | {call for call, answer in answers.items() if answer.result()}

    def _refuses_alone(self, macaroon: bytes, call: str, patience: float) -> bool:
        """Over a connection of its own, on which LND's permission is waited for, and an event is not."""
        with _lnd.Lnd(self._connect, self._certificate) as client:
            return self._refuses(client, macaroon, call, patience)

    @staticmethod
    def _refuses(client: _lnd.Lnd, macaroon: bytes, call: str, patience: float | None = None) -> bool:
        method, path, *body = CALLS[call]
        try:
            client.call(method, path, *body, macaroon=macaroon, timeout=patience)
        except _lnd.LndError as error:
            waits = call in PATIENT and isinstance(error.__cause__, TimeoutError)
            assert error.code is not None or waits, f"{call}: no answer is neither leave nor refusal: {error}"
            return str(error) == "permission denied"
        return False

    def may(self, macaroon: bytes, call: str) -> bool:
        """What LND says of a call that is not made."""
        question = {"macaroon": base64.b64encode(macaroon).decode(), "fullMethod": f"/{call}", "check_default_perms_from_full_method": True}
        try:
            return self.as_admin("POST", "/v1/macaroon/checkpermissions", question)["valid"]
        except _lnd.LndError as error:
            assert str(error) == "permission denied", f"{call}: {error}"
            return False


@pytest.fixture(scope="module")
def alice(cluster) -> Iterator[Alice]:
    node = Alice(cluster)
    yield node
    node.close()


@pytest.fixture(scope="module")
def macaroons(alice) -> Iterator[dict[str, bytes]]:
    """The macaroon of a program with each preset."""
    try:
        yield {preset: bake(alice, permissions, ROOT_KEY_IDS[preset]) for preset, permissions in PRESETS.items()}
    finally:
        for root_key_id in set(alice.as_admin("GET", "/v1/macaroon/ids")["root_key_ids"]) & set(map(str, ROOT_KEY_IDS.values())):
            alice.as_admin("DELETE", f"/v1/macaroon/{root_key_id}")


def bake(alice: Alice, permissions: Iterable[Permission], root_key_id: int) -> bytes:
    order = {"permissions": [{"entity": each.entity, "action": each.action} for each in permissions], "root_key_id": str(root_key_id)}
    return bytes.fromhex(alice.as_admin("POST", "/v1/macaroon", order)["macaroon"])


def needed(preset: str) -> set[str]:
    return set(" ".join(NEEDS[preset].values()).split())


@every_preset
def test_a_program_may_make_every_call_it_needs(alice, macaroons, preset):
    assert alice.refused(macaroons[preset], needed(preset), SHORT) == set()


@every_preset
def test_a_program_is_refused_every_call_it_does_not_need(alice, macaroons, preset):
    forbidden = set(CALLS) - needed(preset)
    assert len(forbidden) >= 10
    assert alice.refused(macaroons[preset], forbidden, LONG) == forbidden


@every_preset
def test_a_preset_opens_no_further_call_of_all_that_lnd_has(alice, macaroons, preset):
    every_call = [method.removeprefix("/") for method in alice.as_admin("GET", "/v1/macaroon/permissions")["method_permissions"]]
    assert {call for call in every_call if alice.may(macaroons[preset], call)} == needed(preset)


def test_every_call_of_the_table_reaches_lnds_check():
    """A path that LND does not have, or arguments that its gateway cannot read, would be no refusal and so count as allowed."""
    always = set(CALLS).intersection(*(needed(preset) for preset in PRESETS))
    assert not always, "each call must be refused to one preset at least, which shows that it arrives"
