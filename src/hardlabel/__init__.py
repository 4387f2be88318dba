"""Label-only membership inference: does a classifier leak who was in its training data?

    split -> target + shadow models -> oracle -> signal -> calibration -> scores -> metrics -> record -> report
"""
