"""The page on which characters are drawn, learned online and named; `session` is its model."""
