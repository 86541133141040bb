"""The intermediate representation: types, nodes, builder, text form, verifier, reference interpreter."""
