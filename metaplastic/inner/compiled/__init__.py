"""Inner loops through compilers: short ones as one program, long ones a few steps at a time."""
