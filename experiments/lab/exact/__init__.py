"""Claims that are identities, checked by number: one step in two ways, and autograd with B = W."""
