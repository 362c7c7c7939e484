#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lnd_wallet
short_description: Bring LND's wallet into existence and leave its seed with the operator
version_added: 0.1.0
description:
  - Waits for LND, creates its wallet where there is none, and waits until LND takes calls.
  - The order is fixed - LND generates the seed, seed and password are written to an Ansible Vault encrypted file on the controller and read back,
    and only then is the wallet created. Interrupted anywhere, the next run uses the seed in that file, so that the operator always has the seed of
    the wallet that exists.
  - The seed passes from LND to the encrypted file inside of one process on the controller. It is in no result, log, temporary file, argument or Secret.
  - The wallet's password is also kept in a Secret, from which LND unlocks itself when it starts.
  - An LND that was started without C(wallet-unlock-password-file), and waits for its password, is unlocked with that password.
  - Runs on the controller, whatever the host's connection is.
extends_documentation_fragment:
  - openlsp.node._cluster
  - openlsp.node._cluster.lnd
options:
  state:
    description:
      - V(prepared) makes sure that the Secret with the password exists, which must be before LND starts for the first time.
      - V(active) makes sure that the wallet exists and LND takes calls.
      - V(rekeyed) gives LND new macaroon root keys each time it is called, so that no macaroon that was made before opens it, whatever its root key id.
        LND is restarted for it, by the C(start.sh) of role openlsp.node.lnd. Interrupted anywhere, V(active) brings LND back, with old or new keys.
    type: str
    choices: [prepared, active, rekeyed]
    default: active
  file:
    description:
      - The file on the controller for seed and password, encrypted with the play's Vault password, mode 0600. It is never overwritten.
      - Where it exists and LND has no wallet, the wallet is restored from it.
      - Once the wallet exists the file is not needed any more and may be moved to a safe place.
    type: path
    required: true
  vault_password_file:
    description:
      - A file with the Vault password for O(file), or a program that prints it.
      - Without it the Vault password of the play is used; one of the two must be there.
    type: path
  password_secret:
    description: The Secret with the wallet's password, key C(password).
    type: str
    default: lnd-wallet-password
  seed:
    description: The 24 words of an aezeed to restore from, in place of a new one. LND then looks for its coins on the chain.
    type: list
    elements: str
  seed_passphrase:
    description: The passphrase of the seed, the given one or the new one. It is kept in the file.
    type: str
    default: ""
  stateless:
    description:
      - LND keeps no macaroon files. It hands over its admin macaroon when it makes the wallet; this goes at once, proved, into the Secret C(lnd-admin).
      - Where that Secret is lost, or LND does not accept what is in it, LND is restarted once to hand over another one.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Changes nothing and does not wait.
  diff_mode:
    support: none
    description: There is nothing that may be shown.
author:
  - The openlsp.node authors (@openlsp)
"""

EXAMPLES = r"""
- name: Keep the password where LND finds it
  openlsp.node.lnd_wallet:
    state: prepared
    namespace: lightning
    network: mainnet
    file: "{{ inventory_dir }}/wallets/{{ inventory_hostname }}.yml"

- name: Create the wallet and hand over its seed
  openlsp.node.lnd_wallet:
    namespace: lightning
    network: mainnet
    file: "{{ inventory_dir }}/wallets/{{ inventory_hostname }}.yml"

- name: Restore a wallet
  openlsp.node.lnd_wallet:
    namespace: lightning
    network: mainnet
    file: "{{ inventory_dir }}/wallets/{{ inventory_hostname }}.yml"
    seed: "{{ vault_old_seed.split() }}"

- name: Make every macaroon of today worthless
  openlsp.node.lnd_wallet:
    state: rekeyed
    namespace: lightning
    network: mainnet
    file: "{{ inventory_dir }}/wallets/{{ inventory_hostname }}.yml"
"""

RETURN = r"""
file:
  description: The file on the controller. Show it with C(ansible-vault view).
  returned: always
  type: str
  sample: inventories/pi/wallets/alice.yml
lnd_state:
  description: LND's state.
  returned: with O(state=active) and O(state=rekeyed)
  type: str
  sample: RPC_ACTIVE
refusal:
  description: Why LND refuses the admin macaroon that was in the Secret C(lnd-admin) before; null where there was none, and in check mode.
  returned: with O(state=rekeyed)
  type: str
  sample: "verification failed: signature mismatch after caveat verification"
"""
