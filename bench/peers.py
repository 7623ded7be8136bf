# SPDX-License-Identifier: MIT
"""The peers: how each relay is started on the two hops, and which of them can be had here.

A peer listens on 127.0.0.1:port of the host's netns, its guest hop on the Unix socket `socket`, and the guest hop
connects to 127.0.0.1:7000 of the pod's netns.
"""
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from system import IN_POD, POD, RUN, SERVER_PORT, Program, in_pod, run, tcp_listens, unix_listens, wait_until

PROXYD = "/usr/lib/systemd/systemd-socket-proxyd"
TARGET = f"127.0.0.1:{SERVER_PORT}"
NOBODY = 65534


@dataclass
class Peer:
    name: str
    what: str  # its configuration, for the table
    port: int
    host: list = None  # commands; None: no such hop
    guest: list = None
    guest_in_pod: bool = True
    pod: str = POD
    client_in_pod: bool = False  # and with that its port, on `address`
    address: str = "127.0.0.1"
    socket: str = None  # where the guest hop listens
    dial: list = None  # a program with the connection on stdin and stdout
    needs: list = field(default_factory=list)  # programs
    version: list = None  # a command; its first line is the version
    prepare: Callable = None  # before the first hop starts
    connect: Callable = None  # when both hops run
    listens: Callable = None  # has the host hop its port? None: a look at the host's netns tells
    limit: bool = False  # a line to compare with and no peer
    session: bool = False  # inside a kubectl session, compared with others of these only
    hops: int = 2
    idle: int = 8000  # connections that it can hold with 20,000 descriptors, or in a bearable time
    counted: bool = False  # instructions are counted under valgrind
    programs: dict = field(default_factory=dict)  # what runs now: {"host": ..., "guest": ...}

    def missing(self):
        for program in self.needs:
            if not shutil.which(program):
                reason = Path(f"{program}.log")
                words = reason.read_text().strip().splitlines()[-1:] if reason.exists() else []
                return f"no {os.path.basename(program)}" + "".join(f": {word}" for word in words)
        return None

    def start(self, wrap=lambda hop: []):
        """Starts both hops, each by the words of wrap() before its command, and waits until they listen."""
        if self.socket:
            Path(self.socket).unlink(missing_ok=True)
        if self.prepare:
            self.prepare()
        if self.guest:
            prefix = in_pod(self.pod) if self.guest_in_pod else []
            self.programs["guest"] = Program(f"{self.name}-guest", [*prefix, *wrap("guest"), *self.guest])
        if self.socket:
            guest = self.programs["guest"]
            wait_until(lambda: unix_listens(self.socket, guest.pid), 30, "the guest hop listens", [guest])
        if self.host:
            self.programs["host"] = Program(f"{self.name}-host", [*wrap("host"), *self.host])
        if self.connect:
            self.connect()
        if self.host:
            listens = self.listens or (lambda: tcp_listens(self.port, self.programs["host"].pid))
            wait_until(listens, 30, "the host hop listens", self.programs.values())

    def stop(self):
        for hop in "host", "guest":
            if hop in self.programs:
                self.programs.pop(hop).stop()


class Builder:
    """Makes the list of peers; bin is the folder with what scripts/bench has built."""

    def __init__(self, bin_dir, vzfwd, vzfwd_guest):
        self.bin = bin_dir
        self.vzfwd = vzfwd
        self.vzfwd_guest = vzfwd_guest
        self.port = SERVER_PORT

    def next(self, name):
        self.port += 1
        return {"name": name, "port": self.port, "socket": f"{RUN}/{name}.sock"}

    def all(self):
        return [
            self.direct(),
            self.vzfwd_peer(),
            self.splice(),
            self.socat("socat", "default"),
            self.socat("socat-64k", "-b65536", "-b65536"),
            self.socat("socat-256k", "-b262144", "-b262144"),
            self.proxyd(),
            self.haproxy("haproxy", "one thread", "nbthread 1"),
            self.haproxy("haproxy-threads", "a thread a core"),
            self.ssh(),
            self.gvproxy(),
            self.kubectl(),
            self.rootlesskit(),
            self.kubectl_session("plain", "the shim connects by itself, in the netns that it is in"),
            self.kubectl_session("dial", "the shim runs vzfwd dial for each connection; records to vzfwd-guest"),
            self.kubectl_session("serve", "vzfwd serve passes the shim a descriptor; raw to vzfwd-guest"),
        ]

    def direct(self):
        return Peer("direct", "loopback in the pod's netns, no relay", SERVER_PORT, client_in_pod=True, limit=True,
                    hops=0)

    def vzfwd_peer(self):
        base = self.next("vzfwd")
        endpoint = f"unix://{base['socket']}"
        return Peer(
            **base, what="listen and vzfwd-guest, defaults, records",
            guest=[self.vzfwd_guest, "--listen", endpoint, "--pod-netns", POD], guest_in_pod=False,
            host=[self.vzfwd, "listen", "-p", endpoint, f"127.0.0.1:{base['port']}:{TARGET}"],
            dial=[self.vzfwd, "dial", endpoint, "tcp", TARGET],
            needs=[self.vzfwd, self.vzfwd_guest], version=[self.vzfwd, "--version"], counted=True)

    def splice(self):
        base = self.next("splice")
        program = f"{self.bin}/splice-relay"
        return Peer(
            **base, what="bench/splice-relay.c, the yardstick: bare splice(2)",
            guest=[program, f"unix:{base['socket']}", f"tcp:{SERVER_PORT}"],
            host=[program, f"tcp:{base['port']}", f"unix:{base['socket']}"],
            dial=["socat", "-", f"UNIX-CONNECT:{base['socket']}"],
            needs=[program], limit=True, idle=3000, counted=True)

    def socat(self, name, what, *options):
        base = self.next(name)
        # -t: the default of half a second cuts answers off that come later than that after a half-close.
        command = ["socat", *options, "-t30"]
        return Peer(
            **base, what=f"forks for each connection, {what}, nodelay",
            guest=[*command, f"UNIX-LISTEN:{base['socket']},fork,backlog=4096", f"TCP:{TARGET},nodelay"],
            host=[*command, f"TCP-LISTEN:{base['port']},bind=127.0.0.1,reuseaddr,fork,backlog=4096,nodelay",
                  f"UNIX-CONNECT:{base['socket']}"],
            dial=["socat", *options, "-", f"UNIX-CONNECT:{base['socket']}"],
            needs=["socat"], version=["sh", "-c", "socat -V | sed -n 's/^socat version \\([^ ]*\\).*/\\1/p'"],
            idle=200, counted=name == "socat-64k")

    def proxyd(self):
        base = self.next("proxyd")

        def hop(listen, target):
            return ["systemd-socket-activate", "-l", listen, "--", PROXYD, "-c", "9000", target]
        return Peer(
            **base, what="systemd-socket-proxyd, up to 9000 connections",
            guest=hop(base["socket"], TARGET), host=hop(f"127.0.0.1:{base['port']}", base["socket"]),
            needs=["systemd-socket-activate", PROXYD], version=["systemd-socket-activate", "--version"],
            idle=3000)

    def haproxy(self, name, what, *options):
        base = self.next(name)

        def hop(side, bind, server):
            path = RUN / f"{name}-{side}.cfg"
            path.write_text("\n".join([
                # Within 20,000 descriptors; pipes of the size that measures best.
                "global", "maxconn 8200", "maxpipes 500", "tune.pipesize 1048576", *options,
                # Not splice-auto, which hardly ever makes up its mind here and halves the throughput.
                "defaults", "mode tcp", "option splice-request", "option splice-response",
                "timeout connect 10s", "timeout client 1h", "timeout server 1h", "listen relay",
                f"bind {bind} backlog 4096", f"server next {server}", ""]))
            return ["haproxy", "-db", "-q", "-f", str(path)]
        return Peer(
            **base, what=f"mode tcp, splices both ways, {what}",
            guest=hop("guest", f"unix@{base['socket']}", TARGET),
            host=hop("host", f"127.0.0.1:{base['port']}", f"unix@{base['socket']}"),
            needs=["haproxy"], version=["haproxy", "-v"], counted=name == "haproxy")

    def ssh(self):
        base = self.next("ssh")
        return self.ssh_peer(base, "-L", f"127.0.0.1:{base['port']}:{TARGET}")

    def ssh_peer(self, base, *way):
        folder = RUN / "ssh"
        options = ["-F", "none", "-i", f"{folder}/key", "-c", "aes128-gcm@openssh.com"]
        for option in ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR",
                       "BatchMode=yes", "IPQoS=none", "ExitOnForwardFailure=yes"):
            options += ["-o", option]
        # sshd's socket is the link itself and ssh gets its end passed: no further process is in the path.
        passer = Path(f"{RUN}/ssh-connect.py")
        connect = ["-o", f"ProxyCommand=python3 -I {passer}", "-o", "ProxyUseFdpass=yes"]

        def prepare():
            passer.write_text("import socket\n"
                              "link = socket.socket(socket.AF_UNIX)\n"
                              f"link.connect('{base['socket']}')\n"
                              "ssh = socket.socket(fileno=1)\n"
                              "socket.send_fds(ssh, [b'x'], [link.fileno()])\n")
            if folder.exists():
                return
            folder.mkdir(mode=0o700)
            for key in "host", "key":
                run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{key}")
            (folder / "sshd_config").write_text("\n".join([
                f"HostKey {folder}/host", f"AuthorizedKeysFile {folder}/key.pub", "StrictModes no",
                "PermitRootLogin yes", "UsePAM yes", "PidFile none", "LogLevel ERROR", ""]))
        return Peer(
            **base, what=f"{way[0]}, aes128-gcm, one ssh connection for all; sshd -i in the pod's netns",
            guest=["socat", f"UNIX-LISTEN:{base['socket']},fork",
                   f"EXEC:/usr/sbin/sshd -i -f {folder}/sshd_config,nofork"],
            host=["ssh", *options, *connect, "-N", *way, "root@pod"],
            dial=["ssh", *options, "-o", f"ProxyCommand=socat - UNIX-CONNECT:{base['socket']}",
                  "-W", TARGET, "root@pod"],
            prepare=prepare, needs=["ssh", "/usr/sbin/sshd", "socat"], version=["sh", "-c", "ssh -V 2>&1"],
            idle=1000)

    def gvproxy(self):
        base = self.next("gvproxy")
        base["socket"] = None  # here it is the host hop that listens
        link, control = f"{RUN}/gvproxy.sock", f"{RUN}/gvproxy-control.sock"
        mtu = "65520"  # 1500 by default, which is half as fast

        def prepare():
            for path in link, control:
                Path(path).unlink(missing_ok=True)
            if not subprocess.run([*IN_POD, "ip", "link", "show", "tap0"], capture_output=True).returncode:
                return
            for words in ("tuntap add tap0 mode tap", f"link set tap0 address 5a:94:ef:e4:0c:ee mtu {mtu} up",
                          "addr add 192.168.127.2/24 dev tap0"):
                run(*IN_POD, "ip", *words.split())

        def connect():
            programs = peer.programs
            host = programs["host"]
            wait_until(lambda: all(unix_listens(path, host.pid) for path in (link, control)), 30,
                       "gvproxy listens", [host])
            programs["guest"] = Program("gvproxy-guest", [*IN_POD, f"{self.bin}/vm", "-preexisting", "-mtu",
                                                          "65535", "-url", f"unix://{link}"])
            expose = f'{{"local":"127.0.0.1:{base["port"]}","remote":"192.168.127.2:{SERVER_PORT}"}}'
            run("curl", "-sS", "--unix-socket", control, "-X", "POST", "-d", expose,
                "http://gvproxy/services/forwarder/expose")
        peer = Peer(
            **base, what=f"gvisor-tap-vsock: user-mode network and forwarder, MTU {mtu}",
            host=[f"{self.bin}/gvproxy", "-listen", f"unix://{link}", "-services", f"unix://{control}",
                  "-ssh-port", "-1", "-mtu", mtu],
            prepare=prepare, connect=connect,
            needs=[f"{self.bin}/gvproxy", f"{self.bin}/vm", "curl"],
            version=[f"{self.bin}/gvproxy", "--version"], idle=3000)
        return peer

    def kubectl(self):
        base = self.next("kubectl")
        program = f"{self.bin}/kubectl"
        return Peer(
            **base, what="port-forward: client-go and the kubelet's streaming over SPDY, no TLS, no API server",
            guest=[program, "node", base["socket"]],
            host=[program, "port-forward", base["socket"], f"{base['port']}:{SERVER_PORT}"],
            needs=[program], version=[program, "version"], idle=1000)

    def rootlesskit(self):
        base = self.next("rootlesskit")
        base["socket"] = None
        home = RUN / "rootlesskit"

        def prepare():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            os.chown(home, NOBODY, NOBODY)
            ids = RUN / "subids"
            if not ids.exists():
                ids.write_text("nobody:100000:65536\n")
                for path in "/etc/subuid", "/etc/subgid":
                    Path(path).touch()
                    run("mount", "--bind", str(ids), path)
        return Peer(
            **base, what="builtin port driver, as nobody; one hop: its child passes the connected socket",
            host=["env", "-C", str(home), f"HOME={home}", f"XDG_RUNTIME_DIR={home}",
                  "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                  f"{self.bin}/rootlesskit", "--net=none", "--port-driver=builtin", f"--state-dir={home}/state",
                  "-p", f"127.0.0.1:{base['port']}:{SERVER_PORT}/tcp", f"{self.bin}/load", "serve",
                  str(SERVER_PORT)],
            prepare=prepare, needs=[f"{self.bin}/rootlesskit", "newuidmap"],
            version=[f"{self.bin}/rootlesskit", "--version"], hops=1, idle=3000)

    def kubectl_session(self, way, what):
        base = self.next(f"kubectl-{way}")
        base["socket"] = None
        programs = self.bin / "kubernetes"
        path = [programs, self.bin, Path(self.vzfwd).parent, Path(self.vzfwd_guest).parent, os.environ["PATH"]]
        return Peer(
            **base, what=what, session=True, hops=1,
            host=["env", f"PATH={':'.join(map(str, path))}", "bash", str(Path(__file__).parent / "session.sh"), way,
                  f"{RUN}/{base['name']}", str(base["port"]), str(SERVER_PORT), POD],
            needs=[f"{programs}/{program}" for program in ("cri-shim", "apiserver", "crictl", "kubectl-newest")],
            version=["sh", "-c", f"{programs}/kubectl-newest version --client | sed -n 's/^Client Version: /kubectl /p'"])
