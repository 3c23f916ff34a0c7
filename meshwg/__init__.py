"""Laptops and servers behind NATs become one private WireGuard network."""

import os

__version__ = "0.1.0"

# On processors with AVX-512 IFMA, the OpenSSL 4.0 in the wheels of cryptography chooses
# a Poly1305 that is slower than the one for AVX-512 alone: ChaCha20-Poly1305 of 1,400
# bytes takes 2.7 us with it and 1.1 us without, 64 KiB take 100 us and 18 us. OpenSSL
# looks at this when it is loaded, hence here; other processors do not have the bit.
os.environ.setdefault("OPENSSL_ia32cap", ":~0x200000")
