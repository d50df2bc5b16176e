#!/usr/bin/env bash
# Two "hosts" with addresses, names and sshd of their own on this machine, for the tests beside it:
# network namespaces llama1 and llama2 (10.77.0.1, 10.77.0.2), called worker-1 and worker-2.
#   two_hosts.sh up DIR | down DIR      (root; apt-get install iproute2 openssh-server pdsh)
set -euo pipefail
dir=$2
client=/etc/ssh/ssh_config.d/llama-gpt4-test.conf

down() {
  for i in 1 2; do
    for pid in $(ip netns pids llama$i 2>/dev/null); do kill -9 "$pid" 2>/dev/null || true; done
    ip netns del llama$i 2>/dev/null || true
  done
  rm -f "$client"
}

start_sshd() {  # number of the host
  ip netns exec llama$1 unshare --uts bash -c "hostname worker-$1; exec /usr/sbin/sshd -f '$dir/sshd_config' -o PidFile='$dir/sshd-$1.pid'"
}

up() {
  mkdir -p "$dir" /run/sshd /etc/ssh/ssh_config.d
  ssh-keygen -q -t ed25519 -N "" -f "$dir/host_key"
  ssh-keygen -q -t ed25519 -N "" -f "$dir/user_key"
  cat > "$dir/sshd_config" <<C
HostKey $dir/host_key
AuthorizedKeysFile $dir/user_key.pub
StrictModes no
PermitRootLogin yes
C
  cat > "$client" <<C
Host 10.77.0.*
  IdentityFile $dir/user_key
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
C
  for i in 1 2; do ip netns add llama$i; done
  ip link add llama-a netns llama1 type veth peer name llama-b netns llama2
  ip -n llama1 link set llama-a name eth0
  ip -n llama2 link set llama-b name eth0
  for i in 1 2; do
    ip -n llama$i addr add 10.77.0.$i/24 dev eth0
    ip -n llama$i link set eth0 up
    ip -n llama$i link set lo up
    start_sshd $i
  done
}

revive() {  # the second host, after it was killed
  ip -n llama2 link set eth0 up
  start_sshd 2
}

"$1"
