"""The coordinator's side of the control protocol, as pure machines."""
