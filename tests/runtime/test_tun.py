"""The TUN device: real traffic through it, and everything that can be refused."""

import errno
import fcntl
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from threading import Thread
from typing import Any

import pytest

from meshwg.errors import ConfigError, NotPermitted
from meshwg.runtime import netlink, tun
from meshwg.runtime.socket_options import SOL_UDP, UDP_SEGMENT
from meshwg.runtime.tun import MAX_BATCH, TunDevice, TunGone
from netlab.lab import Lab
from netlab.machine import Host
from tests.descriptors import open_descriptors
from tests.packet.samples import Packet, is_valid, payload

TSO = pytest.mark.parametrize("tso", [False, True], ids=["cut by kernel", "cut here"])
FAMILIES = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])


def test_invalid_names_are_refused() -> None:
    for name in ("", "x" * 16, "ä" * 8):
        with pytest.raises(ConfigError, match="choose"):
            TunDevice.open(name)


def test_a_missing_device_file_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tun, "DEVICE", "/dev/net/no-such-tun")
    with pytest.raises(ConfigError, match="load the kernel module 'tun'"):
        TunDevice.open("wg0")


def test_a_device_file_that_may_not_be_opened_is_said_with_the_mend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail(monkeypatch, os, "open", PermissionError(errno.EACCES, "denied"))
    with pytest.raises(NotPermitted, match="CAP_NET_ADMIN"):
        TunDevice.open("wg0")


def test_a_descriptor_that_is_no_tun_device_is_refused() -> None:
    with open(os.devnull) as file:
        for descriptor in (file.fileno(), -1, 10**4, 10**20):
            with pytest.raises(ConfigError, match="is not an open TUN device"):
                TunDevice.from_fd(descriptor)


@pytest.mark.netns
def test_a_descriptor_of_a_tap_device_is_refused(host: Host) -> None:
    request = struct.pack("16sH22x", b"tap0", 0x0002)  # IFF_TAP
    with open(tun.DEVICE, "r+b", buffering=0) as file:
        host.call(lambda: fcntl.ioctl(file, tun.TUNSETIFF, request))
        with pytest.raises(ConfigError, match="is a TAP device"):
            TunDevice.from_fd(file.fileno())


@pytest.mark.netns
def test_names_that_the_system_refuses_are_named_with_the_remedy(host: Host) -> None:
    for name in ("a/b", "a b", "eth0", "."):
        with pytest.raises(ConfigError, match=f"'{name}' cannot be created"):
            opened(host, name)


@pytest.mark.netns
def test_a_name_in_use_is_named_with_the_remedy(host: Host) -> None:
    with (
        closing(opened(host)),
        pytest.raises(ConfigError, match="used by another program"),
    ):
        opened(host)


@pytest.mark.netns
def test_without_the_privilege_nothing_is_made(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_descriptors()
    refuse_ioctl(monkeypatch, lambda request, _: request == tun.TUNSETIFF, errno.EPERM)
    with pytest.raises(NotPermitted, match="CAP_NET_ADMIN"):
        opened(host)
    assert open_descriptors() <= before


@pytest.mark.netns
def test_an_impossible_mtu_leaves_no_interface(host: Host) -> None:
    before = open_descriptors()
    with pytest.raises(ConfigError, match="MTU of 'wg0' cannot be 70000"):
        host.call(lambda: TunDevice.open("wg0", 70000))
    assert open_descriptors() <= before
    assert "wg0" not in host.run(["ip", "link"]).stdout


@pytest.mark.netns
def test_the_interface_has_the_mtu_and_ends_with_the_device(host: Host) -> None:
    with closing(opened(host)):
        assert "mtu 1420" in host.run(["ip", "link", "show", "wg0"]).stdout
    assert "wg0" not in host.run(["ip", "link"]).stdout


@pytest.mark.netns
def test_a_name_may_be_a_pattern(host: Host) -> None:
    with closing(opened(host, "mesh%d")) as device:
        assert device.name == "mesh0"


@pytest.mark.netns
def test_a_device_that_another_program_opened_can_be_used(host: Host) -> None:
    with closing(opened(host)) as given:
        other = TunDevice.from_fd(os.dup(given.fileno()))
        assert other.name == "wg0"
        assert not os.get_blocking(other.fileno())
        other.close()


@FAMILIES
@TSO
@pytest.mark.netns
def test_what_the_host_sends_is_read_as_valid_packets(
    host: Host, tso: bool, version: int
) -> None:
    with closing(up(host, tso=tso)) as device:
        send_udp(host, version, payload(40 * 1300), segment=1300)
        packets = read_udp(device, 40)
        assert all(is_valid(packet) for packet in packets)
        headers = 28 if version == 4 else 48
        assert b"".join(each[headers:] for each in packets) == payload(40 * 1300)


@pytest.mark.netns
def test_a_read_returns_a_bounded_batch_and_then_nothing(host: Host) -> None:
    with closing(opened(host)) as device:
        host.namespace.set_sysctl({"net.ipv6.conf.wg0.disable_ipv6": 1})
        host.run(["ip", "address", "add", "10.0.0.2/24", "dev", "wg0"])
        host.run(["ip", "link", "set", "wg0", "up"])
        for _ in range(MAX_BATCH + 5):
            send_udp(host, 4, b"x", segment=0)
        assert len(device.unpack(device.read_raw())) == 1
        assert len(device.read()) == MAX_BATCH
        assert len(device.read()) == 4
        assert device.read() == []
        with pytest.raises(BlockingIOError):
            device.read_raw()


@FAMILIES
@pytest.mark.netns
def test_datagrams_that_are_written_arrive(host: Host, version: int) -> None:
    flow = Packet(payload(30_500), version, 17)
    with closing(up(host)) as device, receiver(host, version, flow) as sock:
        device.write([bytes(each) for each in flow.cut(1000)])
        assert received_packets(host) == 1
        assert b"".join(sock.recv(2000) for _ in range(31)) == flow.payload
    assert device.dropped == 0


@FAMILIES
@pytest.mark.parametrize("protocol", [6, 17], ids=["tcp", "udp"])
@pytest.mark.netns
def test_only_packets_to_this_host_are_joined(
    host: Host, version: int, protocol: int
) -> None:
    flow = Packet(payload(3000), version, protocol)
    packets = [bytes(each) for each in flow.cut(1000)]
    with closing(up(host)) as device:
        device.write(packets)
        assert received_packets(host) == 1
        device.local_addresses = frozenset()
        device.write(packets)
        assert received_packets(host) == 1 + 3
    assert device.dropped == 0


@pytest.mark.netns
def test_a_wrong_checksum_is_found_by_the_kernel(host: Host) -> None:
    packets = [bytes(each) for each in Packet(payload(3000)).cut(1000)]
    packets[1] = packets[1][:-1] + b"?"
    with closing(up(host)) as device:
        device.write(packets)
        assert received_packets(host) == 1
        assert host.call(tcp_checksum_errors) == 1


@TSO
@pytest.mark.netns
def test_tcp_works_through_two_devices(lab: Lab, tso: bool) -> None:
    cable = lab.add_switch("cable")
    a, b = lab.add_host("a", cable), lab.add_host("b", cable)
    with (
        closing(up(a, number=1, tso=tso)) as left,
        closing(up(b, number=2, tso=tso)) as right,
        relay(left, right),
    ):
        for version in (4, 6):
            sent = os.urandom(3_000_000)
            assert echoed_over_tcp(a, b, version, sent) == sent
    assert left.malformed == right.malformed == 0


def no_header(request: int, value: Any) -> bool:
    """Refuse the virtio-net header."""
    return request == tun.TUNSETIFF and bool(
        struct.unpack_from("=H", value, 16)[0] & tun.IFF_VNET_HDR
    )


def no_offloads(request: int, value: Any) -> bool:
    """Refuse every offload."""
    return request == tun.TUNSETOFFLOAD


def no_udp_offloads(request: int, value: Any) -> bool:
    """Refuse what came with Linux 6.2."""
    return request == tun.TUNSETOFFLOAD and bool(value & tun.UDP_OFFLOADS)


@TSO
@pytest.mark.parametrize("refused", [no_header, no_offloads, no_udp_offloads])
@pytest.mark.netns
def test_older_kernels_get_what_they_know(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[[int, Any], bool],
    tso: bool,
) -> None:
    refuse_ioctl(monkeypatch, refused, errno.EINVAL)
    flow = Packet(payload(3000), protocol=17)
    with closing(up(host, tso=tso)) as device, receiver(host, 4, flow) as sock:
        send_udp(host, 4, payload(5000), segment=1000)
        packets = read_udp(device, 5)
        assert all(is_valid(packet) for packet in packets)
        device.write([bytes(each) for each in flow.cut(1000)])
        assert received_packets(host) == 3
        assert b"".join(sock.recv(2000) for _ in range(3)) == flow.payload


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOBUFS, errno.EIO])
def test_packets_that_the_kernel_does_not_take_are_counted(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fail(monkeypatch, os, "writev", OSError(number, os.strerror(number)))
    device = TunDevice(-1, "wg0", has_vnet_header=False)
    device.write([bytes(Packet(b"one")), bytes(Packet(b"two"))])
    assert device.dropped == 2


@pytest.mark.netns
def test_every_packet_of_a_superpacket_is_counted(host: Host) -> None:
    with closing(up(host)) as device:
        host.run(["ip", "link", "set", "wg0", "down"])
        device.write([bytes(each) for each in Packet(payload(3000)).cut(1000)])
        assert device.dropped == 3


@pytest.mark.netns
def test_garbage_is_written_without_an_error(host: Host) -> None:
    with closing(up(host)) as device:
        device.write([b"", b"\x45", b"\x99" * 50, os.urandom(1000)])
        assert device.dropped > 0


@pytest.mark.netns
def test_reading_and_writing_say_when_the_interface_has_gone(host: Host) -> None:
    device = up(host)
    index = host.call(lambda: socket.if_nametoindex("wg0"))
    host.run(["ip", "link", "delete", "wg0"])
    with pytest.raises(TunGone, match="'wg0' was removed"):
        device.read()
    with pytest.raises(TunGone):
        device.write([bytes(Packet(b"data"))])
    with pytest.raises(TunGone):
        device.locate()
    assert not device.has_index(index)
    device.close()
    device.close()


@pytest.mark.netns
def test_the_device_knows_its_namespace(host: Host) -> None:
    with closing(opened(host)) as device:
        host.run(["ip", "link", "set", "wg0", "name", "office"])
        name, namespace = device.locate()
        assert name == device.name == "office"
        assert namespace is not None
        assert os.fstat(namespace).st_ino == os.stat(host.namespace.path).st_ino
        os.close(namespace)


@pytest.mark.netns
def test_an_index_is_that_of_the_device_while_it_is_in_this_namespace(
    lab: Lab, host: Host
) -> None:
    with closing(opened(host)) as device:
        index = host.call(lambda: socket.if_nametoindex("wg0"))
        assert host.call(lambda: device.has_index(index))
        assert not host.call(lambda: device.has_index(index + 1))
        host.run(["ip", "link", "set", "wg0", "name", "office"])
        assert host.call(lambda: device.has_index(index))
        inner = lab.add_host("inner", lab.add_switch("empty"))
        resident = inner.popen(["sleep", "60"])
        host.run(["ip", "link", "set", "office", "netns", str(resident.pid)])
        assert not host.call(lambda: device.has_index(index))
        host.run(f"ip link add office index {index} type veth".split())
        assert not host.call(lambda: device.has_index(index))


@pytest.mark.netns
def test_a_kernel_that_cannot_report_the_namespace_is_tolerated(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(opened(host)) as device:
        refuse_ioctl(
            monkeypatch, lambda request, _: request == tun.TUNGETDEVNETNS, errno.ENOTTY
        )
        assert device.locate() == ("wg0", None)
        index = host.call(lambda: socket.if_nametoindex("wg0"))
        assert host.call(lambda: device.has_index(index))


@pytest.fixture
def host(lab: Lab) -> Host:
    return lab.add_host("host", lab.add_switch("cable"))


def opened(host: Host, name: str = "wg0", *, tso: bool = False) -> TunDevice:
    return host.call(lambda: TunDevice.open(name, 1420, tso=tso))


def up(host: Host, *, number: int = 2, tso: bool = False) -> TunDevice:
    """Return wg0 with the sample packets' destination, or another host number."""
    device = opened(host, tso=tso)
    for address in (f"10.0.0.{number}/24", f"fd00::{number}/64"):
        host.run(["ip", "address", "add", address, "dev", "wg0", "nodad"])
    host.run(["ip", "link", "set", "wg0", "up"])
    device.local_addresses = host.call(netlink.local_addresses)
    return device


def send_udp(host: Host, version: int, data: bytes, segment: int) -> None:
    """Send datagrams to the other end of wg0, as one superpacket if cut."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    address = "10.0.0.1" if version == 4 else "fd00::1"
    ancillary = []
    if segment:
        ancillary.append((SOL_UDP, UDP_SEGMENT, struct.pack("=H", segment)))
    with host.call(lambda: socket.socket(family, socket.SOCK_DGRAM)) as sock:
        sock.sendmsg([data], ancillary, 0, (address, 9))


def read_udp(device: TunDevice, count: int) -> list[bytes]:
    """Return so many UDP packets, passing over what else a host has to say."""
    packets: list[bytes] = []
    while len(packets) < count:
        assert select.select([device], [], [], 5)[0], "nothing was sent"
        for packet in device.read():
            if packet[9 if packet[0] >> 4 == 4 else 6] == 17:
                packets.append(packet)
    return packets


@contextmanager
def receiver(host: Host, version: int, flow: Packet) -> Iterator[socket.socket]:
    """Give a UDP socket at the destination of a flow."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with host.call(lambda: socket.socket(family, socket.SOCK_DGRAM)) as sock:
        sock.settimeout(5)
        sock.bind(("", flow.destination_port))
        yield sock


def received_packets(host: Host) -> int:
    """Return how many packets wg0 was given since it is up, superpackets being one."""
    path = "/sys/class/net/wg0/statistics/rx_packets"
    return int(host.run(["cat", path]).stdout)


def tcp_checksum_errors() -> int:
    """Return how many TCP segments with a wrong checksum this namespace received."""
    with open("/proc/thread-self/net/snmp") as file:
        names, values = (line.split() for line in file if line.startswith("Tcp:"))
    return int(values[names.index("InCsumErrors")])


@contextmanager
def relay(left: TunDevice, right: TunDevice) -> Iterator[None]:
    """Carry packets between two devices, as a tunnel does."""
    stop, wake = os.pipe()

    def carry() -> None:
        while True:
            select.select([left.fileno(), right.fileno(), stop], [], [])
            if select.select([stop], [], [], 0)[0]:
                return
            for source, target in ((left, right), (right, left)):
                while packets := source.read():
                    target.write(packets)

    thread = Thread(target=carry)
    thread.start()
    try:
        yield
    finally:
        os.close(wake)
        thread.join()
        os.close(stop)


def echoed_over_tcp(client: Host, server: Host, version: int, data: bytes) -> bytes:
    """Return what a TCP connection gives back that echoes all it gets."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    address = "10.0.0.2" if version == 4 else "fd00::2"

    def echo(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while chunk := connection.recv(1 << 16):
                connection.sendall(chunk)

    def send(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)

    with (
        server.call(lambda: socket.create_server((address, 0), family=family)) as there,
        client.call(lambda: socket.socket(family, socket.SOCK_STREAM)) as here,
    ):
        echoing = Thread(target=echo, args=(there,))
        echoing.start()
        here.settimeout(20)
        here.connect(there.getsockname()[:2])
        sending = Thread(target=send, args=(here,))
        sending.start()
        received = b"".join(iter(lambda: here.recv(1 << 16), b""))
        sending.join()
        echoing.join()
    return received


def fail(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, error: OSError
) -> None:
    """Let a function of the system fail."""

    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(module, name, failing)


def refuse_ioctl(
    monkeypatch: pytest.MonkeyPatch, refused: Callable[[int, Any], bool], number: int
) -> None:
    """Let those requests fail for which ``refused(request, argument)`` holds."""
    original = fcntl.ioctl

    def ioctl(fd: Any, request: int, argument: Any = 0) -> Any:
        if refused(request, argument):
            raise OSError(number, os.strerror(number))
        return original(fd, request, argument)

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
