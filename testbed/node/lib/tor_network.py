"""A Tor network of the node's own, one authority and three relays on an address that the pods reach: onion services need one, and there is no other.

    tor_network.py prepare      make keys and configurations, once, and the file that tells clients of the network; set up the address
    tor_network.py run NAME     become that authority or relay
"""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

HOME = Path("/var/lib/tor-network")
# For Tor's options of a client; testbed/create.yml fetches it.
CLIENTS = HOME / "tor_options.json"

# Of a block for documentation: to Tor it is as public as any other, and nothing else has it.
ADDRESS = "198.51.100.1"
AUTHORITY, RELAYS = "a0", ("r1", "r2", "r3")
OR_PORTS = {AUTHORITY: 5000, **{name: 5001 + number for number, name in enumerate(RELAYS)}}
DIR_PORT = 7000

# Seconds to the first vote. Who publishes after it is not in the first consensus, and is missed until the next one.
FIRST_VOTE = 15

EVERYBODY = {"TestingTorNetwork": 1, "GeoIPFile": "/dev/null", "GeoIPv6File": "/dev/null"}
RELAY = {"Address": ADDRESS, "AssumeReachable": 1, "SocksPort": 0, "ContactInfo": "none", "Log": "notice stdout",
         # Without an exit Tor thinks that it has no network.
         "ExitRelay": 1, "ExitPolicy": "accept *:*"}
VOTES = {"AuthoritativeDirectory": 1, "V3AuthoritativeDirectory": 1, "DirPort": f"{ADDRESS}:{DIR_PORT}",
         # Onion services change their place in the network after 24 votes.
         "V3AuthVotingInterval": 60, "V3AuthVoteDelay": 2, "V3AuthDistDelay": 2,
         "TestingV3AuthInitialVotingInterval": FIRST_VOTE, "TestingV3AuthInitialVoteDelay": 2, "TestingV3AuthInitialDistDelay": 2,
         "TestingDirAuthVoteGuard": "*", "TestingDirAuthVoteHSDir": "*", "TestingDirAuthVoteExit": "*", "TestingMinExitFlagThreshold": 0}
CLIENT = {**EVERYBODY, "VanguardsLiteEnabled": 0}  # Three relays are too few for it.


def output(*command: str, **options: object) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def identity() -> str:
    """Make the authority's keys; their fingerprint."""
    keys = HOME / AUTHORITY / "keys"
    keys.mkdir(mode=0o700, parents=True)
    subprocess.run(["tor-gencert", "--create-identity-key", "--passphrase-fd", "0", "-m", "12", "-a", f"{ADDRESS}:{DIR_PORT}", "-i", "authority_identity_key",
                    "-s", "authority_signing_key", "-c", "authority_certificate"], cwd=keys, check=True, input=b"pw\n", stderr=subprocess.DEVNULL)
    return re.search(r"^fingerprint (\w+)", (keys / "authority_certificate").read_text(), re.M)[1]


def fingerprint(name: str) -> str:
    """Make a relay's keys; their fingerprint."""
    directory, empty = HOME / name, HOME / "empty"
    directory.mkdir(mode=0o700, exist_ok=True)
    empty.touch()
    line = output("tor", "-f", str(empty), "--defaults-torrc", str(empty), "--quiet", "--ORPort", "1", "--DataDirectory", str(directory),
                  "--list-fingerprint", "--DirAuthority", f"x 127.0.0.1:1 {'f' * 40}")
    return "".join(line.split()[-10:])


def write(name: str, options: dict[str, object]) -> None:
    """The configuration of an authority or a relay."""
    own = {"Nickname": name, "DataDirectory": HOME / name, "ORPort": f"{ADDRESS}:{OR_PORTS[name]}"}
    (HOME / f"{name}.torrc").write_text("".join(f"{option} {value}\n" for option, value in {**options, **RELAY, **own}.items()))


def prepare() -> None:
    subprocess.run(["ip", "address", "replace", f"{ADDRESS}/32", "dev", "lo"], check=True)
    if CLIENTS.exists():
        return
    HOME.mkdir(mode=0o700, exist_ok=True)
    ident = identity()
    authority = {"DirAuthority": f"{AUTHORITY} orport={OR_PORTS[AUTHORITY]} v3ident={ident} {ADDRESS}:{DIR_PORT} {fingerprint(AUTHORITY)}"}
    write(AUTHORITY, {**EVERYBODY, **authority, **VOTES})
    for name in RELAYS:
        (HOME / name).mkdir(mode=0o700)
        write(name, {**EVERYBODY, **authority})
    CLIENTS.write_text(json.dumps({**CLIENT, **authority}))


def run(name: str) -> None:
    # All at once, with the whole time to the first vote before them.
    time.sleep(FIRST_VOTE - time.time() % FIRST_VOTE)
    os.execvp("tor", ["tor", "-f", str(HOME / f"{name}.torrc"), "--defaults-torrc", str(HOME / "empty")])


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare()
    else:
        run(sys.argv[2])
