# Starts Tor and becomes it. Called with the seconds to wait for the cluster's DNS.
set -eu
umask 077
mkdir -p /data/tor

# Tor wants the directory of a service closed to everybody else, and to write in it: a mounted Secret is neither.
rm -rf /run/tor/onion
for each in /run/secrets/onion/*/; do
  [ -d "$each" ] || continue
  directory="/run/tor/onion/$(basename "$each")"
  mkdir -p "$directory/authorized_clients"
  cp "$each/hostname" "$each/hs_ed25519_public_key" "$each/hs_ed25519_secret_key" "$directory/"
  if [ -e "$each/client.auth" ]; then
    cp "$each/client.auth" "$directory/authorized_clients/"
  fi
done

hashed="$(cat /run/secrets/control/hashed)"
{
  echo "HashedControlPassword $hashed"
  cat /etc/tor/torrc
} >/run/tor/torrc

# Tor asks for the names of its targets once, and ends where one has no answer: after the machine's restart the cluster's DNS may come later than Tor.
# Everything else in its configuration was checked before it got here.
deadline=$(($(date +%s) + $1))
until complaint=$(tor -f /run/tor/torrc --verify-config --hush 2>&1); do
  if [ "$(date +%s)" -ge "$deadline" ]; then
    echo "Tor cannot start, for $1 s now: $complaint"
    exit 1
  fi
  sleep 1
done

exec tor -f /run/tor/torrc
