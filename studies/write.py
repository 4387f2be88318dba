def write(folder, path):
    pass
