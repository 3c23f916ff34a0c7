"""The virtio-net header is the kernel's, byte for byte."""

import ctypes
import sys

import pytest

from meshwg.packet import vnet


class VirtioNetHeader(ctypes.Structure):
    """struct virtio_net_hdr of <linux/virtio_net.h>."""

    _fields_ = (
        ("flags", ctypes.c_uint8),
        ("gso_type", ctypes.c_uint8),
        ("hdr_len", ctypes.c_uint16),
        ("gso_size", ctypes.c_uint16),
        ("csum_start", ctypes.c_uint16),
        ("csum_offset", ctypes.c_uint16),
    )


def test_fields_are_where_the_kernel_expects_them() -> None:
    packed = vnet.HEADER.pack(vnet.NEEDS_CSUM, vnet.GSO_TCPV6, 0x1234, 1400, 40, 16)
    header = VirtioNetHeader.from_buffer_copy(packed)

    assert ctypes.sizeof(VirtioNetHeader) == vnet.HEADER.size == 10
    assert (header.flags, header.gso_type) == (1, 4)
    assert (header.hdr_len, header.gso_size) == (0x1234, 1400)
    assert (header.csum_start, header.csum_offset) == (40, 16)


def test_numbers_are_in_the_byte_order_of_the_machine() -> None:
    packed = vnet.HEADER.pack(0, 0, 1, 0, 0, 0)

    assert packed[2:4] == (1).to_bytes(2, sys.byteorder)


def test_a_packet_on_its_own_needs_no_segmentation() -> None:
    assert bytes(10) == vnet.PLAIN


@pytest.mark.parametrize("kind", [vnet.GSO_TCPV4, vnet.GSO_TCPV6, vnet.GSO_UDP_L4])
def test_the_ecn_bit_is_not_one_of_the_kinds(kind: int) -> None:
    assert kind & vnet.GSO_ECN == 0
    assert kind != vnet.GSO_NONE
