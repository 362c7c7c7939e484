# Starts LND and becomes it. Called with LND's directory, its name of the network, and "stateless" where LND shall keep no macaroons.
chain="$1/data/chain/bitcoin/$2"
unlock="--wallet-unlock-password-file=/run/secrets/wallet/password --wallet-unlock-allow-create"

# Only before its wallet is open does LND take new root keys or hand over its admin macaroon. lnd_wallet asks for a start without the password by
# this file: once, and until the time in it (seconds since 1970), so that what was forgotten does not leave LND locked after a power cut.
asked="$1/start-locked-until"
if [ -e "$asked" ]; then
  deadline=$(cat "$asked")
  if rm "$asked" && [ "$(date +%s)" -lt "${deadline:-0}" ]; then
    unlock=
    echo "LND starts locked this once: lnd_wallet asked for it"
  fi
fi

# When LND unlocks itself it does not know that it is stateless: it writes each macaroon for which it finds no file. So it finds /dev/null.
for each in admin chainnotifier invoice invoices readonly router signer walletkit; do
  file="$chain/$each.macaroon"
  if [ "$3" = stateless ] && [ "$unlock" ] && [ -e "$chain/wallet.db" ]; then
    ln -sf /dev/null "$file"
  elif [ "$3" = stateless ] || [ -L "$file" ]; then
    rm -f "$file"
  fi
done

# shellcheck disable=SC2086 # Two options or none.
exec lnd --lnddir="$1" --configfile=/etc/lnd/lnd.conf $unlock
