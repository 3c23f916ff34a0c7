"""Who is in the mesh, and the rules by which that changes."""
