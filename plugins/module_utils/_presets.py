# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs that people run beside LND may call: the least that each one needs. Pure data."""

from __future__ import annotations

from ansible_collections.openlsp.node.plugins.module_utils._macaroon import Permission


def _calls(service: str, *methods: str) -> frozenset[Permission]:
    """``_calls("lnrpc.Lightning", "GetInfo")`` allows this one call, as gRPC and as REST."""
    return frozenset(Permission("uri", f"/{service}/{method}") for method in methods)


# Calls, never pairs: offchain:write, which a payment needs, also abandons channels, restores backups, changes fees and deletes
# the records of payments. LND lets a call pass when the macaroon holds its address, however many pairs it asks for otherwise
# (CheckMacAuth in lnd/macaroons/service.go; lnd/rpcperms/interceptor.go asks the same way for unary and streaming calls).
# LND refuses to bake an address that it does not know, so every one here is in 0.20.1 and in 0.21.3: lnrpc's SendPaymentSync
# and its kin, which older releases of the programs called, left LND in 0.21.0 (its release notes).

# lndmon of lightninglabs, v0.2 (read at c1159c65): lndmon.go and the chain, channels, graph, htlcs, info, payments, peer, wallet
# and wt_client collectors; lndclient, its library, asks for GetVersion first. lndmon ends at the first refusal, so even the
# collector with the least to say (ListAccounts: extended public keys, no private ones) must be allowed.
# FeeReport and ForwardingHistory are not lndmon's: what the node earns. Not ListInvoices: it shows the preimages of invoices
# that are not paid yet, which are worth their amount to a node on the way.
_MONITORING = _calls(
    "lnrpc.Lightning",
    "ChannelBalance", "ClosedChannels", "DescribeGraph", "FeeReport", "ForwardingHistory", "GetInfo", "GetNetworkInfo",
    "GetNodeInfo", "GetTransactions", "ListChannels", "ListPeers", "ListUnspent", "PendingChannels", "WalletBalance",
) | _calls(
    "routerrpc.Router", "SubscribeHtlcEvents", "TrackPayments",
) | _calls(
    "verrpc.Versioner", "GetVersion",
) | _calls(
    "walletrpc.WalletKit", "ListAccounts", "ListUnspent",
) | _calls(
    "wtclientrpc.WatchtowerClient", "ListTowers",
)

# The exporter of the role observability (roles/observability/files/exporter.py): what its LND_CALLS say. Less than `monitoring`, which
# shows every payment and the whole graph. VerifyChanBackup and ExportAllChannelBackups tell whether a copy of the backup is whole.
_EXPORTER = _calls(
    "lnrpc.Lightning",
    "ExportAllChannelBackups", "ForwardingHistory", "GetInfo", "ListChannels", "PendingChannels", "VerifyChanBackup", "WalletBalance",
)

# Static channel backups: docs/recovery.md of LND. Fetched, followed and checked; restoring one closes every channel.
_BACKUP = _calls("lnrpc.Lightning", "ExportAllChannelBackups", "SubscribeChannelBackups", "VerifyChanBackup")

# Ride The Lightning 0.15.8-beta (read up to 04a63715): server/controllers/lnd/*.ts and getAllNodeAllChannelBackup in server/utils/common.ts.
# Unlocking and creating a wallet need no macaroon. Without RestoreChannelBackups: see docs/credentials.md.
_RTL = _calls(
    "lnrpc.Lightning",
    "AddInvoice", "ClosedChannels", "CloseChannel", "ConnectPeer", "DecodePayReq", "DescribeGraph", "DisconnectPeer",
    "ExportAllChannelBackups", "ExportChannelBackup", "FeeReport", "ForwardingHistory", "GetChanInfo", "GetInfo",
    "GetNetworkInfo", "GetNodeInfo", "GetTransactions", "ListChannels", "ListInvoices", "ListPayments", "ListPeers",
    "NewAddress", "OpenChannelSync", "PendingChannels", "QueryRoutes", "SendCoins", "SignMessage", "UpdateChannelPolicy",
    "VerifyChanBackup", "VerifyMessage", "WalletBalance",
) | _calls(
    "invoicesrpc.Invoices", "LookupInvoiceV2", "SubscribeSingleInvoice",
) | _calls(
    "routerrpc.Router", "SendPaymentV2", "TrackPaymentV2",
) | _calls(
    "walletrpc.WalletKit", "BumpFee", "LabelTransaction", "LeaseOutput", "ListUnspent", "ReleaseOutput",
)

# ThunderHub (read at 00b84ba1): src/server/modules/node/lightning.types.ts, node/lnd/lnd.service.ts and sub/sub.service.ts. They
# call the npm package "lightning", whose lnd_methods/macaroon/methods.json (11.1.0) says which of LND's calls each function makes.
# Without BakeMacaroon, ListMacaroonIDs, DeriveSharedKey, RestoreChannelBackups and DeletePayment: see docs/credentials.md.
_THUNDERHUB = _calls(
    "lnrpc.Lightning",
    "AddInvoice", "ChannelBalance", "ClosedChannels", "CloseChannel", "ConnectPeer", "DecodePayReq", "DisconnectPeer",
    "ExportAllChannelBackups", "ForwardingHistory", "GetChanInfo", "GetInfo", "GetNetworkInfo", "GetNodeInfo",
    "GetTransactions", "ListChannels", "ListInvoices", "ListPayments", "ListPeers", "ListUnspent", "LookupInvoice",
    "NewAddress", "OpenChannel", "PendingChannels", "QueryRoutes", "SendCoins", "SignMessage", "SubscribeChannelBackups",
    "SubscribeChannelEvents", "SubscribeInvoices", "UpdateChannelPolicy", "VerifyChanBackup", "VerifyMessage", "WalletBalance",
) | _calls(
    "chainrpc.ChainNotifier", "RegisterBlockEpochNtfn",
) | _calls(
    "invoicesrpc.Invoices", "SubscribeSingleInvoice",
) | _calls(
    "routerrpc.Router", "SendPaymentV2", "SendToRouteV2", "SubscribeHtlcEvents", "TrackPaymentV2",
) | _calls(
    "verrpc.Versioner", "GetVersion",
)

# BTCPay Server takes payments: the FAQ of btcpayserver-doc ("Which macaroon needs to be provided for external nodes?") bakes one
# that makes and sees invoices and cannot pay, and btcpayserver#5567 made sure that such a one will do. The calls are those of
# BTCPayServer.Lightning (read at 0055736b), src/BTCPayServer.Lightning.LND/LndClient.cs, that invoices and the balance on
# the dashboard need.
_BTCPAY = _calls(
    "lnrpc.Lightning",
    "AddInvoice", "ChannelBalance", "GetInfo", "ListInvoices", "LookupInvoice", "PendingChannels", "SubscribeInvoices",
    "WalletBalance",
) | _calls(
    "invoicesrpc.Invoices", "CancelInvoice",
)

# LNbits 1.6.2: lnbits/wallets/lndrest.py and lndgrpc.py, whichever is configured. Its page "Node" (lnbits/nodes/lndrest.py)
# manages channels and peers and stays without effect.
_LNBITS = _calls(
    "lnrpc.Lightning", "AddInvoice", "ChannelBalance", "LookupInvoice", "SubscribeInvoices",
) | _calls(
    "invoicesrpc.Invoices", "AddHoldInvoice", "CancelInvoice", "LookupInvoiceV2", "SettleInvoice",
) | _calls(
    "routerrpc.Router", "SendPaymentV2", "TrackPaymentV2",
)

PRESETS: dict[str, frozenset[Permission]] = {
    "monitoring": _MONITORING,
    "exporter": _EXPORTER,
    "backup": _BACKUP,
    "rtl": _RTL,
    "thunderhub": _THUNDERHUB,
    "btcpay": _BTCPAY,
    "lnbits": _LNBITS,
}
