"""What a play learns of the Secrets that were published."""

from __future__ import annotations

from ansible_collections.openlsp.node.plugins.module_utils._secret import Change, Secret, digest
from ansible_collections.openlsp.node.plugins.modules.lnd_macaroon_secret import published


def test_a_macaroon_is_described_by_its_permissions(bake):
    value = bake("invoices:write", "invoices:read")
    assert published(Change("update", Secret("lnd-invoices", {"macaroon": value}), None)) == {
        "name": "lnd-invoices", "action": "update", "digest": digest(value), "permissions": ["invoices:read", "invoices:write"]}


def test_a_certificate_permits_nothing():
    assert published(Change("keep", Secret("lnd-tls", {"cert": b"PEM"}), None))["permissions"] == []


def test_the_result_does_not_give_the_macaroon_away(bake, shows):
    value = bake("onchain:write", "offchain:write")
    assert not shows(published(Change("create", Secret("lnd-admin", {"macaroon": value}), None)), value)
