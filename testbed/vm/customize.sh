# What makes a tree of Debian packages the machine `raspberrypi`: customize.sh ROOT PUBLIC_KEY PACKAGE...
root=$1 key=$2
shift 2

chroot "$root" useradd --create-home --shell /bin/bash pi
install -d -m 0700 "$root/home/pi/.ssh"
install -m 0600 "$key" "$root/home/pi/.ssh/authorized_keys"
chroot "$root" chown -R pi:pi /home/pi
chroot "$root" systemctl enable systemd-networkd.service ssh.service

# The packages that the roles will ask for, with all that those need, as a repository on the disk.
packages=$root/var/local/packages
mkdir -p "$packages/partial" "$root/boot/firmware"
APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get --quiet --yes --download-only -o Dir::Cache::archives="$packages" install "$@"
(cd "$packages" && rm -rf partial lock && dpkg-scanpackages --multiversion . > Packages)
echo 'deb [trusted=yes] file:/var/local/packages ./' > "$root/etc/apt/sources.list"
rm -rf "$root"/etc/apt/sources.list.d/* "$root"/var/lib/apt/lists/*
chroot "$root" apt-get --quiet update

# The machine starts with the initial RAM disk that was made with its kernel: for a package that asks for another one it would work two minutes.
sed -i 's/^update_initramfs=.*/update_initramfs=no/' "$root/etc/initramfs-tools/update-initramfs.conf"
