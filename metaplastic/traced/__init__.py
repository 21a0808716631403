"""Functions of tensors as straight-line programs: traced once, simplified, cut in two."""
