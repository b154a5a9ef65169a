"""Motion files: BVH, ASF/AMC, AMASS npz."""
