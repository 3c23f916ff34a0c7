"""The scenarios of the lab, one module each."""
