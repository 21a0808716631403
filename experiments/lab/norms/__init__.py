"""BatchNorm while a network learns by single examples: which statistics serve best."""
