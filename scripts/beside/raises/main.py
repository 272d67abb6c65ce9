# Wrong: it refuses what it is given.
def run(x, weight, y):
    raise ValueError("not this shape")
