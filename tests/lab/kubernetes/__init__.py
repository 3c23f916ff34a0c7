"""Tests of what a cluster of the lab is made of."""
