"""When hidden plasticity pays: methods compared on inputs that change from lifetime to lifetime."""
