"""Rule files: a learner as a folder of JSON and safetensors, cards, and where rules come from.

Nothing here runs code of a file that it reads.
"""
