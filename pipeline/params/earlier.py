"""x"""


def refuse_earlier_blocks(data, path):
    pass
