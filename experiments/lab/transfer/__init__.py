"""Transfer of saved rules to networks and data that they were not meta-trained on."""
