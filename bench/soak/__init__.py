"""Minutes of mixed traffic with faults: does anything leak, hang, or get counted wrong?"""
