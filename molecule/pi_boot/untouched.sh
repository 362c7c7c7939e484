set -e
test -z "$(find /etc /usr /boot /srv /var/lib /var/snap -cnewer /run/before-check -not -path "/var/lib/systemd/*" | tee /dev/stderr)"
test "$(cat /proc/sys/vm/swappiness)" = 60
test ! -e /sys/module/br_netfilter
test "$(timedatectl show --property=NTP --value)" = no
test "$(wc -l < /var/lib/boots)" = 1
