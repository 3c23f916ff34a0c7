"""What iperf3 reports is read as what arrived."""

from bench.traffic import Load, read


def test_of_streams_both_directions_count() -> None:
    end = {
        "sum_sent": {"bits_per_second": 9e9, "bytes": 9e9},
        "sum_received": {"bits_per_second": 2e9, "bytes": 1e9},
        "sum_received_bidir_reverse": {"bits_per_second": 1e9, "bytes": 5e8},
    }

    assert read(end) == Load(3000.0, 0.0, 1.5e9)


def test_of_datagrams_those_that_were_lost_do_not_count() -> None:
    sent = {"packets": 1000, "lost_packets": 0, "bytes": 64_000, "seconds": 2.0}
    received = {
        "packets": 1000,
        "lost_packets": 750,
        "bytes": 16_000,
        "seconds": 2.0,
        "bits_per_second": 64_000.0,
    }

    assert read({"sum_sent": sent, "sum_received": received}) == Load(
        0.064, 125.0, 16_000
    )
