"""Forward mode: each equation is followed by the equations of its tangent."""
