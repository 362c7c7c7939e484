set -e
cat > /usr/local/bin/time_server.py <<'END'
TIME_SERVER
END
cat > /etc/systemd/system/time-server.service <<'END'
[Unit]
Description=A time server within reach, and a list of the machine's starts
[Service]
ExecStartPre=sh -c 'cat /proc/sys/kernel/random/boot_id >> /var/lib/boots'
ExecStart=python3 /usr/local/bin/time_server.py
[Install]
WantedBy=multi-user.target
END
mkdir /etc/systemd/timesyncd.conf.d
printf '[Time]\nNTP=127.0.0.1\n' > /etc/systemd/timesyncd.conf.d/test.conf
systemctl enable --now time-server
timedatectl set-ntp false
touch /run/before-check
