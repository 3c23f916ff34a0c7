"""Names in the mesh: the zone, and a name server that answers from it."""
