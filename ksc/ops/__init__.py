"""The primitives of the IR, one record each."""
