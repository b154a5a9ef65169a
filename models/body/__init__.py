"""The body: joints, kinematics, meshes of the SMPL family, and the free body that is bundled."""
