# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials that anybody can read in a public repository: they protect nothing. Pure; no input or output."""

from __future__ import annotations

from ansible_collections.openlsp.node.plugins.module_utils import _macaroon, _rpcauth

# Root keys by whose they are. Whoever has one makes an admin macaroon.
_ROOT_KEYS = {
    # bitcoin-dev-project/warnet: resources/charts/bitcoincore/charts/lnd/values.yaml, startupProbe, macaroon_root_key
    "Warnet": bytes(32),
    # lightningnetwork/lnd: itest/lnd_macaroons_test.go
    "LND's own tests": b"dummy_root_key",
}

# Published macaroons whose root key is not known, by their random nonce: every narrower copy of one has it too.
_NONCES = {
    # GaloyMoney/charts: dev/bitcoin/regtest/lnd1.admin.macaroon (and lnd1.macaroons.db); GaloyMoney/terraform-provider-bria: examples
    bytes.fromhex("07515d8466bdc687b07352c45e69d445"): "Galoy's development setup",
}

# Passwords of LND wallets, of bitcoind's RPC users and of Grafana, and whose default or example each is.
_PASSWORDS = {
    # getumbrel/umbrel-lightning: apps/backend/utils/const.js; getumbrel/umbrel-os#49
    "moneyprintergobrrr": "Umbrel",
    # bitcoin-dev-project/warnet: .../charts/lnd/values.yaml, wallet_password AAAAAAAAAAA=; resources/charts/bitcoincore/values.yaml
    "\0" * 8: "Warnet",
    "gn0cchi": "Warnet",
    # btcpayserver/lnd: docker-initunlocklnd.sh up to 0.21.2, and with a line break (btcpayserver/btcpayserver-docker#934)
    "hellorockstar": "BTCPay Server",
    # btcpayserver/btcpayserver: BTCPayServer/Controllers/UIServerController.cs, ExternalServiceTypes.RPC; its tests' docker-compose.yml
    "btcpayserver4ever": "BTCPay Server",
    "DwubwWsoo3": "BTCPay Server's tests",
    # GaloyMoney/charts: dev/bitcoin/main.tf, bitcoind_rpcpassword
    "rpcpassword": "Galoy's development setup",
    # bboerst/bitcoin-helm-charts: charts/lnd/values.yaml, autoUnlockPassword; Ride-The-Lightning/RTL#1431
    "password": "many charts and guides",
    # lsdcapital/helm-charts: charts/lnd/README.md, config.walletpass
    "changeme": "lsdcapital's chart",
    # imaginator/kube-bitcoin-stack: deployments/lnd/lnd-pass-secret.yaml (also the example of Kubernetes' guide to Secrets)
    "1f2d1e2e67df": "kube-bitcoin-stack",
    # imaginator/kube-bitcoin-stack: deployments/bitcoind/secrets.yaml
    "PylCPVdKqEpQjARmKfIRSoin": "kube-bitcoin-stack",
    # raspiblitz/raspiblitz#1122; an operator's first password there, for everything
    "raspiblitz": "RaspiBlitz",
    # mynodebtc/mynode#766; too short for LND, not for bitcoind
    "bolt": "myNode",
    # jamaljsr/polar: src/utils/constants.ts, bitcoinCredentials
    "polarpass": "Polar",
    # lnbits/legend-regtest-enviroment: docker-compose.yml
    "lnbits": "LNbits's regtest setup",
    # prometheus-community/helm-charts: kube-prometheus-stack, grafana.adminPassword
    "prom-operator": "kube-prometheus-stack and MicroK8s' add-on observability",
    # grafana/grafana: conf/defaults.ini, admin_password
    "admin": "Grafana",
    # bitcoin/bitcoin: share/examples/bitcoin.conf, before that contrib/debian/examples/bitcoin.conf
    "YourSuperGreatPasswordNumber_DO_NOT_USE_THIS_OR_YOU_WILL_GET_ROBBED_385593": "Bitcoin Core's example configuration",
    "DONT_USE_THIS_YOU_WILL_GET_ROBBED_8ak1gI25KFTvjovL3gAM967mies3E=": "Bitcoin Core's example configuration",
    # bitcoin/bitcoin: test/functional/rpc_users.py
    "cA773lm788buwYe4g4WT+05pKyNruVKjQ25x3n0DQcM=": "Bitcoin Core's tests",
    "8/F3uMDw4KSEbw96U3CA1C4X05dkHDN2BPFjTgZW4KI=": "Bitcoin Core's tests",
    # ruimarinho/docker-bitcoin-core: README.md
    "qDDZdeQ5vw9XXFeVnXT4PZ--tGN2xNjjR4nrtyszZx0=": "the guide to a Docker image of Bitcoin Core",
    # LNP-BP/docker: README.md; bitcoin/bitcoin: test/functional/rpc_users.py
    "bitcoin": "many setups with Docker",
}

# The example of a salted password in Bitcoin Core's bitcoin.conf; it is not that of the password beside it.
_SALTED = {"f7efda5c189b999524f151318c0c86$d5b51b3beffbc02b724e5d095828e0bc8b2456e9ac8757ae3211a5d9b16a22ae": "Bitcoin Core's example configuration"}


def weak_root_key(macaroon: _macaroon.Macaroon) -> str | None:
    """Whose published root key made the macaroon, or whose published macaroon it comes from; None for one that nobody knows."""
    for whose, key in _ROOT_KEYS.items():
        if _macaroon.signed_with(macaroon, key):
            return whose
    return _NONCES.get(macaroon.nonce)


def weak_password(password: str) -> str | None:
    """Whose published default the password is, line breaks at its end aside; None for one that nobody knows."""
    return _PASSWORDS.get(password.rstrip("\r\n"))


def weak_rpcauth(line: str) -> str | None:
    """Whose published default hides in a line of bitcoind's ``rpcauth``; None for another password, and for what is no such line."""
    user, _colon, salted = line.partition(":")
    salt = salted.partition("$")[0]
    try:
        return _SALTED.get(salted) or next(
            (whose for password, whose in _PASSWORDS.items() if _rpcauth.rpcauth(user, password, salt) == line), None)
    except ValueError:  # No user or no salt: bitcoind will say so.
        return None
