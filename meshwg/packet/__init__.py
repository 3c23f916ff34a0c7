"""IP packets: headers, segmentation and coalescing of superpackets."""
