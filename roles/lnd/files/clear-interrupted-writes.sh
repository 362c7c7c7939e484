# Before each start of LND: clear away what an interrupted creation of its wallet left, and what LND cannot go on with.
# Called with LND's directory and its name of the network.
chain="$1/data/chain/bitcoin/$2"
wallet="$chain/wallet.db"

# LND does not write these at once: killed, or without power, in the wrong moment, it leaves one empty. It makes missing ones anew, empty ones not.
for each in "$1/tls.cert" "$1/tls.key" "$chain"/*.macaroon; do
  if [ -f "$each" ] && [ ! -s "$each" ]; then
    rm "$each" && echo "The writing of $each was interrupted: it was empty and is removed"
  fi
done

# LND killed while it creates its wallet leaves a wallet.db without a wallet in it, which it then takes for a wallet that it cannot open.
# bbolt numbers its write transactions: its two empty meta pages are 0 and 1, the wallet is 2 or later. A file whose numbers are both below 2
# has never held anything. It is renamed, not deleted. Whatever looks different is left alone. (bbolt: db.go init, page.go, meta.go)
[ -e "$wallet" ] || exit 0

number() { # offset, bytes
  od -An -t "u$2" -j "$1" -N "$2" "$wallet" | tr -d ' \n'
}

if [ -s "$wallet" ]; then
  [ "$(number 16 4)" = 3977042669 ] || exit 0 # bbolt's magic number
  page=$(number 24 4)
  [ "$(number 64 8)" -lt 2 ] && [ "$(number $((page + 64)) 8)" -lt 2 ] || exit 0
fi

aside="$wallet.interrupted-$(date +%s)"
mv "$wallet" "$aside"
echo "The creation of the wallet was interrupted: $wallet held no wallet and is now $aside"
