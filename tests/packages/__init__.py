"""What users install, on a Debian of its own: 'make packages' builds it first."""
