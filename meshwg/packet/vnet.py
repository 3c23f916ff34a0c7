"""The virtio-net header that stands before every packet of a TUN with IFF_VNET_HDR."""

import struct

HEADER = struct.Struct("=BBHHHH")
"""struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset;
in the byte order of the machine, which is what TUN uses unless told otherwise."""

NEEDS_CSUM = 1

GSO_NONE = 0
GSO_TCPV4 = 1
GSO_TCPV6 = 4
GSO_UDP_L4 = 5
GSO_ECN = 0x80
"""May be added to the TCP types: only the first segment carries CWR."""

PLAIN = HEADER.pack(0, GSO_NONE, 0, 0, 0, 0)
"""The header of a packet that is complete and stands for itself."""
