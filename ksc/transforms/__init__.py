"""vmap, jvp and vjp: programs to programs."""
