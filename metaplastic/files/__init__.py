"""Rule files: a learner as a folder of JSON and safetensors, with its provenance.

Reading a file never runs code from it.
"""
