"""A real port-mapping daemon on a router: miniupnpd with PCP, NAT-PMP and UPnP."""

from netlab.machine import Machine
from netlab.process import Process

CONFIG = """
ext_ifname={wan}
listening_ip={lan}
enable_natpmp=yes
enable_upnp=yes
secure_mode=yes
system_uptime=no
notify_interval=60
uuid=00000000-0000-4000-8000-000000000000
lease_file={leases}
upnp_table_name=firewall
upnp_forward_chain=portmap
upnp_nat_table_name=portmap
upnp_nat_chain=mapped_in
upnp_nat_postrouting_chain=mapped_out
allow 1024-65535 {subnet} 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""


def start(machine: Machine, wan: str, lan: str, subnet: str) -> Process:
    """Start the daemon between two interfaces; return once it listens.

    The public address must not be one that is reserved for documentation, which
    miniupnpd refuses.
    """
    config = machine.write_file(
        "miniupnpd.conf",
        CONFIG.format(
            wan=wan, lan=lan, subnet=subnet, leases=machine.directory / "leases"
        ),
    )
    daemon = machine.popen(
        ["miniupnpd", "-d", "-f", config, "-P", machine.directory / "miniupnpd.pid"],
        log="miniupnpd.log",
    )
    daemon.wait_for_line("Listening for NAT-PMP/PCP traffic")
    return daemon
