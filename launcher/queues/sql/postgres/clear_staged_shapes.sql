DELETE FROM staged_shapes
